"""The one image type every reader makes and every later step takes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Volume"]


@dataclass(frozen=True, eq=False)
class Volume:
    """A grey-scale image in the axis order of its source, placed in the patient.

    Attributes:
        array: Pixel values, float32, shape (n0, n1, n2). DICOM readers give (slices, rows, columns); NIfTI readers
            keep the file's own axis order. A single slice has n = 1 along its axis.
        affine: float64, shape (4, 4). Maps 0-based array indices (i0, i1, i2, 1) of a voxel's centre to DICOM patient
            coordinates in mm (LPS; PS3.3 C.7.6.2.1.1).
    """

    array: NDArray[np.float32]
    affine: NDArray[np.float64]

    def __post_init__(self) -> None:
        if self.array.ndim != 3:
            raise ValueError(f"array must have 3 dimensions, not {self.array.ndim}")
        if self.affine.shape != (4, 4):
            raise ValueError(f"affine must be 4 x 4, not {self.affine.shape}")

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Distance in mm between neighbouring voxel centres along each array axis."""
        a, b, c = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(a), float(b), float(c)
