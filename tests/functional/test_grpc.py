"""gRPC with a real tritonserver behind it, and Triton asked directly."""

from __future__ import annotations

import asyncio
import os
import re
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import structlog

from discgrade.client import Client
from discgrade.errors import InferenceTimeout
from discgrade.grpc_client import NO_RETRY, AsyncGrpcClient, GrpcClient, Tls
from discgrade.result import GradingResult
from gateway.app import Services, create_app
from gateway.deadline import set_deadline
from gateway.embedded import EmbeddedTriton
from gateway.grpc_server import grpc_server
from gateway.settings import Settings
from gateway.triton_client import GradedTensors, GridTensors, TritonClient
from preprocess.grid import Grid
from tests.support.certificates import make_authority, make_certificate
from tests.support.processes import Command
from tests.support.studies import write_study
from training.phantom import PhantomSpec, make_phantom

pytestmark = pytest.mark.functional

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    phantom = make_phantom(PhantomSpec(slices=3, matrix=(384, 384)))
    return write_study(phantom, tmp_path_factory.mktemp("study"), "nifti")


@pytest.fixture
def logged() -> Any:
    with structlog.testing.capture_logs() as entries:
        yield entries


def without_names(result: GradingResult) -> GradingResult:
    return result.model_copy(update={"result_id": "", "timings_ms": {}})


def test_serve_answers_the_same_over_grpc_and_http(triton: EmbeddedTriton, study: list[Path], tmp_path: Path) -> None:
    options = ("--data-dir", str(tmp_path), "--triton-url", triton.url)
    server = Command("serve", "--port", "0", "--grpc-port", "0", *options)
    try:
        url = server.url
        [listening] = server.entries("listening for gRPC")
        with Client(url) as http, GrpcClient(str(listening["target"])) as grpc:
            assert grpc.ready()
            graded = grpc.grade(study)
            assert without_names(graded) == without_names(http.grade(study))
            assert http.result(graded.result_id) == graded
            assert grpc.segmentation(graded.result_id) == http.segmentation(graded.result_id)
            answers = list(grpc.grade_batch((str(number), study) for number in range(3)))
            assert sorted(answer.study_id for answer in answers) == ["0", "1", "2"]
            assert all(answer.result and without_names(answer.result) == without_names(graded) for answer in answers)
    finally:
        status = server.stop()
    assert status == 0


def test_serve_encrypts_both(triton: EmbeddedTriton, study: list[Path], tmp_path: Path) -> None:
    authority = make_authority(tmp_path / "ca.pem")
    cert, key = make_certificate(authority, tmp_path, "localhost")
    own_cert, own_key = make_certificate(authority, tmp_path, "modality")
    environment = {
        "DISCGRADE_TLS_CERT": str(cert),
        "DISCGRADE_TLS_KEY": str(key),
        "DISCGRADE_GRPC_CLIENT_CA": str(tmp_path / "ca.pem"),
        "DISCGRADE_RUN_WORKER": "false",
    }
    options = ("--data-dir", str(tmp_path / "data"), "--triton-url", triton.url)
    server = Command("serve", "--port", "0", "--grpc-port", "0", *options, environment=environment)
    try:
        url = server.url.replace("127.0.0.1", "localhost")
        assert url.startswith("https://")
        [listening] = server.entries("listening for gRPC")
        target = str(listening["target"]).replace("127.0.0.1", "localhost")
        transport = httpx.HTTPTransport(verify=ssl.create_default_context(cafile=tmp_path / "ca.pem"))
        tls = Tls(tmp_path / "ca.pem", own_cert, own_key)
        with Client(url, transport=transport) as http, GrpcClient(target, tls=tls) as grpc:
            result = grpc.grade(study)
            assert http.result(result.result_id) == result
        with GrpcClient(target, tls=Tls(tmp_path / "ca.pem"), retry=NO_RETRY) as unknown:
            assert not unknown.ready()
    finally:
        status = server.stop()
    assert status == 0


def test_a_port_that_is_taken_ends_the_command(triton: EmbeddedTriton, tmp_path: Path) -> None:
    options = ["--port", "0", "--data-dir", str(tmp_path), "--triton-url", triton.url]
    taken = triton.url.rpartition(":")[2]
    done = subprocess.run(
        [sys.executable, "-m", "discgrade", "serve", *options, "--grpc-port", taken],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=ROOT,
    )
    assert done.returncode == 1
    assert f"cannot listen on 127.0.0.1:{taken}" in done.stderr


class Telling(TritonClient):
    """Tells when a request is on its way."""

    asked: asyncio.Event

    async def grade(self, grid: GridTensors) -> GradedTensors:
        self.asked.set()
        return await super().grade(grid)


@asynccontextmanager
async def serving(triton: EmbeddedTriton, data_dir: Path) -> AsyncIterator[tuple[Telling, AsyncGrpcClient]]:
    settings = Settings(data_dir=data_dir, shutdown_seconds=1, run_worker=False)
    connected: list[Telling] = []
    opened: list[str] = []

    def connect() -> Telling:
        client = Telling(triton.url)
        client.asked = asyncio.Event()
        connected.append(client)
        return client

    @asynccontextmanager
    async def beside(services: Services) -> AsyncIterator[None]:
        async with grpc_server(services, settings, "127.0.0.1", 0) as target:
            opened.append(target)
            yield

    app = create_app(settings, connect, beside=beside)
    async with app.router.lifespan_context(app), AsyncGrpcClient(opened[0]) as client:
        yield connected[0], client


async def graded_discs(triton: EmbeddedTriton) -> int:
    """Discs graded so far, once Triton is at rest."""
    async with TritonClient(triton.url) as client:
        counts: list[int] = []
        while len(counts) < 3 or len(set(counts[-3:])) > 1:
            counts.append((await client.statistics())["disc_grading"].inferences)
            await asyncio.sleep(0.3)
    return counts[-1]


async def test_who_leaves_stops_triton(triton: EmbeddedTriton, study: list[Path], tmp_path: Path) -> None:
    """Triton does not call back a step that runs, but the ensemble's next ones are spared."""
    async with serving(triton, tmp_path) as (telling, client):
        await client.grade(study)  # all is loaded
        before = await graded_discs(triton)
        telling.asked.clear()
        grading = asyncio.create_task(client.grade(study))
        await telling.asked.wait()
        grading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await grading
        assert await graded_discs(triton) == before


async def test_a_deadline_reaches_triton(triton: EmbeddedTriton, spine: Grid, logged: list[dict[str, Any]]) -> None:
    async with TritonClient(triton.url) as client:
        set_deadline(0.001)
        with pytest.raises(InferenceTimeout):
            await client.grade(spine)
        set_deadline(60.0)
        assert (await client.grade(spine)).levels
    assert [entry["status"] for entry in logged if entry["event"] == "request failed"] == ["DEADLINE_EXCEEDED"]


def test_triton_asked_directly(triton: EmbeddedTriton, study: list[Path]) -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / "triton_direct.py"), str(study[0]), triton.url],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("L5/S1 (")
    assert all(re.fullmatch(r".+ \(\d\.\d\d\): (mild|moderate|severe), Pfirrmann [IV]+", line) for line in lines)
