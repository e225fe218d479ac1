"""``discgrade serve`` and ``discgrade grade`` as processes."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import httpx
import pytest

from discgrade.result import GradingResult
from gateway.app import create_app
from gateway.embedded import EmbeddedTriton
from gateway.serve import inference_server
from gateway.settings import Settings
from gateway.triton_client import TritonClient
from tests.support.server import running_server
from tests.support.studies import PATIENT_WORDS, write_study
from training.phantom import PhantomSpec, make_phantom

pytestmark = pytest.mark.functional

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-c", "from discgrade.cli import app; app()"]


class Serving:
    """A running ``discgrade serve``; its log is collected while it runs."""

    def __init__(self, data_dir: Path, *options: str) -> None:
        self.process = subprocess.Popen(
            [*COMMAND, "serve", "--port", "0", "--data-dir", str(data_dir), *options],
            cwd=ROOT,
            stderr=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.log: list[str] = []
        self.output = ""
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        self.url = self._listening()

    def _read(self) -> None:
        assert self.process.stderr is not None
        self.log.extend(iter(self.process.stderr.readline, ""))

    def _listening(self) -> str:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and self.process.poll() is None:
            for line in list(self.log):
                if found := re.search(r'"url": "(http[^"]+)"', line):
                    return found[1]
            time.sleep(0.05)
        self.process.kill()
        raise AssertionError("".join(self.log))

    def entries(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self.log]

    def end(self, how: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(how)
        return self.finish()

    def finish(self) -> int:
        """Wait until the process ends."""
        status = self.process.wait(60)
        self._reader.join()
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        with self.process.stdout, self.process.stderr:
            self.output = self.process.stdout.read()
        return status


@pytest.fixture
def study(tmp_path: Path) -> list[Path]:
    folder = tmp_path / "study"
    folder.mkdir()
    return write_study(make_phantom(PhantomSpec(slices=5, matrix=(400, 400))), folder, "dicom")


def parts(study: list[Path]) -> list[tuple[str, tuple[str, bytes]]]:
    return [("files", (path.name, path.read_bytes())) for path in study]


@pytest.fixture
def external(triton: EmbeddedTriton, tmp_path: Path) -> Iterator[Serving]:
    serving = Serving(tmp_path / "data", "--triton-url", triton.url)
    yield serving
    if serving.process.poll() is None:
        serving.end(signal.SIGKILL)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_a_request_in_flight_ends_before_the_server(external: Serving, study: list[Path], how: signal.Signals) -> None:
    answers: list[httpx.Response] = []
    asking = threading.Thread(
        target=lambda: answers.append(httpx.post(f"{external.url}/v1/grade", files=parts(study), timeout=60))
    )
    asking.start()
    while "discgrade_grade_in_flight 1.0" not in httpx.get(f"{external.url}/metrics").text:
        assert asking.is_alive()
    assert external.end(how) == 0
    asking.join()
    assert answers[0].status_code == 201
    (entry,) = [entry for entry in external.entries() if entry["event"] == "request"]
    assert entry["outcome"] == "ok"


def test_its_own_tritonserver_starts_and_ends_with_it(study: list[Path], tmp_path: Path) -> None:
    serving = Serving(tmp_path / "data")
    assert httpx.get(f"{serving.url}/readyz").status_code == 200
    answer = httpx.post(f"{serving.url}/v1/grade", files=parts(study), timeout=60)
    assert answer.status_code == 201
    children = _descendants(serving.process.pid)
    assert children
    assert serving.end() == 0
    assert [pid for pid in children if Path(f"/proc/{pid}").exists()] == []
    assert not any(word in "".join(serving.log) for word in PATIENT_WORDS)
    series = GradingResult.model_validate_json(answer.content).input.chosen_series
    assert series
    assert series not in "".join(serving.log)
    assert serving.output == ""


def test_without_triton_it_lives_and_says_that_it_is_not_ready(study: list[Path], tmp_path: Path) -> None:
    serving = Serving(tmp_path / "data", "--triton-url", "127.0.0.1:9")
    assert httpx.get(f"{serving.url}/livez").status_code == 200
    assert httpx.get(f"{serving.url}/readyz").status_code == 503
    answer = httpx.post(f"{serving.url}/v1/grade", files=parts(study), timeout=60)
    assert answer.json()["type"] == "urn:discgrade:problem:inference-unavailable"
    assert answer.headers["retry-after"]
    assert "server" not in answer.headers
    assert serving.end() == 0
    left = {path.name for path in (tmp_path / "data").rglob("*") if path.is_file() and path.parent.name != "audit"}
    assert left == {"jobs.sqlite"}


def test_it_is_not_alive_once_its_own_tritonserver_was_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.serve.EmbeddedTriton", partial(EmbeddedTriton, max_restarts=0))
    settings = Settings(data_dir=tmp_path)
    with (
        inference_server(settings) as triton,
        running_server(create_app(settings, lambda: TritonClient(triton.url), triton.lost)) as url,
    ):
        assert httpx.get(f"{url}/livez").status_code == 200
        port = f"--grpc-port={triton.url.rsplit(':')[-1]}"
        (server,) = [pid for pid in _descendants(os.getpid()) if _is_tritonserver(pid, port)]
        os.kill(server, signal.SIGKILL)
        deadline = time.monotonic() + 60
        while (answer := httpx.get(f"{url}/livez")).status_code == 200:
            assert time.monotonic() < deadline
        assert answer.status_code == 500
        assert httpx.get(f"{url}/readyz").status_code == 503


def test_grade_starts_everything_it_needs(study: list[Path], tmp_path: Path) -> None:
    command = [*COMMAND, "grade", str(study[0].parent), "--out", str(tmp_path / "out"), "--json"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    result = GradingResult.model_validate_json(done.stdout)
    assert len(result.discs) >= 5
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "result.json",
        "segmentation.nii.gz",
        "overlay.png",
        "segmentation.dcm",
        "report.sr.dcm",
        "report.pdf",
        "overlay.dcm",
        "report.pdf.dcm",
    }
    assert not any(word in done.stderr + done.stdout for word in PATIENT_WORDS)


def test_grade_refuses_bad_input_with_2(tmp_path: Path) -> None:
    (tmp_path / "letter").write_text("Dear colleague")
    command = [*COMMAND, "grade", str(tmp_path / "letter"), "--out", str(tmp_path / "out")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2
    assert "What to do:" in done.stderr
    assert done.stdout == ""
    assert not (tmp_path / "out").exists()


def _is_tritonserver(pid: int, option: str) -> bool:
    program, *options = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    return program.endswith("/tritonserver") and option in options


def _descendants(pid: int) -> list[int]:
    children = [
        int(word) for task in Path(f"/proc/{pid}/task").iterdir() for word in (task / "children").read_text().split()
    ]
    return children + [below for child in children for below in _descendants(child)]
