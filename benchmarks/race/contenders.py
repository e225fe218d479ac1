"""The contenders, (a) to (e) of the report: how each is started and asked."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import httpx
from tritonclient.grpc import InferenceServerClient, InferInput
from tritonclient.utils import InferenceServerException

from benchmarks.admission import taking_all
from benchmarks.race.bare import Networks
from benchmarks.race.pytriton_server import MODEL
from benchmarks.race.studies import Study
from discgrade._process import ServerProcess, serving
from discgrade.client import Client
from engines import CPUPrecision, Engine, load_engine
from gateway.triton_install import TritonInstall

__all__ = ["Contender", "Discgrade", "bare", "baseline", "discgrade", "end_to_end", "ensemble", "pytriton"]

_START_SECONDS = 120.0
_TYPES = {"uint8": "UINT8", "int32": "INT32", "float32": "FP32"}


@dataclass(frozen=True)
class Contender:
    """One way to grade a study.

    Attributes:
        key: Short, for tables and plots.
        what: What it is, in a line.
        grade: Grades one study, from what it takes to its answer; gives the names of the discs' levels, from the
            lowest upward, or None where only networks are run. May be called from several threads.
        ready: Waits until it would.
    """

    key: str
    what: str
    grade: Callable[[Study], list[str] | None]
    ready: Callable[[], None] = lambda: None


@dataclass(frozen=True)
class Discgrade:
    """A running ``discgrade serve`` with its embedded tritonserver.

    Attributes:
        process: It.
        client: Of its REST API.
        triton: host:port of its tritonserver.
    """

    process: ServerProcess
    client: Client
    triton: str


@contextmanager
def discgrade() -> Iterator[Discgrade]:
    """Start discgrade as an operator would."""
    with (
        tempfile.TemporaryDirectory(prefix="discgrade-race-") as scratch,
        taking_all(),  # as the other contenders do
        serving(Path(scratch)) as process,
        process.client() as client,
    ):
        lines = (json.loads(line) for line in (Path(scratch) / "log").read_text().splitlines())
        (triton,) = (line["url"] for line in lines if line["event"] == "tritonserver answers")
        yield Discgrade(process, client, triton)


def end_to_end(server: Discgrade) -> list[Contender]:
    """(a) With the study as files, and as one zip."""

    def grade(upload: Callable[[Study], list[Path]]) -> Callable[[Study], list[str]]:
        # The discs of a result run from the top.
        return lambda study: [disc.level for disc in reversed(server.client.grade(upload(study)).discs)]

    return [
        Contender("a", "discgrade, DICOM files over REST", grade(lambda study: study.files)),
        Contender("a, zip", "discgrade, one zip over REST", grade(lambda study: [study.archive])),
    ]


def bare() -> list[Contender]:
    """(b) Networks alone, in this process."""
    ways = {
        "b": (
            "bare ONNX Runtime in FP32, both networks, whole slices",
            Networks(_onnxruntime(CPUPrecision.FP32)).whole,
        ),
        "b, INT8": (
            "the same with the segmenter in INT8, as it is served",
            Networks(_onnxruntime(CPUPrecision.INT8)).whole,
        ),
        "b, served engine": (
            "the served engine bare, both networks, whole slices",
            (served := Networks(load_engine)).whole,
        ),
        "b, region": ("the served engine bare, both networks, only what discgrade computes of them", served.region),
    }
    return [Contender(key, what, run) for key, (what, run) in ways.items()]


def _onnxruntime(precision: CPUPrecision) -> Callable[[Path], Engine]:
    return partial(load_engine, prefer=("onnxruntime",), precision=precision)


@contextmanager
def baseline() -> Iterator[Contender]:
    """(c) FastAPI and eager PyTorch."""
    port = _free_port()
    with (
        _process("benchmarks.race.baseline", port) as process,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=120, transport=httpx.HTTPTransport()) as client,
    ):

        def ready() -> None:
            _await(lambda: client.get("/ready").is_success, process)

        def grade(study: Study) -> list[str]:
            files = [("files", (path.name, path.read_bytes())) for path in study.files]
            answer = client.post("/grade", files=files).raise_for_status()
            return [str(disc["level"]) for disc in answer.json()]

        yield Contender("c", "FastAPI, pydicom and eager PyTorch in one process, DICOM files", grade, ready)


@contextmanager
def pytriton() -> Iterator[Contender]:
    """(d) A bound function."""
    ports = [_free_port() for _ in range(3)]
    with _process("benchmarks.race.pytriton_server", *ports) as process:
        what = "PyTriton, one bound function, prepared tensors over gRPC"
        yield _prepared("d", what, f"127.0.0.1:{ports[0]}", MODEL, process)


def ensemble(server: Discgrade) -> Contender:
    """(e) The ensemble without the gateway, in the tritonserver of (a)."""
    return _prepared("e", "Triton's ensemble, prepared tensors over gRPC", server.triton, "lumbar_grading")


def _prepared(key: str, what: str, url: str, model: str, process: subprocess.Popen[bytes] | None = None) -> Contender:
    client = InferenceServerClient(url)

    def ready() -> None:
        _await(lambda: bool(client.is_model_ready(model)), process)

    def grade(study: Study) -> list[str]:
        inputs = []
        for name, array in study.tensors.items():
            tensor = InferInput(name, list(array.shape), _TYPES[array.dtype.name])
            tensor.set_data_from_numpy(array)
            inputs.append(tensor)
        return [level.decode() for level in client.infer(model, inputs).as_numpy("LEVELS")]

    return Contender(key, what, grade, ready)


@contextmanager
def _process(module: str, *arguments: int) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        [sys.executable, "-m", module, *map(str, arguments)],
        env={
            **os.environ,
            "LD_PRELOAD": str(TritonInstall.find().libpython),
        },  # PyTriton brings an older one than some Pythons need
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=sys.stderr,
    )
    try:
        yield process
    finally:
        process.terminate()
        process.wait()


def _await(answers: Callable[[], bool], process: subprocess.Popen[bytes] | None = None) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while True:
        with suppress(httpx.TransportError, InferenceServerException):
            if answers():
                return
        if time.monotonic() > deadline or (process is not None and process.poll() is not None):
            raise TimeoutError("a contender did not get ready")
        time.sleep(0.1)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
