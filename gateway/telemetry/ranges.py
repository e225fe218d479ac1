"""What the networks were trained on, as ranges; outside them nobody measured how good they are.

Spacings: of the 199 T2 series of SPIDER (docs/models). Brightness, contrast and saturation: of their mid-sagittal
slices and SPACE volumes on the network's scale, and of the phantoms trained on beside them. Rounded outwards.
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["DISC_RANGES", "TRAINING_RANGES", "Range"]


class Range(NamedTuple):
    """Both ends belong to it."""

    low: float
    high: float

    def holds(self, value: float) -> bool:
        """Whether a value is inside."""
        return self.low <= value <= self.high


TRAINING_RANGES = {
    "slice_spacing": Range(0.9, 5.0),
    "pixel_spacing": Range(0.3, 1.05),
    "brightness": Range(0.08, 0.22),
    "contrast": Range(0.12, 0.21),
    "saturation": Range(0.0, 0.02),
}
"""Of the input: mm between slices; mm between rows and between columns; mean, standard deviation and share of saturated
pixels of the normalised image, 0 to 1 (:func:`preprocess.intensity.normalise` gives 0 to 255)."""

DISC_RANGES = {
    "height": Range(2.0, 18.0),
    "area": Range(80.0, 800.0),
    "volume": Range(1_500.0, 30_000.0),
}
"""Of one disc in mm, mm² on its middle slice, and mm³: what adults' lumbar discs measure, from collapsed to tall, with
a margin for how they are outlined. A judgement, not a reference: it is there to find masks that cannot be discs."""
