"""``discgrade export``, start to end: checkpoints → ONNX → engine → parity → release, served afterwards."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

import training
from discgrade.cli import app
from export.models import MEMBERS, NETWORKS, PIPELINE
from export.repository import Repository
from export.service import Service
from tests.support.repository import first_release

WEIGHTS = str(Path(training.__path__[0]) / "weights")


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return first_release(tmp_path / "repository")


def _export(*options: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["export", WEIGHTS, *options])
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result.exit_code, " ".join(result.output.split())


def test_a_run_becomes_a_release_for_tensorrt_rtx(repository: Repository, tmp_path: Path) -> None:
    report, data = tmp_path / "report", tmp_path / "no data"
    status, said = _export(
        *("--engine", "tensorrt-rtx", "--precision", "int8", "--to", str(repository.root)),
        *("--report", str(report), "--data", str(data)),
    )
    assert status == 0, said
    assert "builds disc_grading" in said
    assert "Serve it: discgrade models promote 2" in said
    release = repository.releases()[-1]
    assert release.members == {"disc_segmentation": 2, "disc_crop": 1, "disc_grading": 2}
    assert release.about["parity"]["failures"] == []
    assert repository.service == Service.first()
    for name in NETWORKS:
        folder = repository.root / name / "2"
        manifest = json.loads((folder / "manifest.json").read_text())
        written = {path.name for path in folder.iterdir()}
        assert {"model.onnx", "model.py", "quantised.onnx"} < written
        assert manifest["sha256"].keys() == written - {"manifest.json"}
        for file, digest in manifest["sha256"].items():
            assert hashlib.sha256((folder / file).read_bytes()).hexdigest() == digest
        assert set(manifest["training_run"]["checkpoints"]) >= {"grading/checkpoint.pt"}
        assert manifest["versions"].keys() >= {"torch", "onnx", "tensorrt"}
        assert manifest["opset"] == 20
        assert manifest["gpu"] is None
        assert (folder / "model.py").read_text() == (repository.root / name / "1" / "model.py").read_text()
        assert any(file.startswith("model.tensorrt-rtx") for file in written)
    assert "phantoms" in (report / "parity.md").read_text()
    listed = CliRunner().invoke(app, ["models", "list", "--repository", str(repository.root)], env={"COLUMNS": "200"})
    assert "tensorrt-rtx int8" in listed.output


def test_on_cpus_the_segmenter_alone_is_int8_beside_both_networks_in_fp32(
    repository: Repository, tmp_path: Path
) -> None:
    status, said = _export("--precision", "int8", "--to", str(repository.root), "--data", str(tmp_path / "no data"))
    assert status == 0, said
    assert "CPU engine, int8" in said
    files = {name: {path.name for path in (repository.root / name / "2").iterdir()} for name in NETWORKS}
    assert files["disc_segmentation"] - files["disc_grading"] == {"model.int8.onnx"}
    manifest = json.loads((repository.root / "disc_segmentation" / "2" / "manifest.json").read_text())
    assert manifest["precision"] == "int8"
    assert manifest["sha256"].keys() == files["disc_segmentation"] - {"manifest.json"}
    about = repository.releases()[-1].about
    assert about["parity"]["failures"] == []
    assert "accuracy" not in about  # there was no data set to judge by


def test_where_there_is_no_gpu_it_says_so_before_it_works(
    repository: Repository, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    for engine in ("tensorrt", "torch-tensorrt"):
        status, said = _export("--engine", engine, "--to", str(repository.root))
        assert status == 1
        assert "There is no NVIDIA GPU" in said
        assert "ONNX export" not in said
    assert repository.next_number() == 2


@pytest.mark.parametrize(("engine", "precision"), [("onnx", "fp16"), ("torch-tensorrt", "int8")])
def test_precisions_an_engine_is_not_made_in(engine: str, precision: str) -> None:
    status, said = _export("--engine", engine, "--precision", precision)
    assert status == 1
    assert f"{engine} is not exported in {precision}" in said


def test_what_is_no_repository_and_what_is_no_run(tmp_path: Path) -> None:
    status, said = _export("--to", str(tmp_path))
    assert (status, "no model repository of discgrade" in said) == (1, True)
    result = CliRunner().invoke(app, ["export", str(tmp_path)])
    assert result.exit_code == 1
    assert "The checkpoint cannot be read" in result.output


def test_models_are_promoted_and_rolled_back_from_the_command_line(tmp_path: Path) -> None:
    def models(*arguments: str) -> tuple[int, str]:
        result = CliRunner().invoke(app, ["models", *arguments], env={"COLUMNS": "200"})
        return result.exit_code, result.output

    folder = str(tmp_path / "repository")
    assert models("new", folder)[0] == 0
    first = Repository(Path(folder)).service.release
    new = Repository(Path(folder)).next_number()
    Repository(Path(folder)).add(new, {name: {"model.onnx": b""} for name in NETWORKS}, {})
    status, said = models("promote", str(new), "--repository", folder)
    assert (status, f"Release {new} answers; discgrade models rollback returns to {first}" in said) == (0, True)
    assert "No --triton-url: only the repository's files are read and changed" in said
    status, said = models("list", "--repository", folder)
    assert f"{MEMBERS[0]} {new}" in said
    status, said = models("rollback", "--repository", folder)
    assert (status, f"Release {first} answers again" in said) == (0, True)
    status, said = models("promote", "9", "--repository", folder)
    assert (status, "There is no release 9" in said) == (1, True)
    assert Repository(Path(folder)).service.release == first
    assert (Path(folder) / PIPELINE / str(new)).is_dir()
