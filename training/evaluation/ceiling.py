"""How well a perfect network could do, given that readers do not agree with themselves and with each other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel
from scipy.optimize import brentq
from scipy.stats import norm

__all__ = ["Ceiling", "ceiling"]

_LATENT = np.linspace(-6.0, 6.0, 2401)
_WEIGHT = norm.pdf(_LATENT) / norm.pdf(_LATENT).sum()
_SEVERITY = np.array([[1, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, 1]], np.float64)


class Ceiling(BaseModel):
    """What is to be had from gradings of a given reliability.

    Attributes:
        kappa: Cohen's κ, unweighted, of two readings of the five Pfirrmann grades.
        readers_agree: Share of discs on whose severity two readings agree.
        accuracy: Severity accuracy, against one reading, of whoever knows how degenerated each disc is.
        sensitivity: Mean over the three classes, likewise.
    """

    kappa: float
    readers_agree: float
    accuracy: float
    sensitivity: float


def ceiling(grades: Sequence[int] | NDArray[np.int64], kappa: float) -> Ceiling:
    """Bound the severity accuracy that gradings allow.

    Degeneration is taken as continuous and normally distributed, a reading as degeneration plus a normal error, graded
    at fixed thresholds (Thurstone's model of ordered categories). Thresholds give the shares of the grades; the error's
    size gives κ.

    Args:
        grades: Pfirrmann grades, 0 (I) to 4 (V), of the discs; all five occur.
        kappa: Of two readings; 0 to 1, both excluded.
    """
    shares = np.bincount(grades, minlength=5) / len(grades)
    thresholds = norm.ppf(np.cumsum(shares)[:-1])
    error = brentq(lambda size: _kappa(_grades(thresholds, size)) - kappa, 0.005, 20.0)
    severity = _grades(thresholds, error) @ _SEVERITY
    best = severity.argmax(1)
    together = _WEIGHT[:, None] * severity
    hits = np.array([together[best == label, label].sum() for label in range(3)])
    return Ceiling(
        kappa=kappa,
        readers_agree=round(float((together * severity).sum()), 4),
        accuracy=round(float(hits.sum()), 4),
        sensitivity=round(float((hits / together.sum(0)).mean()), 4),
    )


def _grades(thresholds: NDArray[np.float64], error: float) -> NDArray[np.float64]:
    """Probability of each grade, (len(_LATENT), 5), where degeneration is known; thresholds are those of a reading."""
    scaled = thresholds * np.hypot(1.0, error)
    below = norm.cdf((scaled - _LATENT[:, None]) / error)
    return np.diff(np.pad(below, ((0, 0), (1, 1)), constant_values=((0, 0), (0, 1))), axis=1)


def _kappa(grades: NDArray[np.float64]) -> float:
    marginal = _WEIGHT @ grades
    agree, chance = float((_WEIGHT[:, None] * grades**2).sum()), float((marginal**2).sum())
    return (agree - chance) / (1 - chance)
