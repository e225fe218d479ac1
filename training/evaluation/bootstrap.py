"""Intervals by patient: discs of one patient resemble each other, so patients are what is drawn."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

__all__ = ["DRAWS", "Bootstrap", "Figure"]

DRAWS = 1000

Array = NDArray[np.float64]


class Figure(BaseModel):
    """A figure with its 95 % interval; None where it is not defined.

    Attributes:
        value: On the patients as they are.
        low: Lower end.
        high: Upper end.
    """

    value: float | None
    low: float | None
    high: float | None

    def __str__(self) -> str:
        if self.value is None:
            return "–"
        return f"{self.value:.3f}" if self.low is None else f"{self.value:.3f} ({self.low:.3f}–{self.high:.3f})"


class Bootstrap:
    """Draws of as many patients as there are, with replacement; the same for the same number of patients.

    Args:
        patients: Of each row (disc or series).

    Attributes:
        weights: float64 (1 + DRAWS, P), how often each patient was drawn; the first row is everybody once, so that
            figures and intervals come of one computation.
        index: int64, for each row its patient, 0 … P − 1.
    """

    def __init__(self, patients: Sequence[str]) -> None:
        names, index = np.unique(np.asarray(patients, dtype=np.str_), return_inverse=True)
        self.index: NDArray[np.int64] = index.astype(np.int64)
        self.count = len(names)
        rng = np.random.default_rng(0)
        drawn = rng.multinomial(self.count, np.full(self.count, 1 / max(self.count, 1)), size=DRAWS)
        self.weights: Array = np.concatenate([np.ones((1, self.count)), drawn.astype(np.float64)])

    def sums(self, values: NDArray[np.generic]) -> Array:
        """Sum of values (rows, …) over the drawn patients' rows: (1 + DRAWS, …)."""
        own = np.zeros((self.count, *values.shape[1:]))
        np.add.at(own, self.index, values)
        return np.tensordot(self.weights, own, axes=1)

    def mean(self, values: Array) -> Figure:
        """Mean over patients of one value each (the mean of a patient's rows); rows with NaN do not count."""
        known = ~np.isnan(values)
        total, count = np.zeros(self.count), np.zeros(self.count)
        np.add.at(total, self.index[known], values[known])
        np.add.at(count, self.index[known], 1)
        has = count > 0
        weights = self.weights[:, has]
        with np.errstate(invalid="ignore", divide="ignore"):
            return self.figure(weights @ (total[has] / count[has]) / weights.sum(1))

    def figure(self, values: Array) -> Figure:
        """The figure of values (1 + DRAWS,), the first of which is on the patients as they are."""
        drawn = values[1:][np.isfinite(values[1:])]
        if not np.isfinite(values[0]):
            return Figure(value=None, low=None, high=None)
        if self.count < 2 or not len(drawn):
            return Figure(value=round(float(values[0]), 4), low=None, high=None)
        low, high = np.percentile(drawn, [2.5, 97.5])
        return Figure(value=round(float(values[0]), 4), low=round(float(low), 4), high=round(float(high), 4))
