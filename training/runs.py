"""What a folder of a training run holds, and whom the run may see.

::

    RUN/
    ├── segmentation.json, grading.json   settings and split, of the last command on this folder
    ├── segmentation/ adaptation/ …       one folder a stage of the segmenter: checkpoint.pt
    ├── grading/                          discs.npz, member1.pt …, checkpoint.pt
    └── figures.json                      what `discgrade evaluate` measured
"""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from discgrade.errors import InvalidRequest
from training.config import GradingConfig, SegmentationConfig
from training.data import DataSet, folds, split_patients

__all__ = ["GRADERS", "Patients", "grader_checkpoint", "record", "segmenter_checkpoint", "select_patients"]

GRADERS = "grading/checkpoint.pt"
_LAST_STAGE = "sharpening/checkpoint.pt"


@dataclass(frozen=True)
class Patients:
    """Whom a run learns from and whom it is judged on, disjoint.

    Attributes:
        training: Learned from.
        held_out: Never learned from.
    """

    training: frozenset[str]
    held_out: frozenset[str]


def select_patients(
    data: DataSet, seed: int = 2026, count: int = 5, fold: int = 0, *, everyone: bool = False
) -> Patients:
    """Choose patients: all but one fold, or all.

    Args:
        data: The data set.
        seed: Of the split.
        count: Of folds.
        fold: Held out, 0 … ``count`` − 1.
        everyone: Learn from all; nobody is left to be judged on.

    Raises:
        InvalidRequest: There is no such fold.
    """
    if everyone:
        return Patients(frozenset(data.patients), frozenset())
    if not 0 <= fold < count:
        raise InvalidRequest(f"There is no fold {fold} of {count}.", f"Give --fold 0 to {count - 1}.")
    masked = {series.patient for series in data.masked}
    if fold == 0 and count > len(masked):  # a small site: a share of all is held out, whoever has masks
        held_out = split_patients(data, seed=seed, share=1 / count)[1]
    else:
        held_out = folds(data, count, seed=seed)[fold]
    return Patients(frozenset(set(data.patients) - held_out), frozenset(held_out))


def segmenter_checkpoint(run: Path) -> Path:
    """The checkpoint of a run's segmenter: that of the last stage.

    Raises:
        InvalidRequest: There is none.
    """
    settings = run / "segmentation.json"
    if settings.is_file():
        stages = json.loads(settings.read_text())["settings"]["stages"]
        last = run / str(stages[-1]["name"]) / "checkpoint.pt"
    else:
        others = [path for path in sorted(run.glob("*/checkpoint.pt")) if path != run / GRADERS]
        last = others[0] if len(others) == 1 else run / _LAST_STAGE
    if not last.is_file():
        raise InvalidRequest(
            f"The run {run.name} holds no {last.relative_to(run)}.", "Run discgrade train segmentation first."
        )
    return last


def grader_checkpoint(run: Path) -> Path:
    """The checkpoint of a run's graders.

    Raises:
        InvalidRequest: There is none.
    """
    if not (run / GRADERS).is_file():
        raise InvalidRequest(f"The run {run.name} holds no {GRADERS}.", "Run discgrade train grading first.")
    return run / GRADERS


def record(run: Path, network: str, config: SegmentationConfig | GradingConfig, training: Collection[str]) -> None:
    """Write down what a run was started with, before it starts.

    Raises:
        InvalidRequest: The folder holds a run of this network on other patients.
    """
    path = run / f"{network}.json"
    patients = sorted(training)
    if path.is_file() and json.loads(path.read_text())["training_patients"] != patients:
        raise InvalidRequest(f"The folder {run.name} holds a run on other patients.", "Give another --run.")
    run.mkdir(parents=True, exist_ok=True)
    content = {"settings": config.model_dump(mode="json"), "training_patients": patients}
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(content, indent=2) + "\n")
    partial.replace(path)
