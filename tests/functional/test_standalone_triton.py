"""``discgrade triton``, with one small model so that it starts fast."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

pytestmark = pytest.mark.functional

HOST = "127.0.0.5"
MODEL = """
import triton_python_backend_utils as pb_utils

class TritonPythonModel:
    def execute(self, requests):
        return [pb_utils.InferenceResponse([]) for _ in requests]
"""
CONFIG = """
name: "lumbar_grading"
backend: "python"
input [ { name: "ANY", data_type: TYPE_INT64, dims: [ 1 ] } ]
output [ { name: "NONE", data_type: TYPE_INT64, dims: [ 1 ] } ]
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], list[int]]]:
    """The process, once it says that it answers, and its ports of gRPC, HTTP and metrics."""
    version = tmp_path / "models" / "lumbar_grading" / "1"
    version.mkdir(parents=True)
    (version / "model.py").write_text(MODEL)
    (version.parent / "config.pbtxt").write_text(CONFIG)
    ports = _free_ports(3)
    options = [f"--{name}-port={port}" for name, port in zip(("grpc", "http", "metrics"), ports, strict=True)]
    command = [sys.executable, "-P", "-m", "discgrade", "triton", f"--host={HOST}", *options]
    process = subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
        env={**os.environ, "DISCGRADE_MODELS_DIR": str(tmp_path / "models")},
    )
    assert process.stderr is not None
    try:
        lines = []
        for line in process.stderr:
            lines.append(line)
            if "tritonserver answers" in line:
                break
        else:
            pytest.fail("".join(lines))
        yield process, ports
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


def test_it_serves_until_it_is_told_to_end(server: tuple[subprocess.Popen[str], list[int]]) -> None:
    process, (_, http, metrics) = server
    with httpx.Client(trust_env=False) as client:
        assert client.get(f"http://{HOST}:{http}/v2/models/lumbar_grading/ready").status_code == 200
        assert "nv_inference_queue_duration_us" in client.get(f"http://{HOST}:{metrics}/metrics").text
    running = psutil.Process(process.pid).children(recursive=True)
    assert {"tritonserver"} <= {one.name() for one in running}
    process.send_signal(signal.SIGTERM)
    assert process.stderr is not None
    process.stderr.read()
    assert process.wait() == 0
    gone, alive = psutil.wait_procs(running, timeout=10)
    assert not alive
    assert len(gone) == len(running)


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind((HOST, 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()
