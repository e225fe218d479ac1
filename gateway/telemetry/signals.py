"""How usual an input is, and how sure its masks are: figures of a study that say nothing of the patient."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gateway.triton_tensors import GradedTensors, GridTensors

__all__ = ["Signals", "measure_signals"]

_STEP = 3
"""Every third row and column: a ninth of the work, and means over thousands of pixels hardly move."""
_SURE = 230
"""Of 255, as the disc probability is kept: 0.9."""


@dataclass(frozen=True)
class Signals:
    """Figures of one graded study.

    Attributes:
        brightness: Mean of the normalised image, 0 to 1.
        contrast: Its standard deviation.
        saturation: Share of its pixels at the top of the scale.
        mask_certainty: Share of the discs' voxels whose disc probability is 0.9 or more.
    """

    brightness: float
    contrast: float
    saturation: float
    mask_certainty: float


def measure_signals(grid: GridTensors, tensors: GradedTensors) -> Signals:
    """Measure a study on the network grid, padding left out."""
    top, bottom, left, right = grid.field_of_view
    pixels = grid.pixels[:, top:bottom:_STEP, left:right:_STEP]
    return Signals(
        brightness=float(pixels.mean()) / 255,
        contrast=float(pixels.std()) / 255,
        saturation=float((pixels == 255).mean()),
        mask_certainty=_certainty(tensors.instances, tensors.disc_probability, tensors.boxes),
    )


def _certainty(instances: NDArray[np.uint8], probability: NDArray[np.uint8], boxes: NDArray[np.int32]) -> float:
    sure = size = 0
    for label, (slice0, row0, column0, slice1, row1, column1) in enumerate(boxes.tolist(), start=1):
        box = np.s_[slice0:slice1, row0:row1, column0:column1]
        own = instances[box] == label
        size += int(own.sum())
        sure += int((own & (probability[box] >= _SURE)).sum())
    return sure / size if size else 0.0
