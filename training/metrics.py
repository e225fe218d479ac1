"""Measures of segmentation and grading."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["accuracy", "dice", "quadratic_kappa"]


def dice(predicted: NDArray[np.bool_], reference: NDArray[np.bool_]) -> float:
    """Dice coefficient of two masks (Dice, Ecology 26:297, 1945); 1 where both are empty."""
    total = int(predicted.sum()) + int(reference.sum())
    return 1.0 if total == 0 else 2.0 * int((predicted & reference).sum()) / total


def accuracy(predicted: NDArray[np.int64], reference: NDArray[np.int64]) -> float:
    """Share of equal entries."""
    return float((predicted == reference).mean())


def quadratic_kappa(predicted: NDArray[np.int64], reference: NDArray[np.int64], classes: int) -> float:
    """Cohen's κ with quadratic weights (Cohen, Psychological Bulletin 70:213, 1968).

    Args:
        predicted: Classes 0 … ``classes`` − 1, shape (n,).
        reference: The same.
        classes: Number of classes.
    """
    observed = np.zeros((classes, classes))
    np.add.at(observed, (reference, predicted), 1)
    expected = np.outer(observed.sum(1), observed.sum(0)) / observed.sum()
    weight = (np.arange(classes)[:, None] - np.arange(classes)[None, :]) ** 2
    return float(1 - (weight * observed).sum() / (weight * expected).sum())
