"""What must be known of the graded series to make DICOM objects that belong to it, after its files are gone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydicom import Dataset

from preprocess.dicom_slice import Slice
from preprocess.quiet import quiet

__all__ = ["SOURCE_KEYWORDS", "SourceImage", "SourceSeries", "source_series"]

SOURCE_KEYWORDS = (
    # Patient (PS3.3 C.7.1.1): what every object of the patient must repeat
    "PatientName",
    "PatientID",
    "IssuerOfPatientID",
    "PatientBirthDate",
    "PatientSex",
    "PatientIdentityRemoved",
    "DeidentificationMethod",
    "DeidentificationMethodCodeSequence",
    # General Study (C.7.2.1): likewise
    "StudyInstanceUID",
    "StudyDate",
    "StudyTime",
    "ReferringPhysicianName",
    "StudyID",
    "AccessionNumber",
    "StudyDescription",
    # Frame of Reference (C.7.4.1), and what tells how to read times
    "FrameOfReferenceUID",
    "PositionReferenceIndicator",
    "TimezoneOffsetFromUTC",
    # A segmentation of lossy images says so (C.8.20.2)
    "LossyImageCompression",
    "LossyImageCompressionRatio",
    "LossyImageCompressionMethod",
    "SeriesInstanceUID",
)
"""Attributes that are kept; no others of the patient and the study are."""


@dataclass(frozen=True)
class SourceImage:
    """One plane of the graded series.

    Attributes:
        sop_class: SOP Class UID of its object, or ''.
        instance: SOP Instance UID of its object, or ''.
        frame: 1-based frame of a multi-frame object, None for a classic one.
        position: Centre of its first pixel, mm LPS.
    """

    sop_class: str
    instance: str
    frame: int | None
    position: tuple[float, float, float]


@dataclass(frozen=True)
class SourceSeries:
    """The graded series without its pixels.

    Attributes:
        attributes: :data:`SOURCE_KEYWORDS` as far as the objects have them, in the DICOM JSON model (PS3.18 F).
        images: One a slice of the volume, in the volume's order.
        rows: Pixels along a column.
        columns: Pixels along a row.
        orientation: Direction cosines (LPS) of increasing column index, then of increasing row index.
        spacing: mm between rows, between columns.
        thickness: Slice Thickness, mm; None where the objects do not say.
        between: mm between the centres of neighbouring slices, measured from their positions.
    """

    attributes: dict[str, Any]
    images: tuple[SourceImage, ...]
    rows: int
    columns: int
    orientation: tuple[float, float, float, float, float, float]
    spacing: tuple[float, float]
    thickness: float | None
    between: float


def source_series(ordered: Sequence[Slice], between: float) -> SourceSeries:
    """Describe the slices of a volume.

    Args:
        ordered: The slices in the volume's order, from :func:`preprocess.dicom.read_stack`.
        between: mm between the centres of neighbouring slices.
    """
    plane = ordered[0].plane
    assert plane.orientation is not None
    assert plane.spacing is not None
    images = []
    for one in ordered:
        assert one.plane.position is not None
        x, y, z = one.plane.position
        images.append(SourceImage(one.sop_class, one.instance, one.frame + 1 if one.multiframe else None, (x, y, z)))
    a, b, c, d, e, f = plane.orientation
    rows, columns = plane.spacing
    return SourceSeries(
        attributes=_attributes(ordered[0].header),
        images=tuple(images),
        rows=plane.rows,
        columns=plane.columns,
        orientation=(a, b, c, d, e, f),
        spacing=(rows, columns),
        thickness=plane.thickness,
        between=between,
    )


def _attributes(header: Dataset) -> dict[str, Any]:
    """Attributes by tag; what cannot be read is left out, as if it were not there."""
    found: dict[str, Any] = {}
    with quiet():
        for keyword in SOURCE_KEYWORDS:
            if keyword not in header:
                continue
            try:
                element = header[keyword]
                found[f"{element.tag:08X}"] = element.to_json_dict(None, 1024)
            except Exception:  # pydicom meets damaged values with almost any exception
                continue
    return found
