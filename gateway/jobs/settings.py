"""What an operator can set about jobs; part of :class:`gateway.settings.Settings`."""

from __future__ import annotations

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings

from gateway.jobs.webhooks import Webhooks, signing_key

__all__ = ["JobSettings"]

_POSTGRESQL = "postgresql://"


class JobSettings(BaseSettings):
    """Settings of the queue, its workers and its webhooks."""

    run_worker: bool = Field(default=True, description="Whether `discgrade serve` also grades jobs.")
    jobs_database: SecretStr | None = Field(
        default=None,
        description="postgresql://… of the database that all gateways and workers share; "
        "by default jobs.sqlite in the data folder.",
    )
    jobs_at_once: int = Field(
        default=2, gt=0, description="Jobs that each worker grades at a time; the last to start sets it for all."
    )
    max_queued_jobs: int = Field(default=1000, gt=0, description="Most jobs that wait or are being graded.")
    job_attempts: int = Field(
        default=10, gt=0, description="Attempts at a job while tritonserver fails; 1, 2, 4, … seconds apart."
    )
    webhook_secret: SecretStr | None = Field(
        default=None, description="whsec_… as in Standard Webhooks; signs webhooks. Without it none are sent."
    )
    webhook_allow_private: bool = Field(
        default=False, description="Whether webhooks may go to loopback and private addresses, and over plain HTTP."
    )
    webhook_attempts: int = Field(default=20, gt=0, description="Attempts to deliver a webhook.")
    webhook_retry_seconds: float = Field(
        default=5.0, gt=0, description="Wait before the second attempt; doubled each time, up to an hour."
    )

    @field_validator("webhook_secret")
    @classmethod
    def _can_sign(cls, secret: SecretStr | None) -> SecretStr | None:
        if secret is not None:
            signing_key(secret.get_secret_value())
        return secret

    @field_validator("jobs_database")
    @classmethod
    def _is_postgresql(cls, url: SecretStr | None) -> SecretStr | None:
        if url is not None and not url.get_secret_value().startswith(_POSTGRESQL):
            raise ValueError(f"must begin with {_POSTGRESQL}")
        return url

    def webhooks(self) -> Webhooks:
        """How webhooks are sent."""
        key = None if self.webhook_secret is None else signing_key(self.webhook_secret.get_secret_value())
        return Webhooks(key, self.webhook_allow_private)
