"""``discgrade`` commands that serve, as processes that tests can kill."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path

__all__ = ["ROOT", "Command", "free_port"]

ROOT = Path(__file__).parents[2]
_START_SECONDS = 300.0


def free_port() -> int:
    """A port of the loopback interface that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Command:
    """A running ``discgrade serve`` or ``discgrade worker``; its log is collected while it runs.

    Args:
        arguments: Of the command ``discgrade``.
        environment: Added to this process's.
    """

    def __init__(self, *arguments: str, environment: Mapping[str, str] | None = None) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", "from discgrade.cli import app; app()", *arguments],
            cwd=ROOT,
            env={**os.environ, **(environment or {})},
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
        )
        self.log: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        self.log.extend(iter(self.process.stderr.readline, ""))

    @property
    def url(self) -> str:
        """Where it listens; waits until it does."""
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline and self.process.poll() is None:
            for line in list(self.log):
                if found := re.search(r'"url": "(http[^"]+)"', line):
                    return found[1]
            time.sleep(0.05)
        self.kill()
        raise AssertionError("".join(self.log))

    def entries(self, event: str) -> list[dict[str, object]]:
        """Its log entries of one kind."""
        entries = [json.loads(line) for line in list(self.log) if line.startswith("{")]
        return [entry for entry in entries if entry["event"] == event]

    def kill(self) -> None:
        """Kill it with SIGKILL, if it still runs."""
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """End it with SIGTERM; its exit status."""
        return self._end(signal.SIGTERM)

    def _end(self, how: signal.Signals) -> int:
        self.process.send_signal(how)
        status = self.process.wait(90)
        self._reader.join()
        assert self.process.stderr is not None
        self.process.stderr.close()
        return status
