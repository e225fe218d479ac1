"""Inputs to calibrate and to compare with: real slices and discs, phantoms, and what lies at the edge."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from discgrade.errors import NoDiscsFound
from export.models import GRADING, SEGMENTATION
from export.precision import Feed
from preprocess.discs import DiscCrops, find_and_crop
from preprocess.grid import Grid, to_grid
from training.data import Spider2d, split_patients
from training.phantom import PhantomSpec, make_phantom

__all__ = [
    "Runner",
    "Samples",
    "calibration",
    "calibration_grids",
    "discs_feed",
    "edge_discs",
    "edge_slices",
    "find_discs",
    "held_out",
    "is_at_hand",
]

Runner = Callable[[Feed], Mapping[str, NDArray[Any]]]
"""Computes a network: arrays by input name to arrays by output name."""

_PHANTOM_SEEDS = range(4)


@dataclass(frozen=True)
class Samples:
    """Studies to compare engines on.

    Attributes:
        source: What they are, for the report.
        grids: On the network grid, one slice each.
    """

    source: str
    grids: Sequence[Grid]


def is_at_hand(data: Path) -> bool:
    """Whether spider2d is in a folder."""
    return (data / "gradings.csv").is_file()


def held_out(data: Path) -> Samples:
    """Mid-sagittal slices of the patients that nothing was trained on; phantoms where the data set is not at hand.

    Args:
        data: Folder of spider2d, see docs/models.
    """
    if not is_at_hand(data):
        return Samples("phantoms (the spider2d data set was not at hand)", _phantoms())
    index = Spider2d(data)
    _, validation = split_patients(index)
    series = [one for one in index.midsagittal if one.patient in validation]
    return Samples(
        f"{len(series)} mid-sagittal slices of {len({one.patient for one in series})} held-out patients (spider2d)",
        [to_grid(one.volume()) for one in series],
    )


def calibration_grids(data: Path, count: int = 32) -> list[Grid]:
    """Slices of training patients, spread over all of them, to set INT8 scales with; phantoms without the data set."""
    if not is_at_hand(data):
        return _phantoms()
    index = Spider2d(data)
    training, _ = split_patients(index)
    series = [one for one in index.midsagittal if one.patient in training]
    return [to_grid(one.volume()) for one in series[:: max(1, len(series) // count)][:count]]


def calibration(network: str, grids: Sequence[Grid], segment: Runner) -> list[Feed]:
    """Batches for INT8 calibration: the slices themselves, or the discs that the FP32 segmenter finds in them."""
    if network == SEGMENTATION.name:
        return [{"IMAGE": grid.pixels[:, None]} for grid in grids]
    answers = [segment({"IMAGE": grid.pixels[:, None]}) for grid in grids]
    found = [find_discs(grid, answer) for grid, answer in zip(grids, answers, strict=True)]
    return [discs_feed(one) for one in found if one is not None]


def find_discs(grid: Grid, answer: Mapping[str, NDArray[Any]]) -> DiscCrops | None:
    """The discs in what a segmenter answered for a study; None where it sees no spine."""
    try:
        return find_and_crop(
            grid.pixels, grid.field_of_view, grid.slice_spacing_mm, answer["LABELS"], answer["DISC_PROBABILITY"]
        )
    except NoDiscsFound:
        return None


def discs_feed(found: DiscCrops) -> Feed:
    """The discs of a study as a batch of the grader."""
    return _feed(found.crops, found.features)


def edge_slices() -> dict[str, Feed]:
    """Images at the edge of what is accepted: nothing, everything, the smallest, one disc, the most discs, a batch."""
    noise = np.random.default_rng(0).integers(0, 256, (1, 1, 256, 256), dtype=np.uint8)
    images = {
        "blank": np.zeros((1, 1, 256, 256), np.uint8),
        "saturated": np.full((1, 1, 256, 256), 255, np.uint8),
        "noise": noise,
        "smallest": noise[:, :, :32, :32],
        "one disc": _phantom(matrix=(80, 192)).pixels[:, None],
        "most discs": _phantom(matrix=(768, 320)).pixels[:, None],
        "batch of 70": np.repeat(noise[:, :, :64, :64], 70, axis=0),  # beyond the first TensorRT profile
    }
    return {name: {"IMAGE": np.ascontiguousarray(image)} for name, image in images.items()}


def edge_discs(found: Sequence[DiscCrops]) -> dict[str, Feed]:
    """Discs at the edge: no signal, the strongest signal, one disc, and a full batch of real ones."""
    crops = np.concatenate([one.crops for one in found])
    features = np.concatenate([one.features for one in found])
    most = np.resize(np.arange(len(crops)), GRADING.max_batch)
    return {
        "blank": _feed(np.zeros_like(crops[:1]), np.zeros_like(features[:1])),
        "saturated": _feed(np.full_like(crops[:1], crops.max()), np.broadcast_to(features.max(axis=0), (1, 16))),
        "one disc": _feed(crops[:1], features[:1]),
        "most discs": _feed(crops[most], features[most]),
    }


def _feed(crops: NDArray[np.float32], features: NDArray[np.float32]) -> Feed:
    return {"CROPS": np.ascontiguousarray(crops), "FEATURES": np.ascontiguousarray(features)}


def _phantom(seed: int = 0, matrix: tuple[int, int] = (448, 448)) -> Grid:
    return to_grid(make_phantom(PhantomSpec(seed=seed, slices=1, matrix=matrix)).volume)


def _phantoms() -> list[Grid]:
    return [_phantom(seed) for seed in _PHANTOM_SEEDS]
