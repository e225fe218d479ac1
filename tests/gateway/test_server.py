"""The app behind real sockets."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from gateway.app import create_app
from gateway.settings import Settings
from tests.support.server import running_server
from tests.support.truth import TruthGrader


@pytest.fixture
def url(grader: TruthGrader, data_dir: Path) -> Iterator[str]:
    with running_server(create_app(Settings(data_dir=data_dir, max_upload_bytes=100_000), lambda: grader)) as url:
        yield url


def test_a_client_refused_while_sending_still_reads_why(url: str, data_dir: Path) -> None:
    def endless() -> Iterator[bytes]:
        yield b'--XX\r\nContent-Disposition: form-data; name="files"\r\n\r\n'
        for _ in range(300):
            yield b"x" * 65536

    headers = {"Content-Type": "multipart/form-data; boundary=XX"}
    answer = httpx.post(f"{url}/v1/grade", content=endless(), headers=headers)
    assert answer.status_code == 413
    assert answer.json()["type"] == "urn:discgrade:problem:upload-too-large"
    assert [path for path in data_dir.rglob("*") if path.is_file() and path.parent.name != "audit"] == []


def test_a_client_that_drops_the_connection_leaves_nothing(url: str, data_dir: Path) -> None:
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(
            b"POST /v1/grade HTTP/1.1\r\nHost: x\r\nContent-Length: 50000\r\n"
            b"Content-Type: multipart/form-data; boundary=XX\r\n\r\n"
            b'--XX\r\nContent-Disposition: form-data; name="files"\r\n\r\n' + b"x" * 20_000
        )
    for _ in range(200):
        if 'outcome="client-closed-request"' in httpx.get(f"{url}/metrics").text:
            break
        time.sleep(0.05)
    else:
        pytest.fail("the server did not notice")
    assert [path for path in data_dir.rglob("*") if path.is_file() and path.parent.name != "audit"] == []
