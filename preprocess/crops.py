"""What the grader sees of a disc: crops along the disc's own axis, and features of shape and signal."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from preprocess.boxes import pixels_of
from preprocess.frame import DiscFrame
from preprocess.grid import GRID_SPACING_MM
from preprocess.instances import CANAL, VERTEBRA, DiscInstances

__all__ = ["CROP_SHAPE", "CROP_SPACING_MM", "FEATURE_NAMES", "References", "crop_discs", "disc_features", "references"]

CROP_SPACING_MM = 0.625
CROP_SHAPE = (3, 2, 56, 96)
"""Slices, channels (image, disc mask), rows (35 mm, cranial to caudal), columns (60 mm, anterior to posterior)."""

FEATURE_NAMES = (
    "log_signal_to_csf",
    "log_signal_to_vertebra",
    "log_bright_to_csf",
    "log_dark_to_csf",
    "signal_variation",
    "log_nucleus_to_annulus",
    "log_csf_to_vertebra",
    "height",
    "length",
    "height_to_length",
    "area",
    "tallest",
    "height_to_study",
    "log_signal_to_study",
    "log_anterior_to_posterior_height",
    "certainty",
)

_SLICE_STEP_MM = 4.0
_REFERENCE_REACH_MM = 30.0


@dataclass(frozen=True)
class References:
    """Signal of the tissues a disc is judged against, on the 0–255 scale of the grid.

    Attributes:
        csf: Bright end (85th percentile) of the spinal canal at the disc's height.
        vertebra: Median of the vertebrae beside the disc.
    """

    csf: float
    vertebra: float

    @property
    def scale(self) -> float:
        """One reference of both (geometric mean), steadier than either against fat suppression and coil fall-off."""
        return float(np.sqrt(self.csf * self.vertebra))


def references(image: NDArray[np.uint8], labels: NDArray[np.uint8], frame: DiscFrame) -> References:
    """Read the reference signals around a disc.

    Args:
        image: uint8 (H, W), one slice.
        labels: uint8 (H, W), its tissue labels.
        frame: The disc's frame on that slice.
    """
    reach = int(_REFERENCE_REACH_MM / GRID_SPACING_MM)
    rows = slice(max(0, int(frame.row) - reach), int(frame.row) + reach + 1)
    near, tissue = image[rows], labels[rows]
    body = slice(max(0, int(frame.column) - reach), int(frame.column) + reach // 2)  # bodies, not posterior elements
    marrow = near[:, body][tissue[:, body] == VERTEBRA]
    fluid = near[tissue == CANAL]
    vertebra = float(np.median(marrow)) if marrow.size else float(np.median(image[image > 0]) if image.any() else 1.0)
    csf = float(np.percentile(fluid, 85)) if fluid.size else 1.8 * vertebra
    return References(max(csf, 1.0), max(vertebra, 1.0))


def crop_discs(
    image: NDArray[np.uint8],
    found: DiscInstances,
    frames: list[DiscFrame],
    references_: list[References],
    slice_spacing_mm: float,
) -> NDArray[np.float32]:
    """Cut every disc out along its own axis, on its middle slice and one on either side.

    Where the disc is not seen on a neighbouring slice, or there is none, the middle slice stands in.

    Args:
        image: uint8 (N, H, W).
        found: The discs.
        frames: Their frames, from the lowest upward.
        references_: Their reference signals.
        slice_spacing_mm: Distance between slices; 0 for one slice.

    Returns:
        float32 (D, 3, 2, 56, 96): image over its reference (0 to 4), and the disc's mask (0 to 1).
    """
    _, _, height, width = CROP_SHAPE
    v, u = np.meshgrid(
        (np.arange(height) - (height - 1) / 2) * (CROP_SPACING_MM / GRID_SPACING_MM),
        (np.arange(width) - (width - 1) / 2) * (CROP_SPACING_MM / GRID_SPACING_MM),
        indexing="ij",
    )
    step = max(1, round(_SLICE_STEP_MM / slice_spacing_mm)) if slice_spacing_mm else 0
    crops = np.zeros((len(frames), *CROP_SHAPE), dtype=np.float32)
    for disc, (frame, reference) in enumerate(zip(frames, references_, strict=True)):
        where = np.stack(
            [
                frame.row + u * frame.along[0] + v * frame.down[0],
                frame.column + u * frame.along[1] + v * frame.down[1],
            ]
        )
        box = tuple(slice(max(0, int(axis.min()) - 1), max(1, int(axis.max()) + 3)) for axis in where)
        local = where - np.array([[[box[0].start]], [[box[1].start]]])
        middle = int(found.middle_slices[disc])
        first, top, left, end, bottom, right = found.boxes[disc].tolist()
        own = found.instances[first:end, top:bottom, left:right] == disc + 1
        area = np.count_nonzero(own[middle - first])
        for position, offset in enumerate((-step, 0, step)):
            index = middle + offset
            if not first <= index < end or 2 * np.count_nonzero(own[index - first]) < area:
                index = middle
            pixels = image[index][box].astype(np.float32) / np.float32(reference.scale)
            mask = (found.instances[index][box] == disc + 1).astype(np.float32)
            crops[disc, position, 0] = ndimage.map_coordinates(pixels, local, order=1, mode="constant")
            crops[disc, position, 1] = ndimage.map_coordinates(mask, local, order=1, mode="constant")
    return np.clip(crops, 0.0, 4.0)


def disc_features(
    image: NDArray[np.uint8],
    disc_probability: NDArray[np.uint8],
    found: DiscInstances,
    frames: list[DiscFrame],
    references_: list[References],
) -> NDArray[np.float32]:
    """Measure shape and signal of every disc on its middle slice.

    Args:
        image: uint8 (N, H, W).
        disc_probability: uint8 (N, H, W), 255 × probability of disc.
        found: The discs.
        frames: Their frames, from the lowest upward.
        references_: Their reference signals.

    Returns:
        float32 (D, 16) in the order of ``FEATURE_NAMES``; lengths in units of a typical disc.
    """
    heights = np.array([frame.height_mm for frame in frames])
    signals, rows = [], []
    for disc, (frame, reference) in enumerate(zip(frames, references_, strict=True)):
        middle = int(found.middle_slices[disc])
        where = pixels_of(found.instances[middle] == disc + 1)
        values = image[middle][where].astype(np.float64)
        along = ((where[0] - frame.row) * frame.along[0] + (where[1] - frame.column) * frame.along[1]) * GRID_SPACING_MM
        nucleus = np.abs(along) < 0.25 * frame.length_mm
        mean = values.mean()
        signals.append(mean / reference.scale)
        bins = len(frame.heights_mm)
        front = frame.heights_mm[bins // 10 : bins // 3 + 1].mean()
        back = frame.heights_mm[bins - bins // 3 - 1 : bins - bins // 10].mean()
        rows.append(
            [
                _log(mean / reference.csf),
                _log(mean / reference.vertebra),
                _log(np.percentile(values, 90) / reference.csf),
                _log(np.percentile(values, 10) / reference.csf),
                float(values.std() / max(mean, 1.0)),
                _log(_mean(values[nucleus]) / max(_mean(values[~nucleus]), 1.0)),
                _log(reference.csf / reference.vertebra),
                heights[disc] / 10,
                frame.length_mm / 40,
                heights[disc] / frame.length_mm,
                len(values) * GRID_SPACING_MM**2 / 300,
                float(frame.heights_mm.max()) / 10,
                heights[disc] / float(np.median(heights)),
                0.0,
                _log(front / max(back, 0.25)),
                float(disc_probability[middle][where].mean()) / 255,
            ]
        )
    features = np.array(rows)
    brightest = max(*signals, 0.01)
    features[:, FEATURE_NAMES.index("log_signal_to_study")] = [_log(signal / brightest) for signal in signals]
    return features.astype(np.float32)


def _mean(values: NDArray[np.float64]) -> float:
    return float(values.mean()) if values.size else 0.0


def _log(ratio: float) -> float:
    return float(np.log(max(ratio, 0.01)))
