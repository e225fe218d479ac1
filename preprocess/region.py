"""Where the spine lies in a study, so that the segmenter need not compute the abdomen and the back.

A sagittal field of view is two to three times as deep as the column of discs in it. Two slices are segmented whole;
what they show of discs bounds the columns that are computed of the others.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from preprocess.grid import GRID_MULTIPLE, GRID_SPACING_MM
from preprocess.instances import DISC

__all__ = ["Network", "segment_spine", "spine_columns"]

Network = Callable[[NDArray[np.uint8]], tuple[NDArray[np.uint8], NDArray[np.uint8]]]
"""Slices uint8 (N, H, W), H and W multiples of 32, to labels and disc probability, both uint8 (N, H, W)."""

_FEWEST_SLICES = 4  # below, whole slices cost hardly more than looking for the spine first
_SCOUTS = (0.4, 0.6)  # of the way through the study: on either side of the midline, so that they see curved spines, too
_SMALLEST_MM2 = 30.0  # an area of disc below this is a chance find
_DISC_MM2 = 400.0  # three discs, collapsed ones: a slice that shows less is beside the spine
_MARGIN_MM = 32.0  # canal and context behind, context in front, and how far discs wander from slice to slice
_EDGE_MM = 8.0  # a disc nearer to the edge of the region than this may go on beyond it


def segment_spine(pixels: NDArray[np.uint8], network: Network) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Segment a study, all slices but two only where the spine is.

    Where those two show too little of a spine, or a disc of any slice comes near the edge of the region that they
    bound, every slice is computed whole.

    Args:
        pixels: uint8 (N, H, W) on the network grid.
        network: The segmenter.

    Returns:
        Labels and disc probability, both uint8 (N, H, W); 0 where nothing was computed.
    """
    count = len(pixels)
    if count < _FEWEST_SLICES:
        return network(pixels)
    scouts = [round(share * (count - 1)) for share in _SCOUTS]
    others = [index for index in range(count) if index not in scouts]
    labels, probability = np.zeros_like(pixels), np.zeros_like(pixels)
    labels[scouts], probability[scouts] = network(pixels[scouts])
    columns = spine_columns(labels[scouts])
    if columns is not None:
        found, sure = network(np.ascontiguousarray(pixels[others, :, columns]))
        if _keeps_clear(found, columns, pixels.shape[2]):
            labels[others, :, columns], probability[others, :, columns] = found, sure
            return labels, probability
    labels[others], probability[others] = network(pixels[others])
    return labels, probability


def spine_columns(labels: NDArray[np.uint8]) -> slice | None:
    """The columns to compute, from what whole slices show.

    They begin and end at multiples of 32 columns of the image: the network's halvings then fall on the same pixels as
    in the whole image, and what lies well inside comes out the same.

    Args:
        labels: uint8 (K, H, W), tissue labels.

    Returns:
        None where a slice shows too little of a spine, or the image is no wider.
    """
    width = labels.shape[2]
    discs = np.stack([_without_chance_finds(plane == DISC) for plane in labels])
    if discs.sum(axis=(1, 2)).min() * GRID_SPACING_MM**2 < _DISC_MM2:
        return None
    seen = np.flatnonzero(discs.any(axis=(0, 1)))
    margin = round(_MARGIN_MM / GRID_SPACING_MM)
    start = max(0, int(seen[0]) - margin) // GRID_MULTIPLE * GRID_MULTIPLE
    stop = -(-min(width, int(seen[-1]) + 1 + margin) // GRID_MULTIPLE) * GRID_MULTIPLE
    return None if stop - start == width else slice(start, stop)


def _without_chance_finds(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    numbered, _ = ndimage.label(mask)
    large = np.bincount(numbered.ravel()) * GRID_SPACING_MM**2 >= _SMALLEST_MM2
    large[0] = False
    kept: NDArray[np.bool_] = large[numbered]
    return kept


def _keeps_clear(labels: NDArray[np.uint8], columns: slice, width: int) -> bool:
    """Whether the discs keep clear of those edges of the region that are not the image's."""
    edge, discs = round(_EDGE_MM / GRID_SPACING_MM), labels == DISC
    before = columns.start > 0 and discs[:, :, :edge].any()
    behind = columns.stop < width and discs[:, :, -edge:].any()
    return not (before or behind)
