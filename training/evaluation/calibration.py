"""Temperatures: one number a head that makes probabilities as sure as they are right (Guo et al., ICML 2017)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize, minimize_scalar

from training.networks import agree, tempered

__all__ = ["BOTH", "fit_temperatures", "groups_of", "served"]

BOTH = ("severity", "pfirrmann")
_GROUPS = 5
_RANGE = (-1.5, 1.5)  # natural logarithm: 0.22 to 4.5

Heads = Mapping[str, NDArray[np.float64]]
"""Probabilities (discs, classes) by head, NaN rows where a head did not answer."""
Truth = Mapping[str, NDArray[np.int64]]
"""Classes (discs,) by head, −1 where unknown."""


def served(heads: Heads, temperatures: Mapping[str, float] | None = None) -> dict[str, NDArray[np.float64]]:
    """What is answered: each head with its temperature, severity and Pfirrmann made to agree."""
    warm = {
        name: tempered(torch.from_numpy(np.asarray(values)), (temperatures or {}).get(name, 1.0))
        for name, values in heads.items()
    }
    severity, pfirrmann = agree(warm["severity"], warm["pfirrmann"])
    return {name: value.numpy() for name, value in (warm | {"severity": severity, "pfirrmann": pfirrmann}).items()}


def fit_temperatures(heads: Heads, truth: Truth) -> dict[str, float]:
    """Temperatures under which the truth is likeliest; of severity and Pfirrmann together, as they are served.

    Args:
        heads: Of patients that no network was trained on.
        truth: Of the same discs.
    """
    pair = {name: heads[name] for name in BOTH}

    def unlikely(logarithms: NDArray[np.float64]) -> float:
        bounded = np.clip(logarithms, *_RANGE)
        answers = served(pair, dict(zip(BOTH, np.exp(bounded).tolist(), strict=True)))
        return sum(_surprise(answers[name], truth[name]) for name in BOTH)

    start = np.array([[0.0, 0.0], [0.5, 0.0], [0.0, 0.5]])
    options = {"initial_simplex": start, "xatol": 0.005, "fatol": 1e-6}
    found = minimize(unlikely, start[0], method="Nelder-Mead", options=options)
    best = np.exp(np.clip(found.x, *_RANGE)).tolist()
    temperatures = {name: round(float(value), 3) for name, value in zip(BOTH, best, strict=True)}
    for name in (name for name in heads if name not in BOTH):
        known = (truth[name] >= 0) & ~np.isnan(heads[name][:, 0])
        if len(np.unique(truth[name][known])) == 2:
            temperatures[name] = _alone(heads[name][known], truth[name][known])
    return temperatures


def _alone(probability: NDArray[np.float64], truth: NDArray[np.int64]) -> float:
    rows = torch.from_numpy(probability)

    def unlikely(logarithm: float) -> float:
        return _surprise(tempered(rows, float(np.exp(logarithm))).numpy(), truth)

    return round(float(np.exp(minimize_scalar(unlikely, bounds=_RANGE, method="bounded").x)), 3)


def _surprise(probability: NDArray[np.float64], truth: NDArray[np.int64]) -> float:
    known = np.flatnonzero(truth >= 0)
    return float(-np.log(np.maximum(probability[known, truth[known]], 1e-9)).mean())


def groups_of(patients: Sequence[str], groups: Sequence[str]) -> list[str]:
    """Groups for cross-fitting: a disc's temperature comes from discs of other groups' patients.

    Args:
        patients: Of each disc.
        groups: Fold of each disc; where all are of one fold, its patients are dealt into five.
    """
    if len(set(groups)) > 1:
        return list(groups)
    names = sorted(set(patients))
    dealt = {name: str(index % _GROUPS) for index, name in enumerate(names)}
    return [dealt[patient] for patient in patients]
