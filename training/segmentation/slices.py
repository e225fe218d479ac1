"""Slices to learn from: masked ones, ones labelled by a network, and made ones."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from preprocess.grid import Grid, to_grid
from preprocess.volume import Volume
from training.data import Grading, Series, sagittal_volume
from training.phantom import make_phantom, random_spec
from training.phantom.nonspine import make_non_spine
from training.segmentation.segment import Segment, find_discs

__all__ = [
    "Slice",
    "labels_on_grid",
    "load_slices",
    "made_slices",
    "non_spine_slices",
    "part_of",
    "phantom_slices",
    "pseudo_labels",
]

_MADE_WEIGHT = 0.7
_ON_TISSUE = 0.8
_ROOM = 1.5  # a window that is turned and enlarged as much as training does needs no more


@dataclass(frozen=True, eq=False)
class Slice:
    """One slice on the network grid.

    Attributes:
        image: uint8 (H, W).
        labels: int8 (H, W), tissue 0–3, or −1 where unknown.
        weight: How often to draw it, relative to others.
    """

    image: NDArray[np.uint8]
    labels: NDArray[np.int8]
    weight: float = 1.0


def load_slices(series: Series, most: int = 12) -> list[Slice]:
    """Bring a masked series onto the network grid.

    Labels are interpolated as one image a tissue, so outlines keep sub-pixel truth, and the strongest wins.

    Args:
        series: With masks.
        most: Slices to take at most, spread over those that show discs.
    """
    volume, labels = series.volume(), series.labels()
    chosen = np.flatnonzero((labels == 1).any((1, 2))) if len(labels) > most else np.arange(len(labels))
    chosen = chosen[np.linspace(0, len(chosen) - 1, min(most, len(chosen))).round().astype(int)]
    whole = None if series.own_range else to_grid(volume)
    slices = []
    for index in chosen:
        # A data set that normalised each slice on its own is normalised slice by slice here too.
        grid = whole or to_grid(Volume(volume.array[index : index + 1], volume.affine))
        pixels = grid.pixels[index if whole else 0]
        slices.append(Slice(pixels, labels_on_grid(labels[index], grid).astype(np.int8)))
    return slices


def labels_on_grid(labels: NDArray[np.uint8], grid: Grid) -> NDArray[np.uint8]:
    """Bring one slice's tissue labels onto the network grid.

    Args:
        labels: uint8 (rows, columns), upright, anterior to the left, on the pixels of the grid's source.
        grid: The grid made from that slice, or from its series.

    Returns:
        uint8 (H, W).
    """
    height, width = grid.pixels.shape[1:]
    to_source = np.linalg.inv(grid.source.affine) @ grid.affine
    rows = to_source[1, 1] * np.arange(height) + to_source[1, 3]
    columns = to_source[2, 2] * np.arange(width) + to_source[2, 3]
    onehot = torch.from_numpy(np.eye(4, dtype=np.float32)[labels].transpose(2, 0, 1)[None])
    y = torch.from_numpy(2 * (rows + 0.5) / labels.shape[0] - 1).float()
    x = torch.from_numpy(2 * (columns + 0.5) / labels.shape[1] - 1).float()
    where = torch.stack(torch.meshgrid(y, x, indexing="ij")[::-1], dim=-1)[None]
    sampled = functional.grid_sample(onehot, where, mode="bilinear", padding_mode="zeros", align_corners=False)
    return sampled[0].argmax(0).numpy().astype(np.uint8)


def part_of(item: Slice, window: tuple[int, int], chance: np.random.Generator) -> Slice:
    """Cut out a part that a training window has room to turn, grow and move in, most often with a spine in its middle.

    Discs and vertebrae fill less than half of a sagittal slice: windows drawn anywhere would show less of what is to
    be learned.

    Args:
        item: The slice.
        window: Height and width of the training window, on the grid of the slice.
        chance: Source of all randomness.
    """
    on_tissue = np.flatnonzero(item.labels > 0)
    anywhere = len(on_tissue) == 0 or chance.random() > _ON_TISSUE
    centre = np.unravel_index(
        chance.integers(item.labels.size) if anywhere else chance.choice(on_tissue), item.labels.shape
    )
    box = []
    for middle, side, whole in zip(centre, window, item.labels.shape, strict=True):
        length = min(round(_ROOM * side), whole)
        start = min(max(int(middle) - length // 2, 0), whole - length)
        box.append(slice(start, start + length))
    return replace(item, image=item.image[tuple(box)], labels=item.labels[tuple(box)])


def pseudo_labels(
    series: Iterable[Series], gradings: Mapping[str, Mapping[int, Grading]], segment: Segment
) -> list[Slice]:
    """Label slices that have no masks, keeping those of series whose number of discs agrees with the gradings.

    Args:
        series: Without masks; of each, the middle slice is taken.
        gradings: By patient and disc.
        segment: The network that labels.
    """
    slices = []
    for one in series:
        volume = one.volume()
        middle = len(volume.array) // 2
        grid = to_grid(sagittal_volume(volume.array[middle : middle + 1], volume.spacing))
        labels, probability = segment(grid.pixels)
        found = find_discs(grid, labels, probability)
        if found is None or len(found.levels) != len(gradings.get(one.patient, {})):
            continue
        # A disc that was not kept as an instance (an S1/S2 remnant, say) is left out of the loss, not taught.
        taught = labels.astype(np.int8)
        taught[(labels == 1) & (found.instances == 0)] = -1
        slices.append(Slice(grid.pixels[0], taught[0]))
    return slices


def phantom_slices(count: int, seed: int) -> list[Slice]:
    """One slice near the middle of each of many random phantoms, with its labels."""
    rng = np.random.default_rng(seed)
    slices = []
    for _ in range(count):
        spec = replace(random_spec(rng), slices=1, slice_spacing_mm=4.0)
        phantom = make_phantom(spec)
        grid = to_grid(phantom.volume)
        slices.append(Slice(grid.pixels[0], labels_on_grid(phantom.labels[0], grid).astype(np.int8), _MADE_WEIGHT))
    return slices


def non_spine_slices(count: int, seed: int) -> list[Slice]:
    """Slices of objects that are no spine: everything is background."""
    slices = []
    for index in range(count):
        volume = make_non_spine(seed + index)
        middle = len(volume.array) // 2
        grid = to_grid(Volume(volume.array[middle : middle + 1], volume.affine))
        slices.append(Slice(grid.pixels[0], np.zeros(grid.pixels.shape[1:], dtype=np.int8), _MADE_WEIGHT))
    return slices


def made_slices(phantoms: int, non_spines: int) -> list[Slice]:
    """The phantoms and the objects that are no spine which a segmenter sees beside patients."""
    return [*phantom_slices(phantoms, seed=1), *non_spine_slices(non_spines, seed=1)]
