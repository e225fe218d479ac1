"""The result contract: what ``POST /v1/grade`` answers and what clients parse.

Units are millimetres and milliseconds; coordinates are DICOM patient coordinates (LPS: +x left, +y posterior,
+z superior; PS3.3 C.7.6.2.1.1). Discs run from top (cranial) to bottom (caudal).
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

__all__ = [
    "DISCLAIMER",
    "SCHEMA_VERSION",
    "Disc",
    "GradingResult",
    "InputDescription",
    "ModelUsed",
    "Pfirrmann",
    "ResultWarning",
    "Severity",
]

SCHEMA_VERSION = "1.0"
DISCLAIMER = "For research use only. Not a medical device; not for diagnosis or treatment decisions."

Probability = Annotated[float, Field(ge=0.0, le=1.0)]


class Severity(StrEnum):
    """Degeneration in three classes; mild = Pfirrmann I–II, moderate = III, severe = IV–V (discgrade's mapping)."""

    MILD = "mild"
    MODERATE = "moderate"
    SEVERE = "severe"


class Pfirrmann(StrEnum):
    """Pfirrmann grade of lumbar disc degeneration (Pfirrmann et al., Spine 26(17):1873, 2001)."""

    I = "I"  # noqa: E741 - the grade's own name
    II = "II"
    III = "III"
    IV = "IV"
    V = "V"

    @property
    def severity(self) -> Severity:
        """The class this grade belongs to."""
        if self in (Pfirrmann.I, Pfirrmann.II):
            return Severity.MILD
        return Severity.MODERATE if self is Pfirrmann.III else Severity.SEVERE


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Disc(_Model):
    """One intervertebral disc."""

    level: str = Field(description="Disc level, such as 'L4/L5', or 'unknown'.", examples=["L4/L5"])
    level_confidence: Probability = Field(description="How sure the naming is, 0 to 1.")
    severity: Severity = Field(description="The most probable class.")
    severity_probabilities: dict[Severity, Probability] = Field(description="Of each class; they add up to 1.")
    pfirrmann: Pfirrmann = Field(
        description="The most probable grade within the class `severity`, so that the two never contradict each other; "
        "a grade of another class may be more probable by itself."
    )
    pfirrmann_probabilities: dict[Pfirrmann, Probability] = Field(
        description="Of each grade; those of a class add up to the probability of the class."
    )
    label: int = Field(ge=1, le=255, description="Value of this disc in segmentation.nii.gz; 1 is the lowest disc.")
    centroid_mm_lps: tuple[float, float, float] = Field(description="Centre of the disc, DICOM patient coordinates.")
    area_mm2: float = Field(ge=0, description="Area on the disc's middle sagittal slice.")
    volume_mm3: float | None = Field(default=None, description="Volume; null when the study has a single slice.")
    height_mm: float = Field(ge=0, description="Mean height on the middle slice, perpendicular to the disc's axis.")


class InputDescription(_Model):
    """What was read from the upload, and which series was chosen and why."""

    format: str = Field(description="'dicom', 'dicom-multiframe' or 'nifti'.", examples=["dicom"])
    chosen_series: str | None = Field(description="Series Instance UID of the graded series; null for NIfTI.")
    chosen_because: str = Field(description="Why this series was graded.")
    slices: int = Field(ge=1)
    spacing_mm: tuple[float, float, float] = Field(description="Between slices, between rows, between columns.")


class ModelUsed(_Model):
    """One model of the pipeline."""

    name: str
    version: str = Field(
        description="The one that answered; lumbar_grading's is the release, which names those of the others."
    )
    engine: str = Field(description="What computed it, such as 'openvino' or 'tensorrt'.")


class ResultWarning(_Model):
    """Something the reader should know before trusting the result."""

    code: str = Field(examples=["field_of_view_cut"])
    message: str


class GradingResult(_Model):
    """Discs of one lumbar study, named and graded."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        json_schema_extra={"description": f"Discs of one lumbar study, named and graded. {DISCLAIMER}"},
    )

    result_id: str
    schema_version: str = SCHEMA_VERSION
    disclaimer: str = DISCLAIMER
    input: InputDescription
    discs: list[Disc] = Field(description="From top to bottom.")
    models: list[ModelUsed]
    timings_ms: dict[str, float] = Field(description="Milliseconds spent in each stage, and 'total'.")
    warnings: list[ResultWarning]
