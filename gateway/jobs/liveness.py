"""Which workers live: each holds a lock that the system releases when its process or its machine dies.

No clocks and no heartbeats: a worker that was killed a moment ago is known to be dead now, and a slow one is not
mistaken for a dead one.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import psycopg

__all__ = ["FileLocks", "Liveness", "PostgresLocks"]


class Liveness(Protocol):
    """Locks under the names of workers; methods block, and are called from one thread at a time."""

    def hold(self) -> None:
        """Take this worker's lock, or make sure that it is still held."""

    @contextmanager
    def if_dead(self, worker: str) -> Iterator[bool]:
        """Whether another worker is dead; if so, its lock is held within the block, so that one worker inherits.

        Args:
            worker: Its name.
        """

    def close(self) -> None:
        """Release this worker's lock."""


class FileLocks:
    """Locked files in a folder that all workers of one machine share.

    Args:
        folder: Created if missing.
        worker: Name of this worker.
    """

    def __init__(self, folder: Path, worker: str) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder = folder
        self._own = folder / worker
        self._descriptor: int | None = None

    def hold(self) -> None:
        """Lock this worker's file."""
        if self._descriptor is None:
            descriptor = os.open(self._own, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            self._descriptor = descriptor

    @contextmanager
    def if_dead(self, worker: str) -> Iterator[bool]:
        """Try the other's lock; a file that is not there is held by nobody."""
        path = self._folder / worker
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            yield False
            return
        try:
            yield True
            path.unlink(missing_ok=True)
        finally:
            os.close(descriptor)

    def close(self) -> None:
        """Unlock and remove this worker's file."""
        if self._descriptor is not None:
            self._own.unlink(missing_ok=True)
            os.close(self._descriptor)
            self._descriptor = None


class PostgresLocks:
    """Advisory locks of database sessions, for workers on any number of machines.

    A pooler between here and the server must keep sessions apart (PgBouncer: session pooling).

    Args:
        url: ``postgresql://…``
        worker: Name of this worker.
    """

    # A session whose machine vanished ends after 10 + 3 × 5 s; the server's own defaults are two hours.
    _KEEPALIVE = "SET tcp_keepalives_idle = 10; SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 3"

    def __init__(self, url: str, worker: str) -> None:
        self._url = url
        self._own = _key(worker)
        self._session: psycopg.Connection[tuple[bool]] | None = None

    def hold(self) -> None:
        """Keep a session that holds this worker's lock.

        Raises:
            psycopg.Error: The database does not answer.
        """
        if self._session is not None:
            try:
                self._session.execute("SELECT 1")
                return
            except psycopg.Error:
                self.close()
        session: psycopg.Connection[tuple[bool]] = psycopg.connect(self._url, autocommit=True, connect_timeout=10)
        try:
            session.execute(self._KEEPALIVE)
            # Waits only while another worker, which took this one for dead, hands its jobs on.
            session.execute("SELECT pg_advisory_lock(%s)", [self._own])
        except BaseException:
            session.close()
            raise
        self._session = session

    @contextmanager
    def if_dead(self, worker: str) -> Iterator[bool]:
        """Try the other's lock."""
        assert self._session is not None
        row = self._session.execute("SELECT pg_try_advisory_lock(%s)", [_key(worker)]).fetchone()
        if row is None or not row[0]:
            yield False
            return
        try:
            yield True
        finally:
            self._session.execute("SELECT pg_advisory_unlock(%s)", [_key(worker)])

    def close(self) -> None:
        """End the session."""
        if self._session is not None:
            self._session.close()
            self._session = None


def _key(worker: str) -> int:
    """A lock's 64-bit number."""
    return int.from_bytes(hashlib.sha256(f"discgrade worker {worker}".encode()).digest()[:8], "big", signed=True)
