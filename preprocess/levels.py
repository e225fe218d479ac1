"""Disc levels: L5/S1 from the sacrum, the others by counting upward, and how sure that is.

A lumbar field of view rarely shows a vertebra that could be numbered from above, so the count starts at the sacrum.
The networks never label the sacrum a vertebra: the disc below the last vertebra is L5/S1 — if the image goes on
below it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from preprocess.frame import DiscFrame
from preprocess.grid import GRID_SPACING_MM
from preprocess.instances import VERTEBRA

__all__ = ["LEVEL_NAMES", "UNKNOWN", "WARNING_MESSAGES", "LevelNames", "name_levels"]

LEVEL_NAMES = ("L5/S1", "L4/L5", "L3/L4", "L2/L3", "L1/L2", "T12/L1", *(f"T{n}/T{n + 1}" for n in range(11, 0, -1)))
"""From the lowest disc upward."""

UNKNOWN = "unknown"

WARNING_MESSAGES = {
    "field_of_view_cut": "The image ends close below the lowest disc seen: whether that disc is L5/S1 cannot be told.",
    "incomplete_lumbar_spine": "Fewer than the five lumbar discs were found.",
    "transitional_vertebra_possible": "The lowest disc is much smaller than those above it: a lumbosacral transitional "
    "vertebra is possible, and all levels may be off by one.",
    "level_naming_uncertain": "A vertebra seems to lie below the lowest disc found: the lowest disc may have been "
    "missed, and all levels may be off by one.",
    "disc_missing": "Two neighbouring discs lie unusually far apart: a disc between them was probably missed, and one "
    "level was left out of the count.",
    "single_slice": "The study has a single slice: volumes are not measured and the middle of each disc is assumed.",
}
"""What each warning code means, for people."""

_LUMBAR_DISCS = 5
_NEEDED_BELOW_MM = 18.0
_VERTEBRA_MM = (7.0, 17.0)
_SHORT = 0.8  # L5/S1 is as long as its neighbours within a tenth; an S1/S2 disc is not
_ROUND_UP = 0.35  # from 1.65 typical distances on, one disc was missed; discs lie farther apart caudally


@dataclass(frozen=True)
class LevelNames:
    """Names of the discs from the lowest upward.

    Attributes:
        levels: Such as ``L4/L5``, or ``unknown``.
        confidence: 0 to 1, float32 (D,).
        warnings: Codes of ``WARNING_MESSAGES``.
    """

    levels: tuple[str, ...]
    confidence: NDArray[np.float32]
    warnings: tuple[str, ...]


def name_levels(
    frames: list[DiscFrame], labels: NDArray[np.uint8], field_of_view: tuple[int, int, int, int]
) -> LevelNames:
    """Name the discs.

    Args:
        frames: Frames of the discs from the lowest upward, each on its own middle slice.
        labels: uint8 (H, W), tissue labels of the mid-sagittal slice.
        field_of_view: Row start, row end, column start, column end (half-open) of the image within H × W.
    """
    warnings: list[str] = []
    confidence = 0.97
    lowest = frames[0]
    room = _room_below_mm(lowest, field_of_view)
    known = True
    if _vertebra_below(lowest, labels) > 0.5:
        if room < 55.0:
            warnings.append("field_of_view_cut")
            known = False
        else:
            warnings.append("level_naming_uncertain")
            confidence *= 0.5
    elif room < _NEEDED_BELOW_MM:
        warnings.append("field_of_view_cut")
        known = False
    if len(frames) < _LUMBAR_DISCS:
        warnings.append("incomplete_lumbar_spine")
        confidence *= 0.9
    above = frames[1:4]
    if lowest.length_mm < _SHORT * np.median([frame.length_mm for frame in above]):
        warnings.append("transitional_vertebra_possible")
        confidence *= 0.6

    steps = _steps(frames)
    if any(step > 1 for step in steps):
        warnings.append("disc_missing")
    position = 0
    levels, confidences = [], []
    for index in range(len(frames)):
        if index:
            position += steps[index - 1]
            confidence *= 0.99 if steps[index - 1] == 1 else 0.6
        named = known and position < len(LEVEL_NAMES)
        levels.append(LEVEL_NAMES[position] if named else UNKNOWN)
        confidences.append(confidence if named else 0.0)
    return LevelNames(tuple(levels), np.array(confidences, dtype=np.float32), tuple(warnings))


def _room_below_mm(frame: DiscFrame, field_of_view: tuple[int, int, int, int]) -> float:
    """Distance from the disc's centre to where the image ends, going straight down."""
    return (field_of_view[1] - 1 - frame.row) * GRID_SPACING_MM


def _vertebra_below(frame: DiscFrame, labels: NDArray[np.uint8]) -> float:
    """Share of vertebra in a box below the disc, in the disc's own frame."""
    along = np.arange(-0.3, 0.31, 0.1) * frame.length_mm
    down = np.arange(_VERTEBRA_MM[0], _VERTEBRA_MM[1], 1.0)
    u, v = np.meshgrid(along / GRID_SPACING_MM, down / GRID_SPACING_MM)
    rows = np.rint(frame.row + u * frame.along[0] + v * frame.down[0]).astype(np.intp)
    columns = np.rint(frame.column + u * frame.along[1] + v * frame.down[1]).astype(np.intp)
    inside = (rows >= 0) & (rows < labels.shape[0]) & (columns >= 0) & (columns < labels.shape[1])
    return float((labels[rows[inside], columns[inside]] == VERTEBRA).sum() / inside.size)


def _steps(frames: list[DiscFrame]) -> list[int]:
    """How many levels each disc lies above the one before: 1, or more where the distance fits missed discs."""
    centres = np.array([(frame.row, frame.column) for frame in frames]) * GRID_SPACING_MM
    distances = np.linalg.norm(np.diff(centres, axis=0), axis=1)
    typical = float(np.median(distances))
    return [max(1, int(distance / typical + _ROUND_UP)) for distance in distances]
