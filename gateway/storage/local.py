"""Storage in a local folder, or one that several machines mount.

::

    data_dir/
    ├── spool/<process>/<upload>/    uploads being read; gone when the request ends, swept at the next start
    ├── uploads/<upload_id>/         uploads of jobs, until the job ended
    └── results/<result_id>/         result.json, segmentation.nii.gz, image.nii.gz, …; later what was added
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from discgrade.errors import NotFound
from gateway.storage.interface import KeptUpload, is_id
from gateway.storage.spool import PRIVATE, Spool

__all__ = ["LocalStorage"]

_FLUSHERS = 8


class LocalStorage:
    """A :class:`~gateway.storage.Storage` in one file system, which must rename folders atomically (POSIX).

    Args:
        data_dir: Created if missing, readable by its owner only.
        keep_results: Most results kept; the oldest are removed first.
        keep_seconds: Age in seconds at which a result is removed.
    """

    def __init__(self, data_dir: Path, keep_results: int, keep_seconds: float) -> None:
        self._results = data_dir / "results"
        self._uploads = data_dir / "uploads"
        self._keep_results = keep_results
        self._keep_seconds = keep_seconds
        for folder in (data_dir, self._results, self._uploads):
            folder.mkdir(mode=PRIVATE, parents=True, exist_ok=True)
        self._spool = Spool(data_dir / "spool")
        # A disk takes some milliseconds to say that all is on it, for many files as for one.
        self._flushers = ThreadPoolExecutor(_FLUSHERS, thread_name_prefix="flush")

    def close(self) -> None:
        """Remove this process's spool folders; nothing can be kept afterwards."""
        self._flushers.shutdown()
        self._spool.close()

    def new_spool(self) -> Path:
        """Make an empty folder for one upload."""
        return self._spool.new()

    def discard(self, folder: Path) -> None:
        """Remove a spool folder and all in it."""
        self._spool.discard(folder)

    def save(self, result_id: str, artefacts: dict[str, bytes]) -> None:
        """Keep a result, durably: all of its files appear at once, or none."""
        staging = self.new_spool()
        try:
            for name, content in artefacts.items():
                (staging / name).write_bytes(content)
            self._publish(staging, self._results / result_id)
        finally:
            self.discard(staging)

    def add(self, result_id: str, name: str, content: bytes) -> bytes:
        """Keep one more file of a result; the first that is kept stays."""
        if not is_id(result_id):
            raise NotFound("There is no result with this id.")
        folder = self._results / result_id
        staged = self._spool.path()
        staged.write_bytes(content)
        _flush(staged)
        try:
            before = folder.stat()
            os.link(staged, folder / name)
            os.utime(folder, ns=(before.st_atime_ns, before.st_mtime_ns))  # its age is the result's
        except FileExistsError:
            pass
        except FileNotFoundError:
            raise NotFound("There is no result with this id.") from None
        finally:
            staged.unlink()
        return self.load(result_id, name)

    def load(self, result_id: str, name: str) -> bytes:
        """Read one file of a result."""
        if is_id(result_id):
            try:
                return (self._results / result_id / name).read_bytes()
            except FileNotFoundError:
                pass
        raise NotFound("There is no result with this id.")

    def delete(self, result_id: str) -> None:
        """Remove a result for good."""
        if not is_id(result_id) or not self._remove(self._results / result_id):
            raise NotFound("There is no result with this id.")

    def put_upload(self, upload_id: str, spool: Path) -> None:
        """Keep the files of a spool folder for a job, durably."""
        self._publish(spool, self._uploads / upload_id)

    def get_upload(self, upload_id: str, folder: Path) -> list[Path]:
        """The files of an upload where they lie, in order; ``folder`` is not needed."""
        if is_id(upload_id):
            try:
                return sorted((self._uploads / upload_id).iterdir())
            except FileNotFoundError:
                pass
        raise NotFound("There is no upload with this id.")

    def delete_upload(self, upload_id: str) -> None:
        """Remove an upload; nothing happens if it is not there."""
        if is_id(upload_id):
            self._remove(self._uploads / upload_id)

    def uploads(self) -> Iterator[KeptUpload]:
        """Every upload that is kept."""
        now = time.time()
        for modified, name in _aged(self._uploads):
            yield KeptUpload(name, now - modified)

    def sweep(self) -> None:
        """Remove results past their age or number."""
        oldest = time.time() - self._keep_seconds
        for position, (modified, name) in enumerate(sorted(_aged(self._results), reverse=True)):
            if position >= self._keep_results or modified < oldest:
                self._remove(self._results / name)

    def _publish(self, folder: Path, target: Path) -> None:
        """Move a folder to its place: after a power cut it is there whole or not at all."""
        list(self._flushers.map(_flush, [*folder.iterdir(), folder]))
        try:
            folder.rename(target)
        except OSError as error:
            if error.errno not in {errno.ENOTEMPTY, errno.EEXIST}:
                raise
        _flush(target.parent)

    def _remove(self, folder: Path) -> bool:
        """Take a folder out of sight at once, so that nobody reads half of it, then remove it; False if not there."""
        doomed = self._spool.path()
        try:
            folder.rename(doomed)
        except FileNotFoundError:
            return False
        self.discard(doomed)
        return True


def _aged(folder: Path) -> list[tuple[float, str]]:
    """Time of change in s since the epoch, and name, of what lies in a folder."""
    found: list[tuple[float, str]] = []
    with os.scandir(folder) as entries:
        for entry in entries:
            try:
                found.append((entry.stat().st_mtime, entry.name))
            except FileNotFoundError:  # another process sweeps too
                continue
    return found


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
