"""From the segmenter's answer to named discs, ready to be graded: what the ensemble's ``disc_crop`` model does."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from preprocess.boxes import pixels_of
from preprocess.crops import crop_discs, disc_features, references
from preprocess.frame import DiscFrame, disc_frame
from preprocess.instances import DiscInstances, find_instances
from preprocess.levels import name_levels

__all__ = ["DiscCrops", "disc_frames", "find_and_crop"]


@dataclass(frozen=True, eq=False)
class DiscCrops:
    """The discs of one study from the lowest (label 1) upward; tensors as in docs/tensors.md.

    Attributes:
        instances: uint8 (N, H, W); 0, or the disc's label.
        boxes: int32 (D, 6); slice, row, column start, then end (half-open).
        middle_slices: int32 (D,).
        levels: Level names, or ``unknown``.
        level_confidence: float32 (D,), 0 to 1.
        warnings: Codes of ``preprocess.levels.WARNING_MESSAGES``.
        crops: float32 (D, 3, 2, 56, 96).
        features: float32 (D, 16).
    """

    instances: NDArray[np.uint8]
    boxes: NDArray[np.int32]
    middle_slices: NDArray[np.int32]
    levels: tuple[str, ...]
    level_confidence: NDArray[np.float32]
    warnings: tuple[str, ...]
    crops: NDArray[np.float32]
    features: NDArray[np.float32]


def disc_frames(found: DiscInstances) -> list[DiscFrame]:
    """Fit every disc's frame on its middle slice, from the lowest upward.

    A disc too round to have an axis of its own lies across the line to its neighbours.
    """
    masks = [found.instances[middle] == label for label, middle in enumerate(found.middle_slices, start=1)]
    centres = np.array([[axis.mean() for axis in pixels_of(mask)] for mask in masks])
    frames = []
    for index, mask in enumerate(masks):
        line = centres[min(index + 1, len(masks) - 1)] - centres[max(index - 1, 0)]  # cranially
        frames.append(disc_frame(mask, fallback_angle=float(np.arctan2(line[1], -line[0]))))
    return frames


def find_and_crop(
    image: NDArray[np.uint8],
    field_of_view: tuple[int, int, int, int],
    slice_spacing_mm: float,
    labels: NDArray[np.uint8],
    disc_probability: NDArray[np.uint8],
) -> DiscCrops:
    """Separate, name and crop the discs of one study.

    Args:
        image: uint8 (N, H, W) on the network grid.
        field_of_view: Row start, row end, column start, column end (half-open) of the image within H × W.
        slice_spacing_mm: Distance between slices; 0 for one slice.
        labels: uint8 (N, H, W), tissue labels.
        disc_probability: uint8 (N, H, W), 255 × probability of disc.

    Raises:
        NoDiscsFound: No lumbar spine is seen.
    """
    found = find_instances(labels, slice_spacing_mm, field_of_view)
    frames = disc_frames(found)
    slices = [int(middle) for middle in found.middle_slices]
    signal = [references(image[s], labels[s], frame) for s, frame in zip(slices, frames, strict=True)]
    names = name_levels(frames, labels[found.middle_slice], field_of_view)
    warnings = names.warnings if len(image) > 1 else (*names.warnings, "single_slice")
    return DiscCrops(
        instances=found.instances,
        boxes=found.boxes,
        middle_slices=found.middle_slices,
        levels=names.levels,
        level_confidence=names.confidence,
        warnings=warnings,
        crops=crop_discs(image, found, frames, signal, slice_spacing_mm),
        features=disc_features(image, disc_probability, found, frames, signal),
    )
