"""A series of a patient as training and evaluation see it, and how it was acquired."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from preprocess.volume import Volume

__all__ = ["UNKNOWN_ACQUISITION", "Acquisition", "Series", "number_discs", "sagittal_volume"]

_SMALLEST_DISC_MM2 = 30.0


@dataclass(frozen=True)
class Acquisition:
    """What is known about how a series was made; an empty string where it is not.

    Attributes:
        sex: ``F`` or ``M``.
        scanner: Manufacturer and model.
        field_strength: Such as ``1.5 T``.
    """

    sex: str = ""
    scanner: str = ""
    field_strength: str = ""


UNKNOWN_ACQUISITION = Acquisition()


class Series(Protocol):
    """One sagittal T2 series: slices from right to left, rows from head to feet, columns from front to back."""

    @property
    def patient(self) -> str:
        """The data set's name of the patient."""

    @property
    def sequence(self) -> str:
        """``t2`` (2-D turbo spin echo) or ``t2_SPACE`` (3-D)."""

    @property
    def name(self) -> str:
        """Of the series in the data set; not unique where a data set shows a series twice."""

    @property
    def masked(self) -> bool:
        """Whether discs, vertebrae and canal were outlined."""

    @property
    def own_range(self) -> bool:
        """Whether each slice has an intensity range of its own, so that slices must be normalised one by one."""

    def volume(self) -> Volume:
        """Read the slices; float32."""

    def labels(self) -> NDArray[np.uint8]:
        """Read the outlines: 0 background, 1 disc, 2 vertebra, 3 canal; uint8, the shape of the volume."""

    def discs(self) -> NDArray[np.uint8]:
        """Read the outlined discs: 0, or the disc's number from the bottom (1 = L5/S1); the shape of the volume."""


def sagittal_volume(slices: NDArray[np.float32], spacing_mm: tuple[float, float, float]) -> Volume:
    """Place upright sagittal slices, anterior to the left, in the patient.

    Args:
        slices: float32 (slices from right to left, rows from head to feet, columns from front to back).
        spacing_mm: Between slices, rows and columns.
    """
    affine = np.eye(4)
    affine[:3, :3] = np.array([[1.0, 0, 0], [0, 0, 1.0], [0, -1.0, 0]]) @ np.diag(spacing_mm)
    return Volume(slices, affine)


def number_discs(labels: NDArray[np.uint8], spacing_mm: tuple[float, float, float]) -> NDArray[np.uint8]:
    """Tell the discs of a mask apart and number them from the bottom, where a data set does not.

    Args:
        labels: uint8 (slices, rows, columns), 1 is disc.
        spacing_mm: Between slices, rows and columns.

    Returns:
        uint8, the same shape: 0, or the disc's number; specks no single slice of which reaches 30 mm² are left out.
    """
    regions, count = ndimage.label(labels == 1, structure=np.ones((3, 3, 3)))
    pixel = spacing_mm[1] * spacing_mm[2]
    areas = np.stack([np.bincount(plane.ravel(), minlength=count + 1) for plane in regions]).max(0) * pixel
    kept = [index for index in range(1, count + 1) if areas[index] >= _SMALLEST_DISC_MM2]
    rows = ndimage.center_of_mass(labels == 1, regions, kept)
    numbers = np.zeros(count + 1, np.uint8)
    for number, place in enumerate(sorted(range(len(kept)), key=lambda i: -float(rows[i][1])), start=1):
        numbers[kept[place]] = number
    named: NDArray[np.uint8] = numbers[regions]
    return named
