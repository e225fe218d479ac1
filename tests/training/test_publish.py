from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from discgrade.errors import InvalidRequest
from export.checkpoints import load_trained
from tests.support.training import TINY_GRADING, TINY_SEGMENTATION, random_disc, stripes
from training.evaluation.rows import GradedDisc, SeriesRow, write_rows
from training.grading import SEVERITY_OF_GRADE, read_checkpoint, train_grader, write_checkpoint
from training.publish import publish
from training.runs import record
from training.segmentation import train_stage


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("run")
    stage = TINY_SEGMENTATION.stages[0].model_copy(update={"steps": 1})
    record(run, "segmentation", TINY_SEGMENTATION, {"1"})
    train_stage([stripes(0)], [], run / "segmentation", TINY_SEGMENTATION, stage)
    discs = [random_disc(grade, grade) for grade in range(5)]
    config = TINY_GRADING.model_copy(update={"epochs": 1})
    grader = train_grader(discs, config, run / "grading" / "member1.pt")
    write_checkpoint([grader], run / "grading" / "checkpoint.pt")
    record(run, "grading", config, {"1"})
    return run


def predictions(path: Path) -> Path:
    """Answers that are far too sure."""
    rng = np.random.default_rng(0)
    rows = []
    for number in range(60):
        grade, answer = int(rng.integers(0, 5)), int(rng.integers(0, 5))
        answer = grade if number % 2 else answer
        five = np.full(5, 0.005)
        five[answer] = 0.98
        three = [five[:2].sum(), five[2], five[3:].sum()]
        truth = {"severity": int(SEVERITY_OF_GRADE[grade]), "pfirrmann": grade}
        disc = GradedDisc(position=1, truth=truth, probabilities={"severity": three, "pfirrmann": five.tolist()})
        about = {"sequence": "t2", "slices": 1, "sex": "", "scanner": "", "field_strength": ""}
        rows.append(SeriesRow(patient=str(number), name=f"{number}_t2", discs=[disc], **about))  # type: ignore[arg-type]
    write_rows(rows, path)
    return path


def test_published_weights_are_served_with_their_temperatures(run: Path, tmp_path: Path) -> None:
    to = tmp_path / "weights"
    temperatures = publish(run, to, predictions(tmp_path / "predictions.json.gz"))
    assert temperatures["pfirrmann"] > 1.5
    assert read_checkpoint(to / "grading" / "checkpoint.pt").temperatures == temperatures
    whole = (run / "segmentation" / "checkpoint.pt").stat().st_size
    assert (to / "segmentation" / "checkpoint.pt").stat().st_size < whole / 2
    kept, made = (load_trained(folder).networks["disc_segmentation"].state_dict() for folder in (run, to))
    assert all(torch.equal(kept[name], made[name]) for name in kept)
    assert (to / "grading.json").read_text() == (run / "grading.json").read_text()
    with pytest.raises(InvalidRequest, match="holds weights already"):
        publish(run, to)


def test_a_run_without_graders_is_not_published(run: Path, tmp_path: Path) -> None:
    half = tmp_path / "half"
    shutil.copytree(run, half)
    (half / "grading" / "checkpoint.pt").unlink()
    with pytest.raises(InvalidRequest, match=r"holds no grading/checkpoint\.pt"):
        publish(half, tmp_path / "weights")
    write_rows([], tmp_path / "none.json.gz")
    with pytest.raises(InvalidRequest, match="no graded discs"):
        publish(run, tmp_path / "weights", tmp_path / "none.json.gz")


def test_a_run_on_other_patients_is_refused(run: Path) -> None:
    with pytest.raises(InvalidRequest, match="other patients"):
        record(run, "grading", TINY_GRADING, {"1", "2"})
