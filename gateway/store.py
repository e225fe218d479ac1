"""Results and spooled uploads on disk, under names that say nothing.

::

    data_dir/
    ├── spool/<process>/<upload>/    uploads being read; gone when the request ends, swept at the next start
    └── results/<result_id>/         result.json, segmentation.nii.gz, overlay.png
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from discgrade.errors import NotFound

__all__ = ["OVERLAY", "RESULT", "SEGMENTATION", "ResultStore", "new_result_id"]

RESULT = "result.json"
SEGMENTATION = "segmentation.nii.gz"
OVERLAY = "overlay.png"

_RESULT_ID = re.compile(r"[0-9a-f]{32}")
_PRIVATE = 0o700


def new_result_id() -> str:
    """A result id that cannot be guessed: 122 random bits (UUID version 4, RFC 9562) as 32 hexadecimal digits."""
    return uuid.uuid4().hex


class ResultStore:
    """Keeps results for a while, and uploads only as long as their request.

    Args:
        data_dir: Created if missing, readable by its owner only.
        keep_results: Most results kept; the oldest are removed first.
        keep_seconds: Age in seconds at which a result is removed.
    """

    def __init__(self, data_dir: Path, keep_results: int, keep_seconds: float) -> None:
        self._results = data_dir / "results"
        self._spool_root = data_dir / "spool"
        self._keep_results = keep_results
        self._keep_seconds = keep_seconds
        for folder in (data_dir, self._results, self._spool_root):
            folder.mkdir(mode=_PRIVATE, parents=True, exist_ok=True)
        self._spool, self._lock = self._claim_spool()

    def close(self) -> None:
        """Remove this process's spool."""
        shutil.rmtree(self._spool, ignore_errors=True)
        os.close(self._lock)

    def new_spool(self) -> Path:
        """Make an empty folder for one upload; the caller gives it to :meth:`discard`."""
        folder = self._spool / uuid.uuid4().hex
        folder.mkdir(mode=_PRIVATE)
        return folder

    def discard(self, folder: Path) -> None:
        """Remove a spool folder and all in it."""
        shutil.rmtree(folder, ignore_errors=True)

    def save(self, result_id: str, artefacts: dict[str, bytes]) -> None:
        """Keep a result: all of its files appear at once, or none.

        Args:
            result_id: From :func:`new_result_id`.
            artefacts: File name (one of this module's constants) to contents.
        """
        staging = self.new_spool()
        try:
            for name, content in artefacts.items():
                (staging / name).write_bytes(content)
            staging.rename(self._results / result_id)
        except BaseException:
            self.discard(staging)
            raise
        self.sweep()

    def load(self, result_id: str, name: str) -> bytes:
        """Read one file of a result.

        Raises:
            NotFound: No such result, or removed by age.
        """
        if _RESULT_ID.fullmatch(result_id):
            try:
                return (self._results / result_id / name).read_bytes()
            except FileNotFoundError:
                pass
        raise NotFound("There is no result with this id.")

    def sweep(self) -> None:
        """Remove results past their age or number."""
        aged: list[tuple[float, str]] = []
        with os.scandir(self._results) as entries:
            for entry in entries:
                try:
                    aged.append((entry.stat().st_mtime, entry.name))
                except FileNotFoundError:  # another process sweeps too
                    continue
        aged.sort(reverse=True)
        oldest = time.time() - self._keep_seconds
        for position, (modified, name) in enumerate(aged):
            if position >= self._keep_results or modified < oldest:
                doomed = self._spool / uuid.uuid4().hex
                try:  # out of sight at once, so that nobody reads half a result
                    (self._results / name).rename(doomed)
                except FileNotFoundError:
                    continue
                self.discard(doomed)

    def _claim_spool(self) -> tuple[Path, int]:
        """Lock a spool folder for this process; remove those whose process died, with the uploads they left."""
        with _locked(self._spool_root):
            for left in self._spool_root.iterdir():
                descriptor = os.open(left, os.O_RDONLY)
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(left, ignore_errors=True)
                except BlockingIOError:  # its process lives
                    pass
                finally:
                    os.close(descriptor)
            own = self._spool_root / uuid.uuid4().hex
            own.mkdir(mode=_PRIVATE)
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
