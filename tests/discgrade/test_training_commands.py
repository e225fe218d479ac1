"""``discgrade train`` and ``discgrade evaluate`` on phantoms, and what they say to those who lack something."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from discgrade.cli import app
from tests.support.spider import small_phantom, write_spider
from training.data import DataSet
from training.evaluation import cross_validation
from training.grading import read_checkpoint

WEIGHTS = Path(__file__).parents[2] / "training" / "weights"
SEGMENTATION = """
widths = [4, 4]
slices_per_series = 1
compiled = false
mixed_precision = false
[[stages]]
steps = 2
batch = 2
window = [64, 64]
checkpoint_every = 1
"""
GRADING = """
members = 1
epochs = 2
phantoms = 0
match = "level"
mixed_precision = false
[architecture]
width = 4
findings = ["modic", "bulging"]
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("spider")
    write_spider(root, [small_phantom(seed, slices=1) for seed in range(4)])
    return root


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("settings")
    (folder / "segmentation.toml").write_text(SEGMENTATION)
    (folder / "grading.toml").write_text(GRADING)
    return folder


def run(*arguments: str | Path) -> tuple[int, str, str]:
    done = CliRunner(env={"COLUMNS": "200"}).invoke(app, [str(argument) for argument in arguments])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.stdout, done.stderr


def test_train_both_networks_and_judge_them(data: Path, settings: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    options = ("--run", out, "--data", data, "--folds", "2", "--device", "cpu")
    command = ("train", "segmentation", *options, "--config", settings / "segmentation.toml")
    code, stdout, _ = run(*command)
    assert code == 0
    assert f"{out}/segmentation/checkpoint.pt" in stdout
    kept = (out / "segmentation" / "checkpoint.pt").read_bytes()
    assert run(*command)[0] == 0
    assert (out / "segmentation" / "checkpoint.pt").read_bytes() == kept  # it had ended

    # Two steps teach no disc: the graders' discs come from the committed segmenter.
    more = ("--config", settings / "grading.toml", "--segmenter", WEIGHTS)
    code, stdout, stderr = run("train", "grading", *options, *more)
    assert code == 0, stderr
    assert "discs to learn from" in stderr
    grader = read_checkpoint(out / "grading" / "checkpoint.pt")
    assert grader.form.width == 4

    shutil.rmtree(out / "segmentation")
    (out / "segmentation.json").unlink()
    shutil.copytree(WEIGHTS / "sharpening", out / "sharpening")
    code, stdout, stderr = run("evaluate", out, "--data", data, "--match", "level")
    assert code == 0, stderr
    assert "disc Dice, all" in stdout
    held_out = set(json.loads((out / "grading.json").read_text())["training_patients"])
    assert len(held_out) == 2


def served(data: DataSet, training: object, validation: object, run: Path, *_: object) -> Path:
    """In place of an hour of training: the committed segmenter."""
    folder = run / "segmentation"
    folder.mkdir(parents=True, exist_ok=True)
    state = torch.load(WEIGHTS / "sharpening" / "checkpoint.pt", weights_only=True)
    history = [{"step": 100, "loss": 1.0, "validation": {"disc_dice": 0.9}}]
    torch.save(state | {"history": history}, folder / "checkpoint.pt")
    return folder / "checkpoint.pt"


def test_folds_are_recorded_and_the_report_is_made_of_them(
    data: Path, settings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cross_validation, "train_segmentation", served)
    weights, report = tmp_path / "weights", tmp_path / "report"
    shutil.copytree(WEIGHTS, weights)
    (weights / "grading.json").write_text('{"training_patients": ["1", "2"]}')
    options = ("--segmentation-config", settings / "segmentation.toml", "--grading-config", settings / "grading.toml")
    command = ("evaluate", tmp_path / "cv", "--data", data, "--folds", "2", "--learning-curve", *options)
    code, stdout, stderr = run(*command, "--record", weights / "recorded")
    assert code == 0, stderr
    assert "severity accuracy, all" in stdout
    kept = (tmp_path / "cv" / "predictions.json.gz").read_bytes()
    (tmp_path / "cv" / "fold1" / "predictions.json.gz").unlink()  # as if it had been killed there
    assert run(*command)[0] == 0
    assert (tmp_path / "cv" / "predictions.json.gz").read_bytes() == kept

    code, stdout, stderr = run("evaluate", weights, "--data", data, "--report", report, "--match", "level")
    assert code == 0, stderr
    figures = json.loads((report / "figures.json").read_text())
    assert figures["cross_validation"]["patients"] == 4
    assert figures["held_out"]["patients"] == 2
    assert set(figures["learning_curve"]) == {"0.25", "0.5", "0.75", "1.0"}
    names = {path.name for path in report.iterdir()}
    assert names >= {"disc_segmentation.md", "disc_grading.md", "evaluation.md", "roc.png", "confusion.png"}
    assert names >= {"calibration.png", "height.png", "learning_curve.png", "training.png", "gallery_outlines.png"}
    for card in report.glob("*.md"):
        text = card.read_text()
        assert "research use only" in text or card.name == "evaluation.md"
        for picture in report.glob("*.png"):
            assert f"({picture.name})" in "".join(one.read_text() for one in report.glob("*.md"))


@pytest.mark.parametrize(
    ("arguments", "wrong"),
    [
        (("evaluate", WEIGHTS, "--folds", "2", "--protocol", "reference"), "exclude each other"),
        (("evaluate", WEIGHTS, "--folds", "2", "--report", "x"), "takes the folder of weights"),
        (("evaluate", WEIGHTS, "--record", "x"), "--record keeps what"),
        (("evaluate", WEIGHTS, "--learning-curve"), "goes with --folds"),
        (("evaluate", "nowhere"), "holds no sharpening/checkpoint.pt"),
        (("train", "segmentation", "--run", "x", "--fold", "7"), "no fold 7 of 5"),
        (("train", "segmentation", "--run", "x", "--config", "none.toml"), "none.toml cannot be read"),
        (("train", "grading", "--run", "nowhere"), "holds no sharpening/checkpoint.pt"),
        (("evaluate", WEIGHTS, "--protocol", "reference"), "too few graded discs"),
    ],
)
def test_what_cannot_be_done_is_explained(
    arguments: tuple[str | Path, ...], wrong: str, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, _, stderr = run(*arguments, "--data", data)
    assert code == 2
    assert wrong in stderr.replace("\n", " ")


def test_a_folder_of_no_data_set(tmp_path: Path) -> None:
    code, _, stderr = run("train", "segmentation", "--run", tmp_path / "run", "--data", tmp_path)
    assert code == 2
    assert "has not the layout spider2d or spider" in stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("missing", ["torch", "matplotlib"])
def test_without_the_train_extra_it_says_what_to_install(missing: str) -> None:
    code = (
        f"import sys; sys.modules[{missing!r}] = None\n"
        "from discgrade.cli import app\n"
        "app(['evaluate', 'training/weights', '--report', 'x'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=WEIGHTS.parents[1], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 1
    assert f"needs the package {missing}" in done.stderr
    assert "discgrade[train]" in done.stderr


def test_data_are_indexed_without_the_train_extra() -> None:
    """A GPU host that builds engines has no torch, and calibrates on spider2d."""
    blocked = ("torch", "SimpleITK", "matplotlib", "sklearn")
    code = f"import sys; sys.modules.update(dict.fromkeys({blocked!r}))\nimport training.data"
    subprocess.run([sys.executable, "-c", code], cwd=WEIGHTS.parents[1], check=True, timeout=120)
