"""``discgrade serve`` as a process of its own, for a while."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from discgrade.client import Client
from discgrade.errors import InferenceUnavailable

__all__ = ["ServerProcess", "serving"]

_START_SECONDS = 120.0
_STOP_SECONDS = 30.0


class ServerProcess:
    """A running ``discgrade serve``; its log, a line of JSON each, says where it listens."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self._process = process
        self._log = log
        self._deadline = time.monotonic() + _START_SECONDS

    @contextmanager
    def client(self) -> Iterator[Client]:
        """Wait until the server could grade; yield a client of it.

        Raises:
            discgrade.errors.InferenceUnavailable: It ended, or was not ready in time; the message ends with its log.
        """
        # A transport of its own: the environment's proxies are not for the loopback interface.
        with Client(self.url(), transport=httpx.HTTPTransport()) as client:
            while not client.ready():
                self._pause()
            yield client

    @property
    def pid(self) -> int:
        """Number of the process."""
        return self._process.pid

    def url(self) -> str:
        """Wait until it listens; its base URL.

        Raises:
            discgrade.errors.InferenceUnavailable: It ended, or did not listen in time.
        """
        while True:
            for line in self._log.read_text().splitlines():
                if '"event": "listening"' in line:
                    return str(json.loads(line)["url"])
            self._pause()

    def _pause(self) -> None:
        if self._process.poll() is not None or time.monotonic() > self._deadline:
            tail = "\n".join(self._log.read_text().splitlines()[-5:])
            raise InferenceUnavailable(f"The server did not start. The end of its log:\n{tail}", "Read the log.")
        time.sleep(0.05)


@contextmanager
def serving(scratch: Path, *options: str) -> Iterator[ServerProcess]:
    """Start a server on a free loopback port; it ends with the block.

    Args:
        scratch: An empty folder for its log and its data.
        options: Further options of ``discgrade serve``.
    """
    log = scratch / "log"
    command = [sys.executable, "-P", "-m", "discgrade", "serve", "--port", "0", "--data-dir", str(scratch / "data")]
    with log.open("wb") as sink:
        process = subprocess.Popen(
            [*command, *options], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=sink
        )
    try:
        yield ServerProcess(process, log)
    finally:
        process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
