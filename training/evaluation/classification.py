"""Figures of gradings: everything from one table of truth against answer, with intervals by patient."""

from __future__ import annotations

from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from training.evaluation.bootstrap import Array, Bootstrap, Figure

__all__ = [
    "auc",
    "confusion",
    "expected_calibration_error",
    "pairwise_auc",
    "rates",
    "reliability",
    "shared_by_patient",
]

_BINS = 10


def confusion(sample: Bootstrap, truth: NDArray[np.int64], answer: NDArray[np.int64], classes: int) -> Array:
    """Tables (1 + DRAWS, classes, classes) of truth (rows) against answer (columns)."""
    cells = np.zeros((len(truth), classes, classes))
    cells[np.arange(len(truth)), truth, answer] = 1
    return sample.sums(cells)


def rates(sample: Bootstrap, table: Array) -> dict[str, Figure]:
    """Figures of a table of :func:`confusion`.

    Returns:
        ``accuracy``; ``sensitivity``, ``specificity`` and ``f1`` as means over the classes that occur; ``within_one``
        (share at most one class off); ``quadratic_kappa`` (Cohen, Psychological Bulletin 70:213, 1968).
    """
    total = table.sum((1, 2))
    hits = np.diagonal(table, axis1=1, axis2=2)
    true, answered = table.sum(2), table.sum(1)
    classes = table.shape[1]
    apart = np.abs(np.arange(classes)[:, None] - np.arange(classes)[None, :])
    with np.errstate(invalid="ignore", divide="ignore"):
        occurs = true > 0
        sensitivity = np.where(occurs, hits / true, np.nan)
        negatives = total[:, None] - true
        rejected = negatives - (answered - hits)
        specificity = np.where(occurs & (negatives > 0), rejected / negatives, np.nan)
        f1 = np.where(occurs, 2 * hits / (true + answered), np.nan)
        chance = true[:, :, None] * answered[:, None, :] / total[:, None, None]
        weighted = apart**2
        kappa = 1 - (table * weighted).sum((1, 2)) / (chance * weighted).sum((1, 2))
        figures = {
            "accuracy": hits.sum(1) / total,
            "sensitivity": _mean_of_classes(sensitivity),
            "specificity": _mean_of_classes(specificity),
            "f1": _mean_of_classes(f1),
            "within_one": (table * (apart <= 1)).sum((1, 2)) / total,
            "quadratic_kappa": kappa,
        }
    return {name: sample.figure(values) for name, values in figures.items()}


def _mean_of_classes(values: Array) -> Array:
    known = ~np.isnan(values)
    mean: Array = np.where(known, values, 0).sum(1) / known.sum(1)
    return mean


def auc(sample: Bootstrap, score: Array, positive: NDArray[np.bool_], among: NDArray[np.bool_] | None = None) -> Figure:
    """Area under the ROC curve (Hanley & McNeil, Radiology 143:29, 1982), ties counting one half.

    Args:
        sample: Draws of the patients.
        score: Higher is more likely positive, (rows,).
        positive: (rows,).
        among: Rows that count; all by default.
    """
    counts = np.ones(len(score), bool) if among is None else among
    up, down = np.flatnonzero(counts & positive), np.flatnonzero(counts & ~positive)
    above = (score[up][:, None] > score[down][None, :]) + 0.5 * (score[up][:, None] == score[down][None, :])
    pairs = np.zeros((sample.count, sample.count))
    np.add.at(pairs, (sample.index[up][:, None], sample.index[down][None, :]), above)
    won = ((sample.weights @ pairs) * sample.weights).sum(1)
    each = [sample.weights @ np.bincount(sample.index[rows], minlength=sample.count) for rows in (up, down)]
    with np.errstate(invalid="ignore", divide="ignore"):
        return sample.figure(won / (each[0] * each[1]))


def pairwise_auc(
    sample: Bootstrap, probability: Array, truth: NDArray[np.int64], names: tuple[str, ...]
) -> dict[str, Figure]:
    """AUC of each two classes among discs of these two, by the share of the worse class in their probability."""
    figures = {}
    for better, worse in combinations(range(len(names)), 2):
        both = probability[:, better] + probability[:, worse]
        score = probability[:, worse] / np.maximum(both, 1e-9)
        among = (truth == better) | (truth == worse)
        figures[f"{names[better]}/{names[worse]}"] = auc(sample, score, truth == worse, among)
    return figures


def reliability(probability: Array, truth: NDArray[np.int64]) -> tuple[Array, Array, Array]:
    """How often answers of a certain confidence are right, in ten bins of confidence.

    Returns:
        For each bin the number of discs, their mean confidence and the share that is right; NaN where it is empty.
    """
    confidence, right = probability.max(1), probability.argmax(1) == truth
    bins = np.minimum((confidence * _BINS).astype(int), _BINS - 1)
    count = np.bincount(bins, minlength=_BINS).astype(float)
    with np.errstate(invalid="ignore"):
        return (
            count,
            np.bincount(bins, weights=confidence, minlength=_BINS) / count,
            np.bincount(bins, weights=right.astype(float), minlength=_BINS) / count,
        )


def expected_calibration_error(sample: Bootstrap, probability: Array, truth: NDArray[np.int64]) -> Figure:
    """Mean gap between confidence and share of right answers over ten bins (Guo et al., ICML 2017)."""
    confidence, right = probability.max(1), probability.argmax(1) == truth
    bins = np.minimum((confidence * _BINS).astype(int), _BINS - 1)
    gaps = np.zeros((len(truth), _BINS))
    gaps[np.arange(len(truth)), bins] = confidence - right
    rows = sample.sums(np.ones(len(truth)))
    return sample.figure(np.abs(sample.sums(gaps)).sum(1) / rows)


def shared_by_patient(sample: Bootstrap, differences: NDArray[np.float64]) -> Figure:
    """Share of the variance of differences that all rows of a patient have in common.

    The intraclass correlation ICC(1) of a one-way analysis of variance with random effects, for groups of unequal size
    (Donner, Int Stat Rev 54:67, 1986); 0 where patients differ by no more than chance.

    Args:
        sample: Of the rows' patients.
        differences: One a row.
    """
    sizes = np.bincount(sample.index)
    size, mean = sizes[sample.index], (np.bincount(sample.index, differences) / sizes)[sample.index]
    terms = [np.ones(len(differences)), size, differences, mean**2, (differences - mean) ** 2]
    rows, of_sizes, total, of_means, scatter = sample.sums(np.stack(terms, axis=1)).T
    patients = sample.weights.sum(1)
    with np.errstate(invalid="ignore", divide="ignore"):
        between = (of_means - total**2 / rows) / (patients - 1)
        within = scatter / (rows - patients)
        typical = (rows - of_sizes / rows) / (patients - 1)
        shared = np.maximum((between - within) / typical, 0.0)
        return sample.figure(shared / (shared + within))
