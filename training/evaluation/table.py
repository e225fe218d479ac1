"""Graded discs as arrays, and what they belong to."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from preprocess.levels import LEVEL_NAMES
from training.evaluation.calibration import fit_temperatures, groups_of, served
from training.evaluation.rows import GradedDisc, SeriesRow

__all__ = ["GROUPINGS", "ROW_GROUPINGS", "Discs", "discs_of"]

ROW_GROUPINGS: dict[str, Callable[[SeriesRow], str]] = {
    "sequence": lambda row: row.sequence,
    "scanner": lambda row: row.scanner,
    "field strength": lambda row: row.field_strength,
    "sex": lambda row: row.sex,
}
"""By what all figures are split up, and the group of a series; empty where it is unknown."""

GROUPINGS = (*ROW_GROUPINGS, "level")
"""By what figures of discs are split up."""


@dataclass
class Discs:
    """Graded discs.

    Attributes:
        patients: Of each disc.
        groups: The fold that held it out.
        rows: Its series.
        discs: As they were written down.
        truth: By head, int64 (N,), −1 unknown.
        heads: By head, float64 (N, classes), as the networks gave them; NaN where a network lacks the head.
        warm: By head, with temperatures of other folds (or of other patients), as they would be served.
        cold: By head, without temperatures, as they would be served.
    """

    patients: list[str]
    groups: list[str]
    rows: list[SeriesRow]
    discs: list[GradedDisc]
    truth: dict[str, NDArray[np.int64]]
    heads: dict[str, NDArray[np.float64]]
    cold: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    warm: dict[str, NDArray[np.float64]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.discs)

    def where(self, chosen: NDArray[np.bool_]) -> Discs:
        """Some of the discs, with the probabilities they have here."""
        kept = np.flatnonzero(chosen).tolist()
        return Discs(
            [self.patients[i] for i in kept],
            [self.groups[i] for i in kept],
            [self.rows[i] for i in kept],
            [self.discs[i] for i in kept],
            *(
                {name: values[kept] for name, values in part.items()}
                for part in (self.truth, self.heads, self.cold, self.warm)
            ),
        )

    def by(self, grouping: str) -> Iterable[tuple[str, Discs]]:
        """The discs split up by one of :data:`GROUPINGS`, without those of unknown group."""
        if grouping == "level":
            names = np.array([LEVEL_NAMES[disc.position - 1] for disc in self.discs])
        else:
            names = np.array([ROW_GROUPINGS[grouping](row) for row in self.rows])
        order = sorted(set(names.tolist()) - {""}, key=LEVEL_NAMES.index if grouping == "level" else None)
        for name in order:
            yield name, self.where(names == name)


def discs_of(rows: Sequence[SeriesRow], others: Sequence[SeriesRow] = ()) -> Discs:
    """The graded discs of rows, with probabilities before and after temperatures.

    Args:
        rows: To be judged.
        others: Of validation patients, to fit temperatures to; without them, the temperatures of a disc are fitted to
            the other folds, or to four fifths of the other patients.
    """
    pairs = [(row, disc) for row in rows for disc in row.discs if "pfirrmann" in disc.truth]
    names = sorted({name for _, disc in pairs for name in disc.probabilities})
    heads = {}
    for name in names:
        width = max(len(disc.probabilities.get(name, ())) for _, disc in pairs)
        empty = [float("nan")] * width
        heads[name] = np.array([disc.probabilities.get(name, empty) for _, disc in pairs], np.float64)
    truth = {name: np.array([disc.truth.get(name, -1) for _, disc in pairs], np.int64) for name in names}
    discs = Discs(
        [row.patient for row, _ in pairs],
        [row.group for row, _ in pairs],
        [row for row, _ in pairs],
        [disc for _, disc in pairs],
        truth,
        heads,
    )
    if pairs:
        discs.cold = served(heads)
        fitted = discs_of(others) if others else None
        if fitted:
            discs.warm = served(heads, fit_temperatures(fitted.heads, fitted.truth))
        else:
            discs.warm = _cross_fitted(discs)
    return discs


def _cross_fitted(discs: Discs) -> dict[str, NDArray[np.float64]]:
    groups = np.array(groups_of(discs.patients, discs.groups))
    warm = {name: values.copy() for name, values in discs.cold.items()}
    for group in sorted(set(groups.tolist())):
        own, others = groups == group, discs.where(groups != group)
        if not len(others):
            continue
        temperatures = fit_temperatures(others.heads, others.truth)
        for name, values in served({name: rows[own] for name, rows in discs.heads.items()}, temperatures).items():
            warm[name][own] = values
    return warm
