"""Train and judge both networks with every patient held out once; goes on where it was interrupted."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from training.config import GradingConfig, SegmentationConfig
from training.data import DataSet, folds
from training.device import Compute, Device
from training.evaluation.predict import predict
from training.evaluation.rows import SeriesRow, read_rows, write_rows
from training.grading import read_checkpoint, train_grading
from training.runs import record
from training.segmentation import segmenter, train_segmentation

__all__ = ["PREDICTIONS", "cross_validate", "learning_curve", "train_and_judge"]

PREDICTIONS = "predictions.json.gz"


def train_and_judge(
    data: DataSet,
    training: set[str],
    validation: set[str],
    test: set[str],
    run: Path,
    settings: tuple[SegmentationConfig, GradingConfig],
    device: Device,
) -> list[SeriesRow]:
    """Train both networks in a folder, and write down their answers for the test patients.

    Args:
        data: The data set.
        training: Patients to learn from.
        validation: Patients whose figures are recorded while the segmenter trains, and stop it if it is to be stopped.
        test: Patients to judge.
        run: The folder; what it holds already is not done again.
        settings: Of the segmenter and of the graders.
        device: Where to compute.
    """
    kept = run / PREDICTIONS
    record(run, "segmentation", settings[0], training)
    record(run, "grading", settings[1], training)
    if not kept.is_file():
        segmentation = train_segmentation(data, training, validation, run, settings[0], device)
        graders = train_grading(data, training, segmentation, run, settings[1], device)
        segment = segmenter(segmentation, Compute.choose(device).device)
        answers = predict(data, test, segment, read_checkpoint(graders), match=settings[1].match, group=run.name)
        write_rows(answers, kept)
    return read_rows(kept)


def cross_validate(
    data: DataSet,
    run: Path,
    settings: tuple[SegmentationConfig, GradingConfig],
    count: int = 5,
    seed: int = 2026,
    device: Device = Device.AUTO,
) -> list[SeriesRow]:
    """Hold every patient out once.

    Nothing is chosen on the patients held out: temperatures come from the other folds, and a stage with patience is
    stopped by an eighth of the training patients, from whom then nothing is learned.

    Args:
        data: The data set.
        run: Folder; each fold has one in it, and ``predictions.json.gz`` holds all answers in the end.
        settings: Of the segmenter and of the graders.
        count: Folds.
        seed: Of the split.
        device: Where to compute.

    Returns:
        Answers for every patient, from networks that never saw them.
    """
    rows: list[SeriesRow] = []
    for number, held_out in enumerate(folds(data, count, seed=seed)):
        Console(stderr=True, highlight=False).print(f"Fold {number} of {count}: {len(held_out)} patients held out")
        training, validation = _roles(data, settings[0], held_out, seed)
        rows += train_and_judge(data, training, validation, held_out, run / f"fold{number}", settings, device)
    write_rows(rows, run / PREDICTIONS)
    return rows


def _roles(data: DataSet, config: SegmentationConfig, held_out: set[str], seed: int) -> tuple[set[str], set[str]]:
    """Whom to learn from, and whose Dice to record: that of those held out only where it decides nothing."""
    training = set(data.patients) - held_out
    if not any(stage.patience for stage in config.stages):
        return training, held_out
    validation = set(random.Random(seed).sample(sorted(training), max(1, len(training) // 8)))
    return training - validation, validation


def learning_curve(
    data: DataSet,
    run: Path,
    settings: tuple[SegmentationConfig, GradingConfig],
    shares: Sequence[float],
    count: int = 5,
    seed: int = 2026,
    device: Device = Device.AUTO,
) -> dict[float, list[SeriesRow]]:
    """How gradings get better with patients: graders trained on shares of each fold's patients.

    The segmenters are those of :func:`cross_validate`, whose folder this is. Shares are nested: a larger one holds the
    patients of a smaller one.

    Returns:
        Answers for every patient by share, 1 included.
    """
    curve: dict[float, list[SeriesRow]] = {1.0: cross_validate(data, run, settings, count, seed, device)}
    for share in sorted(set(shares) - {1.0}):
        rows: list[SeriesRow] = []
        for number, held_out in enumerate(folds(data, count, seed=seed)):
            folder = run / f"fold{number}" / f"share{round(100 * share)}"
            if not (folder / PREDICTIONS).is_file():
                training = sorted(_roles(data, settings[0], held_out, seed)[0])
                shown = random.Random(seed).sample(training, len(training))[: max(1, round(share * len(training)))]
                segmentation = run / f"fold{number}" / settings[0].stages[-1].name / "checkpoint.pt"
                graders = train_grading(data, shown, segmentation, folder, settings[1], device)
                segment = segmenter(segmentation, Compute.choose(device).device)
                answers = predict(
                    data, held_out, segment, read_checkpoint(graders), match=settings[1].match, group=f"fold{number}"
                )
                write_rows(answers, folder / PREDICTIONS)
            rows += read_rows(folder / PREDICTIONS)
        curve[share] = rows
        write_rows(rows, run / f"share{round(100 * share)}.json.gz")
    return dict(sorted(curve.items()))
