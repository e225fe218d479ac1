"""What an operator can set about de-identification; part of :class:`gateway.settings.Settings`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings

from gateway.deidentify.keyed import Keyed
from gateway.deidentify.mapping import Mapping
from gateway.deidentify.options import Option
from gateway.deidentify.profile import Profile
from gateway.deidentify.study import Deidentifier
from gateway.key_file import read_key
from preprocess.limits import Limits

__all__ = ["DeidentifyMode", "DeidentifySettings"]


class DeidentifyMode(StrEnum):
    """Whether what comes in is de-identified."""

    OFF = "off"
    BASIC = "basic"
    """Basic Application Level Confidentiality Profile (PS3.15, annex E)."""


class DeidentifySettings(BaseSettings):
    """Settings of de-identification at the door."""

    deidentify: DeidentifyMode = Field(
        default=DeidentifyMode.OFF, description="De-identifies studies before anything is kept: off or basic."
    )
    deidentify_options: list[Option] = Field(
        default=[Option.CLEAN_DESCRIPTORS], description="Options of the profile, as a JSON list."
    )
    deidentify_key_file: Path | None = Field(
        default=None, description="The key of pseudonyms, made at the first start; by default in the data folder."
    )
    deidentify_mapping_file: Path | None = Field(
        default=None, description="Where it is kept what pseudonyms stand for; without it, nowhere."
    )

    @field_validator("deidentify_options")
    @classmethod
    def _one_way_with_dates(cls, options: list[Option]) -> list[Option]:
        if Option.RETAIN_DATES in options and Option.SHIFT_DATES in options:
            raise ValueError("dates are either retained or shifted")
        return options

    def deidentifier(self, data_dir: Path, limits: Limits) -> Deidentifier | None:
        """What de-identifies; None where nothing does. Makes the key if there is none.

        Args:
            data_dir: The data folder.
            limits: Bounds of the readers.

        Raises:
            discgrade.errors.ServiceError: The key is damaged.
        """
        if self.deidentify is DeidentifyMode.OFF:
            return None
        key = read_key(self.deidentify_key_file or data_dir / "deidentify" / "key", "de-identification")
        mapping = None if self.deidentify_mapping_file is None else Mapping(self.deidentify_mapping_file)
        return Deidentifier(Profile(frozenset(self.deidentify_options)), Keyed(key), mapping, limits)
