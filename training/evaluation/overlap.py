"""How two masks of the discs compare: overlap, and distance of their outlines."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel
from scipy import ndimage

__all__ = ["Overlap", "overlap", "surface_distances"]


class Overlap(BaseModel):
    """Two masks compared.

    Attributes:
        predicted: Voxels of the prediction.
        reference: Voxels of the reference.
        common: Voxels of both.
        hd95_mm: 95 % of the outlines lie nearer to each other than this, in plane; None where one mask is empty.
        assd_mm: Mean distance of the outlines in plane, both ways; None where one mask is empty.
    """

    predicted: int
    reference: int
    common: int
    hd95_mm: float | None
    assd_mm: float | None

    @property
    def dice(self) -> float:
        """Dice coefficient (Ecology 26:297, 1945); 1 where both masks are empty."""
        total = self.predicted + self.reference
        return 2 * self.common / total if total else 1.0

    @property
    def iou(self) -> float:
        """Intersection over union (Jaccard); 1 where both masks are empty."""
        union = self.predicted + self.reference - self.common
        return self.common / union if union else 1.0


def overlap(predicted: NDArray[np.bool_], reference: NDArray[np.bool_], spacing_mm: tuple[float, float]) -> Overlap:
    """Compare two masks of the same slices.

    Args:
        predicted: bool (slices, rows, columns).
        reference: The same.
        spacing_mm: Between rows and between columns.
    """
    forth, back = surface_distances(predicted, reference, spacing_mm)
    both = len(forth) > 0 and len(back) > 0
    return Overlap(
        predicted=int(predicted.sum()),
        reference=int(reference.sum()),
        common=int((predicted & reference).sum()),
        hd95_mm=float(max(np.percentile(forth, 95), np.percentile(back, 95))) if both else None,
        assd_mm=float((forth.sum() + back.sum()) / (len(forth) + len(back))) if both else None,
    )


def surface_distances(
    predicted: NDArray[np.bool_], reference: NDArray[np.bool_], spacing_mm: tuple[float, float]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Distances in mm from each outline pixel of one mask to the nearest of the other, slice by slice.

    Slices are compared in plane, for a stack of a few slices has no lateral end of its own. Slices that show only one
    of the masks have no distance and are left out; overlap counts them.

    Returns:
        From prediction to reference, and back; float64, pooled over slices.
    """
    forth: list[NDArray[np.float64]] = [np.zeros(0)]
    back: list[NDArray[np.float64]] = [np.zeros(0)]
    for one, other in zip(predicted, reference, strict=True):
        if not (one.any() and other.any()):
            continue
        rows, columns = np.nonzero((one | other).any(1))[0], np.nonzero((one | other).any(0))[0]
        box = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
        edges = [mask & ~ndimage.binary_erosion(mask) for mask in (np.pad(one[box], 1), np.pad(other[box], 1))]
        away = [ndimage.distance_transform_edt(~edge, sampling=spacing_mm) for edge in edges]
        forth.append(away[1][edges[0]])
        back.append(away[0][edges[1]])
    return np.concatenate(forth), np.concatenate(back)
