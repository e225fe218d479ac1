"""The reference study's protocol: 300, 72 and 94 discs, its measures, several seeds; ours beside theirs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel
from rich.console import Console
from scipy.stats import t

from training.config import GradingConfig, SegmentationConfig
from training.data import DataSet, Grading, reference_split
from training.device import Device
from training.evaluation.cross_validation import train_and_judge
from training.evaluation.figures import evaluate
from training.evaluation.rows import SeriesRow, write_rows
from training.evaluation.summary import Figures

__all__ = ["REFERENCE", "Comparison", "compare", "once", "run_protocol"]

REFERENCE = {
    "disc Dice": 0.920,
    "disc IoU": 0.853,
    "accuracy": 0.913,
    "sensitivity": 0.916,
    "specificity": 0.912,
    "F1": None,
    "AUC mild/moderate": 0.89,
    "AUC mild/severe": 0.95,
    "AUC moderate/severe": 0.90,
}
"""What the reference study reports of its 94 test discs; it gives no F1."""


class Comparison(BaseModel):
    """One measure of the protocol.

    Attributes:
        theirs: The reference study's.
        ours: Mean over seeds.
        low: Lower end of the mean's 95 % interval (Student's t over seeds), no less than 0; None with one seed.
        high: Upper end, no more than 1.
        seeds: Ours by seed.
    """

    theirs: float | None
    ours: float | None
    low: float | None
    high: float | None
    seeds: list[float | None]


def run_protocol(
    data: DataSet,
    run: Path,
    settings: tuple[SegmentationConfig, GradingConfig],
    seeds: Sequence[int],
    device: Device = Device.AUTO,
) -> dict[int, list[SeriesRow]]:
    """Draw, train and judge once a seed; goes on where it was interrupted.

    The networks of a seed learn from the training discs alone (shown on every series of their patients), temperatures
    come from the validation discs. A test disc is judged once, on ordinary T2 where it was paired there.

    Returns:
        Answers for the validation and test patients, by seed.
    """
    answers = {}
    for seed in seeds:
        split = reference_split(data, seed)
        parts = (split.training, split.validation, split.test)
        Console(stderr=True, highlight=False).print(f"Seed {seed}: {len(split.test)} test patients")
        training, validation, test = (set(part) for part in parts)
        drawn = _Drawn(data, {patient: discs for part in parts for patient, discs in part.items()})
        rows = train_and_judge(drawn, training, validation, validation | test, run / f"seed{seed}", settings, device)
        answers[seed] = [
            row.model_copy(update={"group": "test" if row.patient in test else "validation"}) for row in rows
        ]
    for seed, rows in answers.items():
        write_rows(rows, run / f"seed{seed}.json.gz")
    return answers


class _Drawn:
    """A data set of some discs: those of other patients are not there, other discs of theirs were not graded.

    They are still counted, for discs are paired with gradings by counting.
    """

    def __init__(self, data: DataSet, discs: Mapping[str, frozenset[int]]) -> None:
        self.root = data.root
        self.series = [series for series in data.series if series.patient in discs]
        self.masked = [series for series in data.masked if series.patient in discs]
        self.patients = sorted(discs)
        self.gradings = {
            patient: {
                number: grading if number in discs[patient] else Grading(None, {})
                for number, grading in data.gradings[patient].items()
            }
            for patient in discs
        }
        self.acquisition = data.acquisition
        self.outlined = data.outlined


def once(rows: Sequence[SeriesRow]) -> list[SeriesRow]:
    """The rows with each graded disc on one series only: ordinary T2 where it was paired there."""
    kept: list[SeriesRow] = []
    seen: set[tuple[str, int]] = set()
    for row in sorted(rows, key=lambda one: (one.sequence != "t2", one.overlap is not None)):
        graded = [disc for disc in row.discs if disc.truth and (row.patient, disc.position) not in seen]
        seen |= {(row.patient, disc.position) for disc in graded}
        kept.append(row.model_copy(update={"discs": graded}))
    return kept


def compare(answers: Mapping[int, Sequence[SeriesRow]]) -> dict[str, Comparison]:
    """Our figures beside the reference study's."""
    each = []
    for rows in answers.values():
        parts = {group: once([row for row in rows if row.group == group]) for group in ("validation", "test")}
        each.append(_measures(evaluate(parts["test"], parts["validation"])))
    return {name: _comparison(theirs, [one[name] for one in each]) for name, theirs in REFERENCE.items()}


def _measures(figures: Figures) -> dict[str, float | None]:
    grading, masks = figures.grading.get("all"), figures.segmentation.get("all")
    measures: dict[str, float | None] = dict.fromkeys(REFERENCE)
    if masks is not None:
        measures |= {"disc Dice": masks.dice.value, "disc IoU": masks.iou.value}
    if grading is not None:
        names = {"accuracy": "accuracy", "sensitivity": "sensitivity", "specificity": "specificity", "F1": "f1"}
        measures |= {shown: grading.severity[name].value for shown, name in names.items()}
        measures |= {f"AUC {pair}": figure.value for pair, figure in grading.severity_auc.items()}
    return measures


def _comparison(theirs: float | None, seeds: list[float | None]) -> Comparison:
    values = np.array([value for value in seeds if value is not None])
    if not len(values):
        return Comparison(theirs=theirs, ours=None, low=None, high=None, seeds=seeds)
    mean = float(values.mean())
    half = _student_half_width(values) if len(values) > 1 else None
    return Comparison(
        theirs=theirs,
        ours=round(mean, 4),
        low=None if half is None else round(max(mean - half, 0.0), 4),
        high=None if half is None else round(min(mean + half, 1.0), 4),
        seeds=seeds,
    )


def _student_half_width(values: NDArray[np.float64]) -> float:
    return float(t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / len(values) ** 0.5)
