"""What pseudonyms stand for, where an operator wants to get back: one line of JSON each, for its owner only."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock

__all__ = ["Mapping"]

_PRIVATE = 0o600
_PRIVATE_FOLDER = 0o700


class Mapping:
    """A file that only grows; several processes and threads may share it.

    Args:
        path: Made with the first pseudonym; its folder is made if it is missing.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known: set[str] = set()
        self._lock = Lock()

    def record(self, learnt: Iterable[tuple[str, str, str]]) -> None:
        """Keep pseudonyms, durably when this returns; each is written once by each process.

        Args:
            learnt: Attribute, original and pseudonym.
        """
        with self._lock:
            fresh = {
                pseudonym: (what, original) for what, original, pseudonym in learnt if pseudonym not in self._known
            }
            if not fresh:
                return
            lines = "".join(
                json.dumps({"pseudonym": pseudonym, "attribute": what, "original": original}) + "\n"
                for pseudonym, (what, original) in fresh.items()
            )
            with self._opened() as file:
                os.write(file, lines.encode())
                os.fsync(file)
            self._known.update(fresh)

    def find(self, pseudonym: str) -> tuple[str, str] | None:
        """The attribute and the original that a pseudonym stands for; None where it is not known here."""
        if not self._path.exists():
            return None
        return next(((what, original) for known, what, original in self._lines() if known == pseudonym), None)

    def _lines(self) -> Iterator[tuple[str, str, str]]:
        with self._path.open(encoding="utf-8") as file:
            for line in file:
                if line.endswith("\n"):  # else it was cut off
                    entry = json.loads(line)
                    yield entry["pseudonym"], entry["attribute"], entry["original"]

    @contextmanager
    def _opened(self) -> Iterator[int]:
        self._path.parent.mkdir(mode=_PRIVATE_FOLDER, parents=True, exist_ok=True)
        file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, _PRIVATE)
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield file
        finally:
            os.close(file)
