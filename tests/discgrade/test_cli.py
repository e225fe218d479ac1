"""The command, against a real HTTP server whose grader knows the phantom's truth."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import nibabel as nib
import pydicom
import pytest
from structlog.testing import capture_logs
from typer.testing import CliRunner

from discgrade.cli import app
from discgrade.errors import InferenceFailed
from discgrade.result import DISCLAIMER, GradingResult
from gateway.app import create_app
from gateway.settings import Settings
from tests.support.server import running_server
from tests.support.studies import PATIENT_WORDS, write_study
from tests.support.truth import TruthGrader
from training.phantom import Phantom, PhantomSpec, make_phantom

DICOM_FILES = ("segmentation.dcm", "report.sr.dcm", "overlay.dcm", "report.pdf.dcm")


@pytest.fixture(scope="module")
def phantom() -> Phantom:
    return make_phantom(PhantomSpec(grades=(4, 3, 2, 2, 1), slices=3, pixel_mm=1.2, matrix=(200, 160)))


@pytest.fixture
def grader(phantom: Phantom) -> TruthGrader:
    return TruthGrader(phantom)


@pytest.fixture
def url(grader: TruthGrader, tmp_path: Path) -> Iterator[str]:
    # The server is in this process: its log must not mix with what the command prints.
    with capture_logs(), running_server(create_app(Settings(data_dir=tmp_path / "data"), lambda: grader)) as url:
        yield url


@pytest.fixture
def study(phantom: Phantom, tmp_path: Path) -> Path:
    folder = tmp_path / "study"
    folder.mkdir()
    write_study(phantom, folder, "dicom")
    return folder


def run(*arguments: str | Path) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.stdout, done.stderr


def test_a_study_is_shown_as_a_table_and_written(url: str, study: Path, phantom: Phantom, tmp_path: Path) -> None:
    out = tmp_path / "out"
    code, shown, _ = run("grade", study, "--url", url, "--out", out)
    assert code == 0
    rows = [line for line in shown.splitlines() if "/" in line.split(" ")[0]]
    assert [row.split()[0] for row in rows] == list(reversed(phantom.levels))
    assert "severe 80%" in shown
    assert "IV 80%" in shown
    assert DISCLAIMER in shown
    assert max(len(line) for line in rows) <= 80
    result = GradingResult.model_validate_json((out / "result.json").read_text())
    assert len(result.discs) == len(phantom.levels)
    assert nib.Nifti1Image.from_filename(out / "segmentation.nii.gz").shape == phantom.volume.array.shape[::-1]
    assert (out / "overlay.png").read_bytes().startswith(b"\x89PNG")
    assert [pydicom.dcmread(out / name).Modality for name in DICOM_FILES] == ["SEG", "SR", "OT", "DOC"]
    assert (out / "report.pdf").read_bytes().startswith(b"%PDF")


def test_json_alone_goes_to_stdout(url: str, study: Path, tmp_path: Path) -> None:
    code, shown, _ = run("grade", study, "--url", url, "--out", tmp_path / "out", "--json")
    assert code == 0
    assert GradingResult.model_validate(json.loads(shown)).discs


@pytest.mark.parametrize("form", ["zip", "nifti", "dicom-multiframe"])
def test_one_file_is_enough(url: str, phantom: Phantom, tmp_path: Path, form: str) -> None:
    (tmp_path / "one").mkdir()
    (path,) = write_study(phantom, tmp_path / "one", form)
    assert run("grade", path, "--url", url, "--out", tmp_path / "out")[0] == 0
    made = {path.name for path in (tmp_path / "out").iterdir()} & set(DICOM_FILES)
    assert made == (set() if form == "nifti" else set(DICOM_FILES))


def test_bad_input_says_what_to_change_and_exits_with_2(url: str, tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("Dear colleague")
    code, shown, said = run("grade", tmp_path / "letter.txt", "--url", url, "--out", tmp_path / "out")
    assert code == 2
    assert "The file format is not supported" in said
    assert "What to do:" in said
    assert shown == ""
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("what", ["nothing", "empty-folder"])
def test_a_path_without_files_exits_with_2(tmp_path: Path, what: str) -> None:
    (tmp_path / "empty-folder").mkdir()
    code, _, said = run("grade", tmp_path / what, "--out", tmp_path / "out")
    assert code == 2
    assert "What to do:" in said


def test_a_failing_server_exits_with_1(url: str, grader: TruthGrader, study: Path, tmp_path: Path) -> None:
    grader.error = InferenceFailed("tritonserver answered with INTERNAL.")
    code, _, said = run("grade", study, "--url", url, "--out", tmp_path / "out")
    assert code == 1
    assert "The inference server failed" in said


def test_no_server_exits_with_1(study: Path, tmp_path: Path) -> None:
    code, _, said = run("grade", study, "--url", "http://127.0.0.1:9", "--out", tmp_path / "out")
    assert code == 1
    assert "cannot be reached" in said


def test_an_error_does_not_name_the_patient(url: str, study: Path, tmp_path: Path) -> None:
    for path in study.rglob("*.dcm"):
        path.write_bytes(path.read_bytes()[:400])
    code, _, said = run("grade", study, "--url", url, "--out", tmp_path / "out")
    assert code == 2
    assert not any(word in said for word in PATIENT_WORDS)


@pytest.mark.parametrize(("format_", "files"), [("dicom", 15), ("nifti", 1)])
def test_a_phantom_is_made(tmp_path: Path, format_: str, files: int) -> None:
    code, _, said = run("phantom", tmp_path / "p", "--grades", "V,iv, I", "--format", format_)
    assert code == 0, said
    assert len(list((tmp_path / "p").iterdir())) == files
    assert "L5/S1" in said


def test_a_grade_that_is_none_is_refused(tmp_path: Path) -> None:
    assert run("phantom", tmp_path / "p", "--grades", "VI")[0] == 2


def test_a_wrong_setting_is_named(monkeypatch: pytest.MonkeyPatch, study: Path) -> None:
    monkeypatch.setenv("DISCGRADE_MAX_FILES", "many")
    code, _, said = run("grade", study)
    assert code == 2
    assert "DISCGRADE_MAX_FILES" in said


@pytest.mark.parametrize("command", [("grade", "."), ("serve",), ("demo",), ("phantom", "out")])
def test_the_client_alone_says_what_to_install(command: tuple[str, ...], tmp_path: Path) -> None:
    """As in a virtual environment with the base package only: the server's libraries are not there."""
    code = (
        "import sys\n"
        "sys.modules.update(dict.fromkeys(('pydantic_settings', 'numpy', 'fastapi', 'nibabel')))\n"
        "from discgrade.cli import app\n"
        f"app({list(command)!r})"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    (tmp_path / "file").write_text("x")
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "pip install 'discgrade[serve]'" in done.stderr
    assert "Traceback" not in done.stderr
