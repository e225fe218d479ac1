"""Times what a storage does."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import ParamSpec, TypeVar

from discgrade.errors import NotFound
from gateway.storage.interface import KeptUpload, Storage
from gateway.telemetry.traffic import Traffic

__all__ = ["MeasuredStorage"]

P = ParamSpec("P")
T = TypeVar("T")


class MeasuredStorage:
    """A :class:`gateway.storage.Storage` that passes everything on, and counts it.

    Args:
        storage: What does the work.
        traffic: Where it is counted.
    """

    def __init__(self, storage: Storage, traffic: Traffic) -> None:
        self._storage = storage
        self._traffic = traffic
        self.new_spool = storage.new_spool
        self.discard = storage.discard
        self.sweep = storage.sweep
        self.close = storage.close

    def save(self, result_id: str, artefacts: dict[str, bytes]) -> None:
        """Keep a result."""
        self._timed("save", self._storage.save, result_id, artefacts)
        self._traffic.stored_bytes.inc(sum(map(len, artefacts.values())))

    def add(self, result_id: str, name: str, content: bytes) -> bytes:
        """Keep one more file of a result."""
        return self._timed("add", self._storage.add, result_id, name, content)

    def load(self, result_id: str, name: str) -> bytes:
        """Read one file of a result."""
        return self._timed("load", self._storage.load, result_id, name)

    def delete(self, result_id: str) -> None:
        """Remove a result."""
        self._timed("delete", self._storage.delete, result_id)

    def put_upload(self, upload_id: str, spool: Path) -> None:
        """Keep the files of a job."""
        self._timed("put_upload", self._storage.put_upload, upload_id, spool)

    def get_upload(self, upload_id: str, folder: Path) -> list[Path]:
        """The files of a job."""
        return self._timed("get_upload", self._storage.get_upload, upload_id, folder)

    def delete_upload(self, upload_id: str) -> None:
        """Remove the files of a job."""
        self._timed("delete_upload", self._storage.delete_upload, upload_id)

    def uploads(self) -> Iterable[KeptUpload]:
        """Every upload that is kept."""
        return self._storage.uploads()

    def _timed(self, operation: str, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        started, outcome = time.perf_counter(), "error"
        try:
            done = work(*args, **kwargs)
            outcome = "ok"
            return done
        except NotFound:
            outcome = "missing"
            raise
        finally:
            seconds = time.perf_counter() - started
            self._traffic.storage_seconds.labels(operation, outcome).observe(seconds)
