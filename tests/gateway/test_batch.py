"""``discgrade batch`` against the real server, whose grader counts what it is given."""

from __future__ import annotations

import csv
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pyarrow.parquet as pq
import pytest

from discgrade._batch.tables import COLUMNS
from discgrade.result import GradingResult
from gateway.app import create_app
from gateway.jobs.worker import Worker
from gateway.settings import Settings
from gateway.triton_tensors import GradedTensors
from preprocess.grid import Grid
from tests.support.server import running_server
from tests.support.studies import PATIENT_WORDS, write_study
from tests.support.truth import TruthGrader
from training.phantom import Phantom, PhantomSpec, make_phantom

GOOD = 4
"""Studies of the fixture ``studies``."""


class Server:
    """The address of a running server, and the one that grades in it."""

    def __init__(self, grader: TruthGrader, settings: Settings) -> None:
        self.grader = grader
        self.settings = settings
        self.url = ""
        self.before = 0

    def graded(self) -> int:
        """Studies that were graded in this test."""
        return self.total() - self.before

    def total(self) -> int:
        lines = httpx.get(f"{self.url}/metrics").text.splitlines()
        return sum(
            int(float(line.split()[-1])) for line in lines if line.startswith("discgrade_discs_per_study_count{")
        )


class Slow(TruthGrader):
    async def grade(self, grid: Grid) -> GradedTensors:
        time.sleep(0.05)
        return await super().grade(grid)


@pytest.fixture(scope="module")
def spine() -> Phantom:
    return make_phantom(PhantomSpec(grades=(4, 3, 2), slices=3, pixel_mm=1.0, matrix=(256, 200)))


