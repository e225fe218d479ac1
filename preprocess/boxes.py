"""Where the labelled pixels of a mostly empty image lie, without visiting every pixel of it one by one."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

__all__ = ["label_boxes", "pixels_of", "window_of"]

Box = tuple[slice, slice, slice]


def label_boxes(labels: NDArray[np.uint8]) -> dict[int, Box]:
    """The bounding box of every label that is there, in ascending order.

    ``scipy.ndimage.find_objects`` finds the same, but takes four times as long over a study.

    Args:
        labels: uint8 (N, H, W); 0 is background.
    """
    window = window_of(labels.max(axis=0))
    if window is None:
        return {}
    corner = (0, window[0].start, window[1].start)
    return {
        label: (_moved(box[0], corner[0]), _moved(box[1], corner[1]), _moved(box[2], corner[2]))
        for label, box in enumerate(ndimage.find_objects(labels[:, window[0], window[1]]), start=1)
        if box is not None
    }


def pixels_of(mask: NDArray[np.bool_]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows and columns of the True pixels of a plane (H, W), in the order of ``numpy.nonzero``."""
    window = window_of(mask)
    if window is None:
        return np.empty(0, np.intp), np.empty(0, np.intp)
    rows, columns = np.nonzero(mask[window])
    return rows + window[0].start, columns + window[1].start


def _moved(side: slice[int, int, None], by: int) -> slice[int, int, None]:
    return slice(side.start + by, side.stop + by)


def window_of(plane: NDArray[Any]) -> tuple[slice[int, int, None], slice[int, int, None]] | None:
    """Rows and columns of the box around all that is not zero in a plane (H, W); None where all is."""
    rows, columns = np.flatnonzero(plane.any(axis=1)), np.flatnonzero(plane.any(axis=0))
    if not len(rows):
        return None
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)
