"""A lower precision is judged by masks and gradings, and refused where it is worse."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from export.accuracy import LIMITS, Accuracy, Answers, Figures, compare, require_accuracy
from export.errors import ParityLost
from training.data import Spider2d, split_patients
from training.grading import SEVERITY_OF_GRADE

GOOD = Figures(dice=0.9, accuracy=0.8, kappa=0.85, discs=200)
EQUAL = Accuracy(patients=30, fp32=GOOD, lower=GOOD, both=200, severity_flips=0, pfirrmann_flips=0, only_one=0)


def test_what_is_as_good_may_be_served() -> None:
    require_accuracy(EQUAL)
    better = dataclasses.replace(GOOD, dice=0.95, accuracy=0.9, kappa=0.9)
    require_accuracy(dataclasses.replace(EQUAL, lower=better, severity_flips=int(200 * LIMITS.flips)))


@pytest.mark.parametrize(
    ("worse", "said"),
    [
        ({"lower": dataclasses.replace(GOOD, dice=0.89)}, "disc Dice against the masks falls 0.0100"),
        ({"lower": dataclasses.replace(GOOD, accuracy=0.78)}, "accuracy of the severity falls 0.0200"),
        ({"lower": dataclasses.replace(GOOD, kappa=0.83)}, "κ of the Pfirrmann grades falls 0.0200"),
        ({"lower": dataclasses.replace(GOOD, kappa=float("nan"))}, "κ of the Pfirrmann grades falls nan"),
        ({"severity_flips": 6}, "share of severities that differ from FP32 is 0.0300"),
        ({"only_one": 8}, "share of discs that only one precision finds is 0.0400"),
    ],
    ids=["dice", "accuracy", "kappa", "undefined", "flips", "found"],
)
def test_what_is_worse_is_refused(worse: Mapping[str, Any], said: str) -> None:
    with pytest.raises(ParityLost, match=said):
        require_accuracy(dataclasses.replace(EQUAL, **worse))


def test_answers_are_held_against_the_gradings(spider2d: Path) -> None:
    """The readers' own grades are right; one disc graded otherwise is a flip, and one that is not found is counted."""
    index = Spider2d(spider2d)
    _, held_out = split_patients(index)
    right = {}
    for series in index.series:
        for position, grading in index.gradings.get(series.patient, {}).items():
            if series.patient in held_out and grading.pfirrmann is not None:
                grade = grading.pfirrmann - 1
                right[series.name, position] = {
                    "SEVERITY_PROBABILITIES": int(SEVERITY_OF_GRADE[grade]),
                    "PFIRRMANN_PROBABILITIES": grade,
                }
    first, second, *_ = sorted(right)
    other: dict[tuple[str, int], Mapping[str, int]] = {**right}
    other[first] = {name: (value + 2) % 3 for name, value in right[first].items()}
    del other[second]
    masks = {"one": [0.9, 0.8], "other": [0.95]}
    accuracy = compare(spider2d, Answers(masks, right), Answers({**masks, "other": [0.85]}, other))
    assert accuracy.patients == len(held_out)
    assert (accuracy.fp32.accuracy, accuracy.fp32.kappa) == (1, 1)
    assert accuracy.fp32.dice == pytest.approx(0.9)
    assert accuracy.lower.dice == pytest.approx(0.85)
    assert accuracy.lower.accuracy == pytest.approx(1 - 1 / (len(right) - 1), abs=1e-4)
    assert accuracy.lower.kappa < 1
    assert (accuracy.severity_flips, accuracy.pfirrmann_flips, accuracy.only_one) == (1, 1, 1)
    assert (accuracy.both, accuracy.lower.discs) == (len(right) - 1, len(right) - 1)
