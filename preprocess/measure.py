"""Size and place of each disc, in millimetres."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from preprocess.boxes import label_boxes
from preprocess.frame import disc_frame
from preprocess.grid import GRID_SPACING_MM, Grid

__all__ = ["DiscMeasurement", "measure_discs"]


@dataclass(frozen=True)
class DiscMeasurement:
    """What is measured of one disc.

    Attributes:
        label: Its value in the segmentation.
        centroid_mm_lps: Centre of all its voxels in DICOM patient coordinates.
        area_mm2: Area on its middle slice.
        volume_mm3: Volume; None for a single slice.
        height_mm: Mean height on its middle slice over the middle 80 % of its length.
    """

    label: int
    centroid_mm_lps: tuple[float, float, float]
    area_mm2: float
    volume_mm3: float | None
    height_mm: float


def measure_discs(grid: Grid, instances: NDArray[np.uint8], middle_slices: NDArray[np.int32]) -> list[DiscMeasurement]:
    """Measure every disc on the network grid.

    Args:
        grid: The grid the instances lie on.
        instances: uint8 (N, H, W); 0, or the disc's label, 1 … D.
        middle_slices: int32 (D,).

    Returns:
        D measurements, label 1 first.
    """
    measurements = []
    voxel_mm3 = GRID_SPACING_MM**2 * grid.slice_spacing_mm
    for label, box in label_boxes(instances).items():
        own = instances[box] == label
        corner = np.array([axis.start for axis in box])
        centre = np.append(np.argwhere(own).mean(0) + corner, 1.0)
        x, y, z, _ = (float(value) for value in grid.affine @ centre)
        mask = own[middle_slices[label - 1] - corner[0]]
        measurements.append(
            DiscMeasurement(
                label=label,
                centroid_mm_lps=(x, y, z),
                area_mm2=float(mask.sum()) * GRID_SPACING_MM**2,
                volume_mm3=float(own.sum()) * voxel_mm3 if grid.slice_spacing_mm else None,
                height_mm=disc_frame(mask).height_mm,
            )
        )
    return measurements
