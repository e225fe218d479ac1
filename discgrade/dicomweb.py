"""The reference contract: a study at a DICOMweb server, named instead of sent."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

__all__ = ["DicomwebReference", "Study", "StudyReference", "Uid"]

Uid = Annotated[str, StringConstraints(pattern=r"^(0|[1-9][0-9]*)(\.(0|[1-9][0-9]*))+$", max_length=64)]
"""A DICOM unique identifier (PS3.5, section 9.1)."""

ServerName = Annotated[str, StringConstraints(pattern="^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")]


class _Contract(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class DicomwebReference(_Contract):
    """A study, or one series of it, at a DICOMweb server that the operator of discgrade has configured."""

    server: ServerName = Field(description="Name of the server in discgrade's configuration.")
    study_uid: Uid = Field(description="Study Instance UID.", repr=False)
    series_uid: Uid | None = Field(
        default=None, description="Series Instance UID; without it discgrade chooses among the MR series.", repr=False
    )


class StudyReference(_Contract):
    """The JSON body that takes the place of an upload."""

    dicomweb: DicomwebReference = Field(description="Where the study is.")


Study = Sequence[Path] | DicomwebReference
"""What clients take: the files of a study, or where the server finds it."""
