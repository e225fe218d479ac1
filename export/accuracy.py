"""Whether a lower precision is as good as FP32: against experts' masks and gradings, not only against the network.

An engine may differ from its network and be no worse; one that is worse must not be served. Both precisions answer for
the same held-out patients, so that what is compared is their difference, which is far less uncertain than each figure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from export.errors import ParityLost
from export.models import GRADING, SEGMENTATION
from export.samples import Runner, discs_feed, find_discs
from preprocess.grid import to_grid
from training.data import Spider2d, split_patients
from training.evaluation.bootstrap import Bootstrap
from training.evaluation.classification import confusion, rates
from training.grading import HEADS, pair_discs, targets_of
from training.metrics import dice
from training.segmentation import discs_on_source

__all__ = ["LIMITS", "Accuracy", "Answers", "Figures", "Limits", "answers_of", "compare", "require_accuracy"]

_SEVERITY, _PFIRRMANN = (tensor.name for tensor in GRADING.outputs)
_CLASSES = {_SEVERITY: 3, _PFIRRMANN: 5}
_HEADS = {_SEVERITY: "severity", _PFIRRMANN: "pfirrmann"}


@dataclass(frozen=True)
class Limits:
    """What a lower precision may lose; beyond it the export fails.

    Attributes:
        dice: Of the discs against the masks, mean over patients.
        accuracy: Share of discs whose severity is that of the gradings.
        kappa: Quadratic κ of the Pfirrmann grades.
        flips: Share of graded discs whose severity is not that of FP32.
        found: Share of graded discs that only one of both finds.
    """

    dice: float
    accuracy: float
    kappa: float
    flips: float
    found: float


LIMITS = Limits(dice=0.003, accuracy=0.01, kappa=0.01, flips=0.02, found=0.03)
"""docs/decisions/0046-int8-on-cpus.md says how they were chosen."""


@dataclass(frozen=True)
class Figures:
    """How good one precision is on the held-out patients.

    Attributes:
        dice: Of the discs against the masks, as served, mean over patients.
        accuracy: Of the severity.
        kappa: Quadratic, of the Pfirrmann grades.
        discs: That were found and graded by readers.
    """

    dice: float
    accuracy: float
    kappa: float
    discs: int


@dataclass(frozen=True)
class Accuracy:
    """A lower precision beside FP32 on the same patients.

    Attributes:
        patients: Held out from training and from calibration.
        fp32: The network's figures.
        lower: The same of the lower precision.
        both: Graded discs that both find.
        severity_flips: Of these, discs whose severity differs.
        pfirrmann_flips: Of these, discs whose Pfirrmann grade differs.
        only_one: Graded discs that only one of both finds.
    """

    patients: int
    fp32: Figures
    lower: Figures
    both: int
    severity_flips: int
    pfirrmann_flips: int
    only_one: int

    def failures(self) -> list[str]:
        """What lies beyond the limits, in sentences; empty where the lower precision may be served."""
        checks = [
            (self.fp32.dice - self.lower.dice, LIMITS.dice, "disc Dice against the masks falls"),
            (self.fp32.accuracy - self.lower.accuracy, LIMITS.accuracy, "accuracy of the severity falls"),
            (self.fp32.kappa - self.lower.kappa, LIMITS.kappa, "κ of the Pfirrmann grades falls"),
            (self.severity_flips / max(1, self.both), LIMITS.flips, "share of severities that differ from FP32 is"),
            (self.only_one / max(1, self.both), LIMITS.found, "share of discs that only one precision finds is"),
        ]
        return [f"{what} {value:.4f}, more than {limit}" for value, limit, what in checks if not value <= limit]

    def as_json(self) -> dict[str, Any]:
        """For ``release.json``."""
        return {**asdict(self), "limits": asdict(LIMITS), "failures": self.failures()}


@dataclass(frozen=True)
class Answers:
    """What a segmenter and a grader answer for held-out patients.

    Attributes:
        dice: By patient, of the discs as served against each masked series.
        grades: By series and position from the bottom (1 = L5/S1), output index by output name, most probable first.
    """

    dice: Mapping[str, Sequence[float]]
    grades: Mapping[tuple[str, int], Mapping[str, int]]


def answers_of(data: Path, networks: Mapping[str, Runner]) -> Answers:
    """Let networks answer for every series of the patients that nothing was trained on or calibrated with.

    Args:
        data: Folder of spider2d.
        networks: By model name.
    """
    index = Spider2d(data)
    _, held_out = split_patients(index)
    overlaps: dict[str, list[float]] = {}
    grades: dict[tuple[str, int], dict[str, int]] = {}
    for series in (one for one in index.series if one.patient in held_out):
        grid = to_grid(series.volume())
        answer = networks[SEGMENTATION.name]({"IMAGE": grid.pixels[:, None]})
        found = find_discs(grid, answer)
        if series.masked:
            served = discs_on_source(grid, found, answer["DISC_PROBABILITY"]) > 0
            overlaps.setdefault(series.patient, []).append(dice(served, series.labels() == 1))
        if found is None:
            continue
        graded = index.gradings.get(series.patient, {})
        pairs = {at: place for at, place in pair_discs(found, graded).items() if graded[at].pfirrmann is not None}
        if pairs:
            probabilities = networks[GRADING.name](discs_feed(found))
            for position, place in pairs.items():
                grades[series.name, position] = {name: int(probabilities[name][place].argmax()) for name in _CLASSES}
    return Answers(overlaps, grades)


def compare(data: Path, fp32: Answers, lower: Answers) -> Accuracy:
    """Put the answers of a lower precision beside those of FP32.

    Args:
        data: Folder of spider2d, for the gradings.
        fp32: From :func:`answers_of`.
        lower: The same.
    """
    both = fp32.grades.keys() & lower.grades.keys()

    def flips(name: str) -> int:
        return sum(fp32.grades[disc][name] != lower.grades[disc][name] for disc in both)

    index = Spider2d(data)
    return Accuracy(
        patients=len(split_patients(index)[1]),
        fp32=_figures(index, fp32),
        lower=_figures(index, lower),
        both=len(both),
        severity_flips=flips(_SEVERITY),
        pfirrmann_flips=flips(_PFIRRMANN),
        only_one=len(fp32.grades.keys() ^ lower.grades.keys()),
    )


def require_accuracy(accuracy: Accuracy) -> None:
    """Refuse a lower precision that is worse.

    Raises:
        ParityLost: Says which limits were passed.
    """
    if failures := accuracy.failures():
        raise ParityLost(f"The lower precision is worse than FP32: {'; '.join(failures)}.")


def _figures(index: Spider2d, answers: Answers) -> Figures:
    patient_of = {series.name: series.patient for series in index.series}
    discs = sorted(answers.grades)
    sample = Bootstrap([patient_of[name] for name, _ in discs])
    rated = {}
    for name, classes in _CLASSES.items():
        head = HEADS.index(_HEADS[name])
        truth = [targets_of(index.gradings[patient_of[series]][position])[head] for series, position in discs]
        answer = [answers.grades[disc][name] for disc in discs]
        rated[name] = rates(sample, confusion(sample, np.array(truth), np.array(answer), classes))
    return Figures(
        dice=float(np.mean([np.mean(values) for values in answers.dice.values()])),
        accuracy=rated[_SEVERITY]["accuracy"].value or 0.0,
        kappa=rated[_PFIRRMANN]["quadratic_kappa"].value or 0.0,
        discs=len(discs),
    )
