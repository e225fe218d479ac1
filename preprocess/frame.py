"""A disc's own coordinate frame within one sagittal slice."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from preprocess.boxes import pixels_of
from preprocess.grid import GRID_SPACING_MM

__all__ = ["DiscFrame", "disc_frame"]

_ROUND = 1.4  # below this ratio of axes a mask is too round for its own axis to be trusted


@dataclass(frozen=True)
class DiscFrame:
    """Where a disc lies in a slice, and how large it is.

    Attributes:
        row: Centre, grid rows (fractional, 0-based).
        column: Centre, grid columns.
        angle: Angle of the disc's long axis in radians: 0 points posterior, positive tilts its posterior end
            caudally (down the image).
        length_mm: Extent along the long axis (anteroposterior diameter).
        heights_mm: Height perpendicular to the long axis in bins of 1 mm from anterior to posterior, float64 (bins,).
    """

    row: float
    column: float
    angle: float
    length_mm: float
    heights_mm: NDArray[np.float64]

    @property
    def along(self) -> tuple[float, float]:
        """Unit vector (row, column) along the disc to posterior."""
        return float(np.sin(self.angle)), float(np.cos(self.angle))

    @property
    def down(self) -> tuple[float, float]:
        """Unit vector (row, column) perpendicular to the disc, to caudal."""
        return float(np.cos(self.angle)), float(-np.sin(self.angle))

    @property
    def height_mm(self) -> float:
        """Mean height over the middle 80 % of the length, where the rounded ends play no part."""
        bins = len(self.heights_mm)
        margin = bins // 10
        return float(self.heights_mm[margin : bins - margin].mean())


def disc_frame(mask: NDArray[np.bool_], fallback_angle: float = 0.0) -> DiscFrame:
    """Fit the frame to a disc's mask on one slice by its principal axes.

    Args:
        mask: bool (H, W) on the network grid, not empty.
        fallback_angle: Angle to use where the mask is too round to have an axis.

    Returns:
        The frame; the long axis always points posterior (within ±90°).
    """
    rows, columns = pixels_of(mask)
    row, column = float(rows.mean()), float(columns.mean())
    offsets = np.stack([rows - row, columns - column])
    covariance = offsets @ offsets.T / len(rows) + np.eye(2) / 12  # 1/12: variance within a pixel
    values, vectors = np.linalg.eigh(covariance)
    if values[1] < _ROUND**2 * values[0]:
        angle = fallback_angle
    else:
        major = vectors[:, 1] if vectors[1, 1] >= 0 else -vectors[:, 1]
        angle = float(np.arctan2(major[0], major[1]))
    u = (np.sin(angle) * offsets[0] + np.cos(angle) * offsets[1]) * GRID_SPACING_MM
    bins = max(1, int(np.ceil(u.max() - u.min() + GRID_SPACING_MM)))
    counts = np.bincount(np.clip((u - u.min()).astype(np.intp), 0, bins - 1), minlength=bins)
    return DiscFrame(
        row=row,
        column=column,
        angle=angle,
        length_mm=float(u.max() - u.min() + GRID_SPACING_MM),
        heights_mm=counts * GRID_SPACING_MM**2,
    )
