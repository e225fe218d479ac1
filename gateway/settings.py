"""What an operator can set, from the environment (``DISCGRADE_…``) or the command line."""

from __future__ import annotations

import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator
from pydantic_settings import SettingsConfigDict

from gateway.admission import Admission
from gateway.deidentify.settings import DeidentifySettings
from gateway.dicomweb.settings import DicomwebSettings
from gateway.door.keys import Rate
from gateway.door.oidc import is_confidential
from gateway.jobs.engine import sqlite_url
from gateway.jobs.settings import JobSettings
from gateway.multipart import UploadLimits
from preprocess.limits import Limits

__all__ = ["DoorMode", "Settings"]

MIB = 1024 * 1024


class DoorMode(StrEnum):
    """Whether callers need credentials."""

    AUTO = "auto"
    """On any address but those of the loopback interface."""
    ON = "on"
    OFF = "off"


def _confidential(url: str) -> str:
    if not is_confidential(url):
        raise ValueError("must begin with https://, or be on this machine")
    return url


def _collector(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
        raise ValueError("must be an absolute URL of scheme http or https, such as http://collector:4318")
    return url


class Settings(DeidentifySettings, DicomwebSettings, JobSettings):
    """Settings of one gateway process; every field is an environment variable with the prefix ``DISCGRADE_``."""

    model_config = SettingsConfigDict(env_prefix="DISCGRADE_", frozen=True)

    data_dir: Path = Field(
        default=Path("discgrade-data"), description="Where uploads are spooled and results kept; one file system."
    )
    storage_url: str | None = Field(
        default=None,
        pattern="^s3://[^/]+",
        description="s3://bucket/prefix for uploads of jobs and results; by default they are in the data folder.",
    )
    triton_url: str | None = Field(
        default=None, description="host:port of a running tritonserver's gRPC service; empty starts the embedded one."
    )
    models_dir: Path | None = Field(
        default=None, description="Models that the embedded tritonserver serves; empty takes the installed ones."
    )
    max_upload_bytes: int = Field(default=512 * MIB, gt=0, description="Most bytes of all files of one request.")
    max_files: int = Field(default=2000, gt=0, description="Most files in one upload or archive.")
    max_unpacked_bytes: int = Field(default=2048 * MIB, gt=0, description="Most bytes a zip may unpack to.")
    max_slices: int = Field(default=256, gt=0, description="Most slices of the graded series.")
    upload_idle_seconds: float = Field(default=30.0, gt=0, description="Longest silence while receiving an upload.")
    inference_timeout_seconds: float = Field(default=120.0, gt=0, description="Deadline of one call to Triton.")
    cpu_workers: int = Field(
        default_factory=lambda: os.cpu_count() or 1, gt=0, description="Threads that decode, resample and measure."
    )
    keep_results: int = Field(default=10_000, gt=0, description="Most results kept; the oldest go first.")
    keep_hours: float = Field(default=168.0, gt=0, description="Hours after which a result is removed.")
    shutdown_seconds: int = Field(default=60, ge=0, description="Longest wait for requests in flight at shutdown.")

    drain_seconds: float = Field(
        default=0.0, ge=0, description="Least time between SIGTERM and the end, with /readyz failing meanwhile."
    )
    grpc_batch_studies: int = Field(
        default=4, gt=0, description="Most studies of one GradeBatch call received or graded at a time."
    )
    tls_cert: Path | None = Field(default=None, description="PEM file of the certificate, and of those that signed it.")
    tls_key: Path | None = Field(default=None, description="PEM file of its private key.")
    grpc_client_ca: Path | None = Field(
        default=None, description="PEM file of the authority whose certificates gRPC clients must show (mutual TLS)."
    )

    admission_slices: int = Field(default=160, gt=0, description="Most slices graded at a time over HTTP and gRPC.")
    admission_queue_slices: int = Field(default=1600, ge=0, description="Most slices received or waiting beyond them.")
    admission_ahead_seconds: float = Field(
        default=2.0, gt=0, description="Most seconds of work that may be before a study for it to be taken."
    )
    admission_wait_seconds: float = Field(
        default=60.0, gt=0, description="Longest wait of a study for its turn, should work take longer than measured."
    )
    door: DoorMode = Field(
        default=DoorMode.AUTO, description="Whether callers need credentials: auto, on or off (see docs/security.md)."
    )
    keys_file: Path | None = Field(default=None, description="API keys; by default keys.json in the data folder.")
    rate_limit: Rate = Field(default="600/minute", description="Calls of one caller, unless its key has its own rate.")
    oidc_issuer: Annotated[str, AfterValidator(_confidential)] | None = Field(
        default=None, description="URL of the OpenID Connect issuer whose access tokens are accepted."
    )
    oidc_audience: str = Field(default="discgrade", description="What access tokens must name as their audience.")
    oidc_algorithms: list[Literal["RS256", "PS256", "ES256", "ES384", "EdDSA"]] = Field(
        default=["RS256", "PS256", "ES256"], min_length=1, description="Signatures of access tokens, as a JSON list."
    )
    oidc_scope_claim: str = Field(default="scope", description="The claim of an access token that holds its scopes.")
    oidc_leeway_seconds: float = Field(default=30.0, ge=0, description="How far the issuer's clock may be off.")
    otlp_endpoint: Annotated[str, AfterValidator(_collector)] | None = Field(
        default=None, description="Base URL of the OpenTelemetry collector (OTLP over HTTP) that traces are sent to."
    )
    trace_share: float = Field(
        default=1.0, ge=0, le=1, description="Share of the traces that begin here which are recorded."
    )
    audit_log: Path | None = Field(
        default=None, description="The append-only log of who did what; by default audit/log.jsonl in the data folder."
    )
    audit_key_file: Path | None = Field(
        default=None, description="Its key, made at the first start; by default audit/key in the data folder."
    )

    @model_validator(mode="after")
    def _tls_is_whole(self) -> Settings:
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("DISCGRADE_TLS_CERT and DISCGRADE_TLS_KEY belong together")
        if self.grpc_client_ca is not None and self.tls_cert is None:
            raise ValueError("DISCGRADE_GRPC_CLIENT_CA needs DISCGRADE_TLS_CERT and DISCGRADE_TLS_KEY")
        return self

    def jobs_url(self) -> str:
        """The database of the jobs."""
        return sqlite_url(self.data_dir) if self.jobs_database is None else self.jobs_database.get_secret_value()

    def admission(self) -> Admission:
        """Bounds on the slices in the house."""
        return Admission(
            self.admission_slices,
            self.admission_queue_slices,
            self.admission_ahead_seconds,
            self.admission_wait_seconds,
            self.max_slices,
        )

    def keys_path(self) -> Path:
        """The file of API keys."""
        return self.keys_file or self.data_dir / "keys.json"

    def audit_files(self) -> tuple[Path, Path]:
        """The audit log and its key."""
        folder = self.data_dir / "audit"
        return self.audit_log or folder / "log.jsonl", self.audit_key_file or folder / "key"

    def upload_limits(self) -> UploadLimits:
        """What one request may carry, or name."""
        return UploadLimits(self.max_upload_bytes, self.max_files, self.upload_idle_seconds)

    def read_limits(self) -> Limits:
        """What the readers accept."""
        return Limits(max_files=self.max_files, max_bytes=self.max_unpacked_bytes, max_slices=self.max_slices)
