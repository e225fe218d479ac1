"""What an operator can set, from the environment (``DISCGRADE_…``) or the command line."""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from gateway.admission import Admission
from preprocess.limits import Limits

__all__ = ["Settings"]

MIB = 1024 * 1024


class Settings(BaseSettings):
    """Settings of one gateway process; every field is an environment variable with the prefix ``DISCGRADE_``."""

    model_config = SettingsConfigDict(env_prefix="DISCGRADE_", frozen=True)

    data_dir: Path = Field(
        default=Path("discgrade-data"), description="Where uploads are spooled and results kept; one file system."
    )
    triton_url: str | None = Field(
        default=None, description="host:port of a running tritonserver's gRPC service; empty starts the embedded one."
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
    keep_results: int = Field(default=1000, gt=0, description="Most results kept; the oldest go first.")
    keep_hours: float = Field(default=168.0, gt=0, description="Hours after which a result is removed.")
    shutdown_seconds: int = Field(default=60, ge=0, description="Longest wait for requests in flight at shutdown.")

    admission_slices: int = Field(default=160, gt=0, description="Most slices graded at a time over HTTP and gRPC.")
    admission_queue_slices: int = Field(default=1600, ge=0, description="Most slices received or waiting beyond them.")
    admission_wait_seconds: float = Field(default=60.0, gt=0, description="Longest wait of a study for its turn.")
    audit_log: Path | None = Field(
        default=None, description="The append-only log of who did what; by default audit/log.jsonl in the data folder."
    )
    audit_key_file: Path | None = Field(
        default=None, description="Its key, made at the first start; by default audit/key in the data folder."
    )

    def admission(self) -> Admission:
        """Bounds on the slices in the house."""
        return Admission(
            self.admission_slices, self.admission_queue_slices, self.admission_wait_seconds, self.max_slices
        )

    def audit_files(self) -> tuple[Path, Path]:
        """The audit log and its key."""
        folder = self.data_dir / "audit"
        return self.audit_log or folder / "log.jsonl", self.audit_key_file or folder / "key"

    def read_limits(self) -> Limits:
        """What the readers accept."""
        return Limits(max_files=self.max_files, max_bytes=self.max_unpacked_bytes, max_slices=self.max_slices)
