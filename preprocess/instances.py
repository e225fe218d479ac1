"""Single discs from the segmenter's tissue labels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from discgrade.errors import NoDiscsFound
from preprocess.boxes import label_boxes, window_of
from preprocess.frame import disc_frame
from preprocess.grid import GRID_SPACING_MM

__all__ = ["CANAL", "DISC", "VERTEBRA", "DiscInstances", "find_instances"]

DISC, VERTEBRA, CANAL = 1, 2, 3

_PIXEL_MM2 = GRID_SPACING_MM**2
_MIN_AREA_MM2 = 30.0  # a collapsed disc still covers some 90 mm²
_MIN_DISCS = 3  # fewer in a row are no lumbar spine
_MID_WINDOW_MM = 8.0
_TALL_MM = 20.0  # taller than any single disc
_REACH_MM = 10.0  # how far a disc may wander between the middle and a lateral slice
_FRAGMENT_MM = 6.0
_BORDER_MM = 1.0
_NEIGHBOUR_MM = 95.0  # a missed disc between two found ones must not break the chain
_MAX_LABEL = 255
_NO_DISC = "No pixel of the image looks like an intervertebral disc."


@dataclass(frozen=True, eq=False)
class DiscInstances:
    """Discs of one study, from the lowest (label 1) upward.

    Attributes:
        instances: uint8 (N, H, W); 0, or the disc's label.
        boxes: int32 (D, 6); slice, row, column start, then end (half-open); row d is label d + 1.
        middle_slices: int32 (D,); the slice nearest each disc's centre in which it is seen.
        middle_slice: The study's mid-sagittal slice.
    """

    instances: NDArray[np.uint8]
    boxes: NDArray[np.int32]
    middle_slices: NDArray[np.int32]
    middle_slice: int


def find_instances(
    labels: NDArray[np.uint8], slice_spacing_mm: float, field_of_view: tuple[int, int, int, int]
) -> DiscInstances:
    """Separate, filter and order the discs.

    Discs are told apart on the consensus of the slices around the midline, where they lie apart; every other disc
    voxel joins the nearest of them. A disc that the border of the image cuts is left out: it cannot be graded.

    Args:
        labels: uint8 (N, H, W), 0 background, 1 disc, 2 vertebra, 3 canal.
        slice_spacing_mm: Distance between slices, 0 for one slice.
        field_of_view: Row start, row end, column start, column end (half-open) of the image within H × W.

    Raises:
        NoDiscsFound: Fewer than three discs in a row with vertebrae beside them.
    """
    window = window_of(np.bitwise_or.reduce(labels, axis=0))
    if window is None:
        raise NoDiscsFound(_NO_DISC)
    (rows, columns), (top, bottom, left, right) = window, field_of_view
    border = (top - rows.start, bottom - rows.start, left - columns.start, right - columns.start)
    found = _find(np.ascontiguousarray(labels[:, rows, columns]), slice_spacing_mm, border)
    instances = np.zeros_like(labels)
    instances[:, rows, columns] = found.instances
    corner = np.array([0, rows.start, columns.start] * 2, dtype=np.int32)
    return DiscInstances(instances, found.boxes + corner, found.middle_slices, found.middle_slice)


def _find(
    labels: NDArray[np.uint8], slice_spacing_mm: float, field_of_view: tuple[int, int, int, int]
) -> DiscInstances:
    """The same on the part of the image that shows any tissue: a third of it."""
    discs = labels == DISC
    if not discs.any():
        raise NoDiscsFound(_NO_DISC)
    middle = _middle_slice(discs, labels == CANAL)
    reach = 0 if slice_spacing_mm == 0 else int(_MID_WINDOW_MM / slice_spacing_mm)
    window = labels[max(0, middle - reach) : middle + reach + 1]
    consensus = (2 * np.count_nonzero(window == DISC, axis=0)) >= len(window)
    parts = _merge_fragments([part for region in _regions(consensus) for part in _split(region, consensus.shape)])
    whole = [part for part in parts if _beside_vertebra(part, window) and not _cut(part, field_of_view)]
    spine = _chain(whole)
    if len(spine) < _MIN_DISCS:
        raise NoDiscsFound(
            f"Only {len(spine)} structures of the image look like whole discs of a spine; at least three are needed."
        )
    return _collect(labels, _grow(labels, spine[-_MAX_LABEL:]), middle)


def _middle_slice(disc: NDArray[np.bool_], fluid: NDArray[np.bool_]) -> int:
    """The slice with most disc and most canal, smoothed over its neighbours."""
    discs, canal = (np.array([np.count_nonzero(plane) for plane in mask], dtype=np.float64) for mask in (disc, fluid))
    score = discs / discs.max() * (0.2 + canal / max(canal.max(), 1.0))
    return int(np.argmax(ndimage.convolve1d(score, [0.25, 0.5, 0.25], mode="constant")))


Region = tuple[NDArray[np.intp], NDArray[np.intp]]
"""Rows and columns of the pixels of one region."""


def _regions(mask: NDArray[np.bool_]) -> list[Region]:
    numbered, _ = ndimage.label(mask)
    regions = []
    for index, box in enumerate(ndimage.find_objects(numbered)):
        rows, columns = np.nonzero(numbered[box] == index + 1)
        if len(rows) * _PIXEL_MM2 >= _MIN_AREA_MM2 / 3:
            regions.append((rows + box[0].start, columns + box[1].start))
    return regions


def _split(region: Region, shape: tuple[int, ...]) -> list[Region]:
    """Part a region too tall for one disc where erosion first breaks it into discs."""
    mask, top, left = _as_mask(region)
    tallest = disc_frame(mask).heights_mm.max()
    if tallest < _TALL_MM and np.ptp(region[0]) * GRID_SPACING_MM < 2 * _TALL_MM:
        return [region]
    eroded = mask
    while eroded.any():
        eroded = ndimage.binary_erosion(eroded)
        numbered, count = ndimage.label(eroded)
        sizes = ndimage.sum_labels(eroded, numbered, range(1, count + 1))
        cores = [i + 1 for i, size in enumerate(sizes) if size * _PIXEL_MM2 >= _MIN_AREA_MM2]
        if len(cores) >= 2:
            keep = np.where(np.isin(numbered, cores), numbered, 0)
            nearest = ndimage.distance_transform_edt(keep == 0, return_distances=False, return_indices=True)
            owner = np.where(mask, keep[tuple(nearest)], 0)
            pieces = [np.nonzero(owner == core) for core in cores]
            return [part for r, c in pieces for part in _split((r + top, c + left), shape)]
    return [region]


def _as_mask(region: Region) -> tuple[NDArray[np.bool_], int, int]:
    """A region as a mask with a border of one pixel, and where its corner lies."""
    rows, columns = region
    top, left = int(rows.min()) - 1, int(columns.min()) - 1
    mask = np.zeros((int(rows.max()) - top + 2, int(columns.max()) - left + 2), dtype=bool)
    mask[rows - top, columns - left] = True
    return mask, top, left


def _merge_fragments(parts: list[Region]) -> list[Region]:
    """Join pieces of one disc that lie one behind the other along its axis; drop what stays too small."""
    merged = True
    while merged:
        merged = False
        for first in range(len(parts)):
            for second in range(first + 1, len(parts)):
                if _one_disc(parts[first], parts[second]):
                    joined = tuple(np.concatenate(pair) for pair in zip(parts[first], parts[second], strict=True))
                    parts = [part for i, part in enumerate(parts) if i not in (first, second)]
                    parts.append((joined[0], joined[1]))
                    merged = True
                    break
            if merged:
                break
    return [part for part in parts if len(part[0]) * _PIXEL_MM2 >= _MIN_AREA_MM2]


def _one_disc(first: Region, second: Region) -> bool:
    large, small = (first, second) if len(first[0]) >= len(second[0]) else (second, first)
    mask, top, left = _as_mask(large)
    frame = disc_frame(mask)
    offset = np.array([small[0].mean() - frame.row - top, small[1].mean() - frame.column - left]) * GRID_SPACING_MM
    across = abs(float(offset @ frame.down))
    along = abs(float(offset @ frame.along))
    return across < _FRAGMENT_MM and along < 30.0 and frame.length_mm < 40.0


def _beside_vertebra(part: Region, window: NDArray[np.uint8]) -> bool:
    """Whether a vertebra touches the region above or below over a good part of its length."""
    rows, columns = part
    margin = int(5.0 / GRID_SPACING_MM)
    top, left = max(0, int(rows.min()) - margin), max(0, int(columns.min()))
    bottom, right = int(rows.max()) + margin + 1, int(columns.max()) + 1
    vertebra = (window[:, top:bottom, left:right] == VERTEBRA).any(0)
    return bool(vertebra.any(0).mean() > 0.4)


def _cut(part: Region, field_of_view: tuple[int, int, int, int]) -> bool:
    """Whether the region reaches the border of the image."""
    rows, columns = part
    margin = _BORDER_MM / GRID_SPACING_MM
    top, bottom, left, right = field_of_view
    return bool(
        rows.min() - top < margin
        or bottom - 1 - rows.max() < margin
        or columns.min() - left < margin
        or right - 1 - columns.max() < margin
    )


def _chain(parts: list[Region]) -> list[Region]:
    """The longest run of regions that follow one another like discs, from top to bottom."""
    parts = sorted(parts, key=lambda part: float(part[0].mean()))
    centres = [np.array([part[0].mean(), part[1].mean()]) * GRID_SPACING_MM for part in parts]
    best: list[list[int]] = []
    for index, centre in enumerate(centres):
        options = [
            best[before]
            for before in range(index)
            if 12.0 < np.linalg.norm(centre - centres[before]) < _NEIGHBOUR_MM
            and abs(centre[1] - centres[before][1]) < 1.6 * abs(centre[0] - centres[before][0]) + 2.0
        ]
        best.append([*max(options, key=lambda run: sum(len(parts[i][0]) for i in run), default=[]), index])
    winner = max(best, key=lambda run: sum(len(parts[i][0]) for i in run), default=[])
    return [parts[i] for i in winner]


def _grow(labels: NDArray[np.uint8], spine: list[Region]) -> NDArray[np.uint8]:
    """Give every disc voxel the label of the nearest disc of the midline, counted from the bottom."""
    margin = int(_REACH_MM / GRID_SPACING_MM) + 1
    rows = np.concatenate([part[0] for part in spine])
    columns = np.concatenate([part[1] for part in spine])
    box = (
        slice(max(0, int(rows.min()) - margin), int(rows.max()) + margin + 1),
        slice(max(0, int(columns.min()) - margin), int(columns.max()) + margin + 1),
    )
    seeds = np.zeros(labels.shape[1:], dtype=np.uint8)
    for label, part in enumerate(reversed(spine), start=1):
        seeds[part] = label
    window = seeds[box]
    distance, nearest = ndimage.distance_transform_edt(window == 0, return_indices=True)
    owner = np.where(distance * GRID_SPACING_MM <= _REACH_MM, window[tuple(nearest)], 0).astype(np.uint8)
    instances = np.zeros_like(labels)
    instances[:, box[0], box[1]] = np.where(labels[:, box[0], box[1]] == DISC, owner, 0)
    return instances


def _collect(labels: NDArray[np.uint8], instances: NDArray[np.uint8], middle: int) -> DiscInstances:
    boxes, middles = [], []
    for label, box in label_boxes(instances).items():
        boxes.append([*(s.start for s in box), *(s.stop for s in box)])
        areas = (instances[box] == label).sum((1, 2))
        seen = np.flatnonzero(areas >= 0.5 * areas.max())
        centre = float((areas * np.arange(len(areas))).sum() / areas.sum())
        middles.append(box[0].start + int(seen[np.argmin(np.abs(seen - centre))]))
    return DiscInstances(instances, np.array(boxes, dtype=np.int32), np.array(middles, dtype=np.int32), middle)
