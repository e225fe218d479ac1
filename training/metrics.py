"""Measures of segmentation and grading."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

__all__ = ["accuracy", "dice", "interval_by_patient", "quadratic_kappa"]


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


def interval_by_patient(
    patients: int, measure: Callable[[NDArray[np.int64]], float | list[float]]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """95 % interval of a figure over patients: the bootstrap of 1,000 draws of as many patients, with replacement.

    Args:
        patients: How many there are.
        measure: Takes the drawn patients' numbers, 0 … ``patients`` − 1, and gives one figure or several.

    Returns:
        Lower and upper ends, each of the shape of what ``measure`` gives.
    """
    rng = np.random.default_rng(0)
    drawn = [measure(rng.integers(0, patients, patients)) for _ in range(1000)]
    low, high = np.percentile(np.array(drawn), [2.5, 97.5], axis=0)
    return low, high
