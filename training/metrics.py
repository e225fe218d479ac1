"""The measure that training, export and tests share."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["dice"]


def dice(predicted: NDArray[np.bool_], reference: NDArray[np.bool_]) -> float:
    """Dice coefficient of two masks (Dice, Ecology 26:297, 1945); 1 where both are empty."""
    total = int(predicted.sum()) + int(reference.sum())
    return 1.0 if total == 0 else 2.0 * int((predicted & reference).sum()) / total
