"""What one image plane of a DICOM object says about itself, and safe ways to read an attribute."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydicom import Dataset
from pydicom.multival import MultiValue

__all__ = ["Acquisition", "Plane", "Slice", "find", "number", "numbers", "text", "words"]


@dataclass(frozen=True)
class Plane:
    """Where the pixels of a slice lie (PS3.3 C.7.6.2).

    Attributes:
        rows: Pixels along a column.
        columns: Pixels along a row.
        orientation: Direction cosines (LPS) of increasing column index, then of increasing row index; None if absent.
        position: Centre of the first pixel, mm LPS; None if absent.
        spacing: mm between rows, between columns; None if absent.
        thickness: Slice Thickness, mm.
        between: Spacing Between Slices, mm.
    """

    rows: int
    columns: int
    orientation: tuple[float, ...] | None
    position: tuple[float, ...] | None
    spacing: tuple[float, ...] | None
    thickness: float | None
    between: float | None


@dataclass(frozen=True)
class Acquisition:
    """How a slice was made, as far as it tells T2-weighted from other series (PS3.3 C.8.3.1, C.8.13.5).

    Times are milliseconds; words are lower case.
    """

    image_type: tuple[str, ...] = ()
    description: str = ""
    body_part: str = ""
    sequence_name: str = ""
    scanning_sequence: tuple[str, ...] = ()
    sequence_variant: tuple[str, ...] = ()
    scan_options: tuple[str, ...] = ()
    echo_time: float | None = None
    repetition_time: float | None = None
    inversion_time: float | None = None
    suppression: str = ""
    contrast: str = ""
    diffusion: bool = False
    three_dimensional: bool = False


@dataclass(frozen=True)
class Slice:
    """One image plane: a classic object, or one frame of a multi-frame object.

    Attributes:
        path: The file.
        label: Which file of the upload this is, such as ``file 3 of 15``, for error messages.
        frame: 0-based frame in the file.
        multiframe: Whether the file holds an enhanced multi-frame object.
        sop_class: SOP Class UID, or ''.
        instance: SOP Instance UID, or ''.
        study: Study Instance UID, or ''.
        series: Series Instance UID, or ''.
        series_number: Series Number.
        frame_of_reference: Frame of Reference UID, or ''.
        stack: Stack ID of the frame, or ''.
        concatenation: Concatenation UID and number of its parts, where the object is one of several.
        modality: Modality.
        photometric: Photometric Interpretation.
        samples: Samples per Pixel.
        slope: Rescale Slope; 1 where absent.
        intercept: Rescale Intercept; 0 where absent.
        padding: Lowest and highest stored value that is padding; None where absent.
        plane: Geometry.
        acquisition: Contrast.
        header: The object up to its pixels, with what is read of it.
    """

    path: Path
    label: str
    frame: int
    multiframe: bool
    sop_class: str
    instance: str
    study: str
    series: str
    series_number: int | None
    frame_of_reference: str
    stack: str
    concatenation: tuple[str, int] | None
    modality: str
    photometric: str
    samples: int
    slope: float
    intercept: float
    padding: tuple[float, float] | None
    plane: Plane
    acquisition: Acquisition
    header: Dataset = field(repr=False, compare=False)

    @property
    def where(self) -> str:
        """Which file, and which frame of it, for error messages."""
        return f"frame {self.frame + 1} of {self.label}" if self.multiframe else self.label


def find(sources: Sequence[Dataset], keyword: str) -> Any:
    """The first value of an attribute that is present and not empty, or None."""
    for source in sources:
        value = source.get(keyword)
        if value is not None and value != "" and not (isinstance(value, MultiValue) and len(value) == 0):
            return value
    return None


def words(sources: Sequence[Dataset], keyword: str) -> tuple[str, ...]:
    """The values of an attribute as lower-case text, outer spaces removed."""
    value = find(sources, keyword)
    if value is None:
        return ()
    values = value if isinstance(value, MultiValue | list | tuple) else [value]
    return tuple(str(item).strip().lower() for item in values)


def text(sources: Sequence[Dataset], keyword: str) -> str:
    """An attribute of one value as text, outer spaces removed, '' where absent."""
    value = find(sources, keyword)
    return "" if value is None else str(value).strip(" \0")


def numbers(sources: Sequence[Dataset], keyword: str, count: int) -> tuple[float, ...] | None:
    """Exactly ``count`` finite numbers, or None."""
    value = find(sources, keyword)
    if value is None:
        return None
    values = value if isinstance(value, MultiValue | list | tuple) else [value]
    try:
        result = tuple(float(item) for item in values)
    except (TypeError, ValueError):
        return None
    return result if len(result) == count and all(map(math.isfinite, result)) else None


def number(sources: Sequence[Dataset], keyword: str) -> float | None:
    """One finite number (the first, where an attribute has several), or None."""
    value = find(sources, keyword)
    if isinstance(value, MultiValue | list | tuple):
        value = value[0]
    try:
        result = float(value)
    except (TypeError, ValueError):
        return None
    return result if math.isfinite(result) else None
