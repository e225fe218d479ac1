"""Local scratch folders of one process, gone when it ends however it ends.

::

    root/<process>/<upload>/    the process holds a lock on its folder; those without are swept at the next start
"""

from __future__ import annotations

import fcntl
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["PRIVATE", "Spool"]

PRIVATE = 0o700
"""Mode of every folder: for its owner only."""


class Spool:
    """Makes scratch folders.

    Args:
        root: Created if missing; shared by all processes of one machine.
    """

    def __init__(self, root: Path) -> None:
        root.mkdir(mode=PRIVATE, parents=True, exist_ok=True)
        self._folder, self._lock = _claim(root)

    def close(self) -> None:
        """Remove this process's folders."""
        shutil.rmtree(self._folder, ignore_errors=True)
        os.close(self._lock)

    def path(self) -> Path:
        """A path that is not taken yet."""
        return self._folder / uuid.uuid4().hex

    def new(self) -> Path:
        """Make an empty folder."""
        folder = self.path()
        folder.mkdir(mode=PRIVATE)
        return folder

    def discard(self, folder: Path) -> None:
        """Remove a folder and all in it."""
        shutil.rmtree(folder, ignore_errors=True)


def _claim(root: Path) -> tuple[Path, int]:
    """Lock a folder for this process; remove those whose process died, with what they left."""
    with _locked(root):
        for left in root.iterdir():
            descriptor = os.open(left, os.O_RDONLY)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(left, ignore_errors=True)
            except BlockingIOError:  # its process lives
                pass
            finally:
                os.close(descriptor)
        own = root / uuid.uuid4().hex
        own.mkdir(mode=PRIVATE)
        descriptor = os.open(own, os.O_RDONLY)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    return own, descriptor


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
