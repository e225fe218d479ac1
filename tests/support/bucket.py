"""A server that speaks S3 on the loopback interface, with an empty bucket."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx

from tests.support.processes import free_port

__all__ = ["running_bucket"]

_START_SECONDS = 60.0


@contextmanager
def running_bucket() -> Iterator[dict[str, str]]:
    """Start a server; yields the environment that its clients need, for the bucket ``studies``."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with subprocess.Popen(
        [sys.executable, "-W", "ignore", "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "MOTO_ALLOW_NONEXISTENT_REGION": "true"},
    ) as server:
        try:
            deadline = time.monotonic() + _START_SECONDS
            while True:
                try:
                    httpx.put(f"{url}/studies").raise_for_status()
                    break
                except httpx.TransportError:
                    assert time.monotonic() < deadline
                    assert server.poll() is None
                    time.sleep(0.05)
            yield {
                "AWS_ENDPOINT_URL": url,
                "AWS_ACCESS_KEY_ID": "tests",
                "AWS_SECRET_ACCESS_KEY": "not a secret",
                "AWS_REGION": "us-east-1",
            }
        finally:
            server.kill()
