"""The embedded server's life and death, with one small model of its own so that it starts fast."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
from tritonclient.http import InferenceServerClient, InferInput

from discgrade.errors import InferenceUnavailable
from gateway.embedded import PIPELINE, EmbeddedTriton, State

pytestmark = pytest.mark.functional

MODEL = """
import os
import numpy as np
import triton_python_backend_utils as pb_utils
import preprocess.volume  # as disc_crop does

class TritonPythonModel:
    def execute(self, requests):
        return [pb_utils.InferenceResponse([pb_utils.Tensor("PID", np.array([os.getpid()]))]) for _ in requests]
"""
CONFIG = f"""
name: "{PIPELINE}"
backend: "python"
input [ {{ name: "ANY", data_type: TYPE_INT64, dims: [ 1 ] }} ]
output [ {{ name: "PID", data_type: TYPE_INT64, dims: [ 1 ] }} ]
"""
PARENT = """
import json, sys, time
from pathlib import Path
import psutil
from gateway.embedded import EmbeddedTriton
server = EmbeddedTriton(Path(sys.argv[1]))
server.start()
processes = psutil.Process().children(recursive=True)
print(json.dumps([process.pid for process in processes]), flush=True)
time.sleep(600)
"""


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    version = tmp_path / "repository" / PIPELINE / "1"
    version.mkdir(parents=True)
    (version / "model.py").write_text(MODEL)
    (version.parent / "config.pbtxt").write_text(CONFIG)
    return tmp_path / "repository"


def _mapped() -> str:
    """Memory maps of every process that can be seen."""
    maps = []
    for path in Path("/proc").glob("[0-9]*/maps"):
        with contextlib.suppress(OSError):
            maps.append(path.read_text(errors="replace"))
    return "".join(maps)


@pytest.fixture
def leftovers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[Path]]:
    """What servers started from here on leave in the temporary folder and, unused by any process, in shared memory."""
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    monkeypatch.setenv("TMPDIR", str(temporary))
    before = set(Path("/dev/shm").iterdir())

    def found() -> list[Path]:
        maps = _mapped()  # servers of other programs come and go
        new = [path for path in Path("/dev/shm").glob("discgrade-*") if path not in before and str(path) not in maps]
        return [*temporary.iterdir(), *new]

    return found


@pytest.fixture
def server(repository: Path, leftovers: Callable[[], list[Path]]) -> Iterator[EmbeddedTriton]:
    triton = EmbeddedTriton(repository, backoff_seconds=0.01, max_restarts=2)
    starter = threading.Thread(target=triton.start)  # which ends: the server must not end with it
    starter.start()
    starter.join()
    yield triton
    triton.stop()
    _eventually(lambda: leftovers() == [])


def _processes(server: EmbeddedTriton, name: str) -> list[psutil.Process]:
    """This server's processes, known by its gRPC port, whose command line mentions ``name``."""
    port = f"--grpc-port={server.url.rsplit(':')[-1]}"
    guards = [process for process in psutil.Process().children() if port in process.cmdline()]
    family = [*guards, *(child for guard in guards for child in guard.children(recursive=True))]
    return [process for process in family if any(part.endswith(name) for part in process.cmdline()[:4])]


def _stub_pid(server: EmbeddedTriton) -> int:
    tensor = InferInput("ANY", [1], "INT64")
    tensor.set_data_from_numpy(np.zeros(1, dtype=np.int64))
    with InferenceServerClient(server.http_url.removeprefix("http://")) as client:
        return int(client.infer(PIPELINE, [tensor]).as_numpy("PID")[0])


def _eventually(condition: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


def test_serves_on_loopback_and_measures_itself(server: EmbeddedTriton) -> None:
    assert server.state is State.READY
    assert psutil.pid_exists(_stub_pid(server))
    with urllib.request.urlopen(server.metrics_url) as answer:
        assert "nv_inference_request_success" in answer.read().decode()
    (process,) = _processes(server, "/tritonserver")
    listening = [c.laddr for c in process.net_connections("inet") if c.status == psutil.CONN_LISTEN]
    assert {address.ip.removeprefix("::ffff:") for address in listening} == {"127.0.0.1"}
    assert len(listening) == 3


def test_the_callers_environment_stays_its_own(
    repository: Path, leftovers: Callable[[], list[Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DISCGRADE_SECRET", "hush")
    before = dict(os.environ)
    with EmbeddedTriton(repository) as server:
        assert dict(os.environ) == before
        (process,) = _processes(server, "/tritonserver")
        assert "DISCGRADE_SECRET" not in process.environ()
        assert "LD_LIBRARY_PATH" in process.environ()
    _eventually(lambda: leftovers() == [])
    assert server.state is State.STOPPED


def test_two_servers_at_once(server: EmbeddedTriton, repository: Path) -> None:
    with EmbeddedTriton(repository) as other:
        assert _stub_pid(server) != _stub_pid(other)
    assert psutil.pid_exists(_stub_pid(server))


@pytest.mark.parametrize("victim", ["/tritonserver", "/triton_guard.py", "/triton_python_backend_stub"])
def test_restarts_at_the_same_address_after_a_kill(server: EmbeddedTriton, victim: str) -> None:
    address, stub = server.url, _stub_pid(server)
    (process,) = _processes(server, victim)
    process.kill()
    _eventually(lambda: server.restarts == 1 and server.state is State.READY)
    assert server.url == address
    assert _stub_pid(server) != stub
    _eventually(lambda: not psutil.pid_exists(stub))


def test_is_given_up_when_it_cannot_restart(server: EmbeddedTriton, repository: Path) -> None:
    (repository / PIPELINE / "1" / "model.py").write_text("raise RuntimeError('broken since')")
    _processes(server, "/tritonserver")[0].kill()
    _eventually(lambda: server.state is State.FAILED)
    assert server.restarts == 2


def test_a_model_that_cannot_load_is_named(repository: Path, leftovers: Callable[[], list[Path]]) -> None:
    (repository / PIPELINE / "1" / "model.py").write_text("import nonesuch")
    server = EmbeddedTriton(repository)
    with pytest.raises(InferenceUnavailable, match="No module named 'nonesuch'"):
        server.start()
    assert server.state is State.STOPPED
    _eventually(lambda: leftovers() == [])


def test_can_be_started_again_but_not_twice(server: EmbeddedTriton) -> None:
    with pytest.raises(RuntimeError, match="already"):
        server.start()
    server.stop()
    server.stop()
    assert server.state is State.STOPPED
    server.start()
    assert psutil.pid_exists(_stub_pid(server))


def test_nothing_outlives_a_killed_parent(repository: Path, leftovers: Callable[[], list[Path]]) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, str(repository)], stdout=subprocess.PIPE, env=environment, text=True
    ) as parent:
        assert parent.stdout is not None
        pids = next(json.loads(line) for line in parent.stdout if line.startswith("[") and line.endswith("]\n"))
        assert len(pids) >= 3  # guard, server and stub
        os.kill(parent.pid, signal.SIGKILL)
        _eventually(lambda: not any(psutil.pid_exists(pid) for pid in pids))
        _eventually(lambda: leftovers() == [])