@pytest.fixture(scope="module")
def running(spine: Phantom, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    settings = Settings(data_dir=tmp_path_factory.mktemp("data"), cpu_workers=2, shutdown_seconds=1)
    server = Server(Slow(spine), settings)
    app = create_app(settings, lambda: server.grader, beside=lambda services: Worker(services, settings))
    with running_server(app) as server.url:
        yield server


@pytest.fixture
def server(running: Server) -> Server:
    running.before = running.total()
    return running


@pytest.fixture
def studies(spine: Phantom, tmp_path: Path) -> Path:
    """Four good studies in three forms, below folders that name the patient, and what else lies about."""
    root = tmp_path / "studies"
    for number, form in enumerate(("dicom", "zip", "nifti", "nifti")):
        folder = root / PATIENT_WORDS[0] / str(number)
        folder.mkdir(parents=True)
        write_study(spine, folder, form)
    (root / "readme.txt").write_text("Dear colleague")
    return root


def command(server: Server, root: Path, out: Path, *options: str) -> list[str]:
    return [sys.executable, "-m", "discgrade", "batch", str(root), "--out", str(out), "--url", server.url, *options]


def batch(server: Server, root: Path, out: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(server, root, out, *options), capture_output=True, text=True, timeout=300)


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def damaged(root: Path) -> None:
    whole = next(root.rglob("*.nii.gz")).read_bytes()
    (root / "damaged.nii.gz").write_bytes(whole[: len(whole) // 2])


def test_one_bad_study_never_stops_the_rest(server: Server, studies: Path, spine: Phantom, tmp_path: Path) -> None:
    damaged(studies)
    out = tmp_path / "table.csv"
    done = batch(server, studies, out)
    assert done.returncode == 2, done.stderr
    rows = rows_of(out)
    assert list(rows[0]) == list(COLUMNS)
    graded = [row for row in rows if row["state"] == "graded"]
    (failed,) = [row for row in rows if row["state"] == "failed"]
    assert len(graded) == GOOD * len(spine.levels)
    assert {row["level"] for row in graded} == set(spine.levels)
    assert {row["pfirrmann"] for row in graded} == {"IV", "III", "II"}
    assert failed["problem"] == "unreadable-file"
    assert failed["detail"]
    assert server.graded() == GOOD
    again = batch(server, studies, out)
    assert again.returncode == 2
    assert server.graded() == GOOD
    assert rows_of(out) == rows


def test_the_key_leads_back_and_nothing_else_does(
    server: Server, studies: Path, spine: Phantom, tmp_path: Path
) -> None:
    damaged(studies)
    out = tmp_path / "table.jsonl"
    done = batch(server, studies, out)
    key = {row["study"]: row for row in rows_of(tmp_path / "table.jsonl.key.csv")}
    lines = {line["study"]: line for line in map(json.loads, out.read_text().splitlines())}
    assert lines.keys() == key.keys()
    for study, line in lines.items():
        path = studies / key[study]["path"]
        assert path.exists()
        if line["state"] == "graded":
            result = GradingResult.model_validate(
                {**line["result"], "input": {"chosen_series": None, **line["result"]["input"]}}
            )
            assert len(result.discs) == len(spine.levels)
            assert result.input.format == {"zip": "dicom"}.get(key[study]["kind"], key[study]["kind"]) or path.is_dir()
        else:
            assert path.name == "damaged.nii.gz"
    uids = {row["study_instance_uid"] for row in key.values()} | {row["series_instance_uid"] for row in key.values()}
    assert len(uids) > 2
    for word in (*PATIENT_WORDS, *(uids - {""})):
        assert word not in out.read_text() + done.stdout + done.stderr
    for private in ("table.jsonl.key.csv", "table.jsonl.journal"):
        assert (tmp_path / private).stat().st_mode & 0o077 == 0


def test_parquet_has_the_types_of_the_columns(server: Server, studies: Path, spine: Phantom, tmp_path: Path) -> None:
    out = tmp_path / "table.parquet"
    assert batch(server, studies, out).returncode == 0
    table = pq.read_table(out)
    assert table.column_names == list(COLUMNS)
    assert table.num_rows == GOOD * len(spine.levels)
    row: dict[str, Any] = table.to_pylist()[0]
    assert isinstance(row["area_mm2"], float)
    assert isinstance(row["label"], int)
    assert row["p_mild"] + row["p_moderate"] + row["p_severe"] == pytest.approx(1)


def test_killed_at_any_moment_it_goes_on_without_grading_twice(server: Server, spine: Phantom, tmp_path: Path) -> None:
    root, out, count = tmp_path / "many", tmp_path / "table.csv", 12
    for number in range(count):
        (root / str(number)).mkdir(parents=True)
        write_study(spine, root / str(number), "nifti")
    for wanted in (1, 5):  # graded when it is killed
        with subprocess.Popen(command(server, root, out, "--at-once", "3"), stderr=subprocess.DEVNULL) as process:
            while server.graded() < wanted:
                assert process.poll() is None
                time.sleep(0.01)
            process.send_signal(signal.SIGKILL)
        assert process.returncode == -signal.SIGKILL
    done = batch(server, root, out)
    assert done.returncode == 0, done.stderr
    assert server.graded() == count
    rows = rows_of(out)
    assert len(rows) == count * len(spine.levels)
    assert len({row["study"] for row in rows}) == count


def test_an_interrupt_leaves_a_table_of_what_is_done(server: Server, studies: Path, tmp_path: Path) -> None:
    out = tmp_path / "table.csv"
    with subprocess.Popen(
        command(server, studies, out, "--at-once", "1"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),  # jobs in a shell's background ignore it
    ) as process:
        while server.graded() < 2:
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "same command" in said
    assert 0 < len({row["study"] for row in rows_of(out)}) < GOOD
    assert batch(server, studies, out).returncode == 0
    assert server.graded() == GOOD


def test_failed_studies_are_tried_again_if_asked(server: Server, studies: Path, tmp_path: Path) -> None:
    out = tmp_path / "table.csv"
    damaged(studies)
    assert batch(server, studies, out).returncode == 2
    study = studies / PATIENT_WORDS[0] / "2"
    (studies / "damaged.nii.gz").write_bytes(next(study.iterdir()).read_bytes())
    assert batch(server, studies, out).returncode == 2
    assert batch(server, studies, out, "--retry-failed").returncode == 0
    assert server.graded() == GOOD + 1


def test_studies_that_appear_later_are_graded_too(
    server: Server, studies: Path, spine: Phantom, tmp_path: Path
) -> None:
    out = studies / "table.csv"  # within the folder, and no study
    assert batch(server, studies, out).returncode == 0
    (studies / "new").mkdir()
    write_study(spine, studies / "new", "nifti")
    assert batch(server, studies, out).returncode == 0
    assert server.graded() == GOOD + 1
    assert len(rows_of(out)) == (GOOD + 1) * len(spine.levels)


def test_a_table_belongs_to_one_folder(server: Server, studies: Path, tmp_path: Path) -> None:
    out = tmp_path / "table.csv"
    (tmp_path / "empty").mkdir()
    assert batch(server, tmp_path / "empty", out).returncode == 0
    refused = batch(server, studies, out)
    assert refused.returncode == 2
    assert "another folder" in refused.stderr


@pytest.mark.parametrize("name", ["table.xlsx", "table"])
def test_formats_that_are_not_written(server: Server, studies: Path, tmp_path: Path, name: str) -> None:
    done = batch(server, studies, tmp_path / name)
    assert done.returncode == 2
    assert ".parquet" in done.stderr
    assert not (tmp_path / f"{name}.journal").exists()
