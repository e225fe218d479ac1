"""A trained segmenter at work, as it is served."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from discgrade.errors import NoDiscsFound
from preprocess.discs import DiscCrops, find_and_crop
from preprocess.grid import Grid, to_source
from training.networks import ExportedSegmenter, SpineUNet

__all__ = ["Segment", "discs_on_source", "find_discs", "kept_weights", "read_segmenter", "segmenter"]

Segment = Callable[[NDArray[np.uint8]], tuple[NDArray[np.uint8], NDArray[np.uint8]]]
"""Slices uint8 (N, H, W) to labels and disc probability, both uint8 (N, H, W)."""


def kept_weights(checkpoint: Path) -> Mapping[str, Tensor]:
    """The weights that a run is for: the mean over its last steps, or those of its best checkpoint."""
    state: dict[str, Any] = torch.load(checkpoint, weights_only=True, map_location="cpu")
    weights: Mapping[str, Tensor] = state.get("best") or state["ema"]
    return weights


def read_segmenter(checkpoint: Path) -> ExportedSegmenter:
    """Load a checkpoint; its convolutions say which form the network has."""
    weights = kept_weights(checkpoint)
    levels = sorted(name for name in weights if name.startswith("down.") and name.endswith(".0.weight"))
    folded = math.isqrt(weights[levels[0]].shape[1])
    network = SpineUNet(tuple(len(weights[name]) for name in levels), folded)
    network.load_state_dict(weights)
    return ExportedSegmenter(network).eval()


def segmenter(checkpoint: Path, device: torch.device | None = None) -> Segment:
    """The segmenter of a checkpoint, as it will be served: uint8 slices to labels and disc probability."""
    where = device or torch.device("cpu")
    served = read_segmenter(checkpoint).to(where)

    @torch.no_grad()
    def segment(pixels: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        answers = [served(torch.from_numpy(pixels[i : i + 1, None]).to(where)) for i in range(len(pixels))]
        return np.concatenate([a.cpu().numpy() for a, _ in answers]), np.concatenate(
            [b.cpu().numpy() for _, b in answers]
        )

    return segment


def find_discs(grid: Grid, labels: NDArray[np.uint8], probability: NDArray[np.uint8]) -> DiscCrops | None:
    """Find the discs in what a :data:`Segment` answered for a study; None where it sees no spine."""
    try:
        return find_and_crop(grid.pixels, grid.field_of_view, grid.slice_spacing_mm, labels, probability)
    except NoDiscsFound:
        return None


def discs_on_source(grid: Grid, found: DiscCrops | None, probability: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The discs as they are served, on the pixels of the source; nothing where no spine was found.

    Args:
        grid: Made of the source.
        found: From :func:`find_discs`.
        probability: uint8 (N, H, W), from the :data:`Segment`.

    Returns:
        uint8, of the source's shape: 0, or the disc's label.
    """
    return to_source(grid, np.zeros_like(grid.pixels) if found is None else found.instances, probability)
