"""What an operator can set about DICOMweb; part of :class:`gateway.settings.Settings`."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings

from gateway.dicomweb.servers import load_servers

__all__ = ["DicomwebSettings"]


class DicomwebSettings(BaseSettings):
    """Settings of the servers that studies are fetched from."""

    dicomweb_file: Path | None = Field(
        default=None, description="TOML file of the DICOMweb servers that studies may be fetched from."
    )
    dicomweb_at_once: int = Field(
        default=2, gt=0, description="Most studies that each process fetches from one DICOMweb server at a time."
    )
    dicomweb_wait_hours: float = Field(
        default=24.0, ge=0, description="How long a job waits for a DICOMweb server that is away, in hours."
    )

    @field_validator("dicomweb_file")
    @classmethod
    def _can_be_used(cls, path: Path | None) -> Path | None:
        load_servers(path)
        return path
