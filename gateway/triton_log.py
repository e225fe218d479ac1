"""What tritonserver and its Python stubs write, passed on to the structured log."""

from __future__ import annotations

import re
import threading
from collections import deque
from typing import IO

import structlog

from gateway import triton_guard

__all__ = ["ServerLog"]

_GLOG = re.compile(r"^([IWEF])\d{4} [\d:.]+ \d+ [^\]]+\] ?(.*)$")
_LEVELS = {"I": "info", "W": "warning", "E": "error", "F": "critical"}
_OF_GPUS = re.compile("cuda|pinned", re.IGNORECASE)  # complaints that there is none: the embedded server wants none
_log = structlog.get_logger("tritonserver")


class ServerLog:
    """Reads a server's output in a thread of its own until it ends.

    Args:
        stream: Standard output and error of the server; closed at its end.
    """

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._tail: deque[str] = deque(maxlen=40)
        self._thread = threading.Thread(target=self._read, name="tritonserver-log", daemon=True)
        self._thread.start()

    def tail(self, wait_seconds: float) -> str:
        """The last lines, after waiting so long for the output to end."""
        self._thread.join(wait_seconds)
        return "\n".join(self._tail)

    def _read(self) -> None:
        with self._stream:
            for raw in self._stream:
                line = raw.decode(errors="replace").rstrip()
                if not line or line[0] in "+|":
                    continue  # tables that say again what the lines before them said
                self._tail.append(line)
                _pass_on(line)


def _pass_on(line: str) -> None:
    found = _GLOG.match(line)
    message = found[2].strip('"') if found else line
    if line.startswith(triton_guard.PREFIX):
        _log.error(message)
    elif found is None or not message or _OF_GPUS.search(message):
        _log.debug(message)
    else:
        getattr(_log, _LEVELS[found[1]])(message)
