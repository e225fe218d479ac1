"""The audit log: who did what to which study, when, and how it ended; append-only and chained.

Each line is a JSON object whose ``mac`` is an HMAC-SHA-256 (RFC 2104, FIPS 180-4) of all that stands before it in the
line, which includes ``prev``, the ``mac`` of the line before: a line that is changed, moved, inserted or removed breaks
the chain, and only a holder of the key can mend it. Lines cut off at the end of the file are found by comparing with
the head (number and ``mac`` of the last line) noted elsewhere. UIDs are held as keyed hashes.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import hmac
import json
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import anyio
from starlette.requests import ClientDisconnect

from discgrade.errors import DiscgradeError, ServiceError
from gateway.door.principal import Principal
from gateway.key_file import read_key
from gateway.workers import Workers

__all__ = ["FIRST", "Audit", "Entry", "audit_key", "sealed"]

FIRST = "0" * 64
"""``prev`` of the first line."""

_CLIENT_LEFT = "client-closed-request"
_MAC = b',"mac":"%s"}'
_TAIL_BYTES = 8192
_PRIVATE_FILE = 0o600
_PRIVATE_FOLDER = 0o700


@dataclass
class Entry:
    """What is learnt about an action while it runs.

    Attributes:
        study_uid: Study Instance UID; only its keyed hash is written.
        result_id: The result that was made, read or deleted.
        job_id: The job that was made, followed or cancelled.
    """

    study_uid: str | None = None
    result_id: str | None = None
    job_id: str | None = None


class Audit:
    """Appends to the log; several processes and threads may share one file.

    Args:
        path: The log; its folder is made if it is missing.
        key: From :func:`audit_key`.
        workers: Threads that write.
    """

    def __init__(self, path: Path, key: bytes, workers: Workers) -> None:
        self._path = path
        self._key = key
        self._workers = workers

    def study_hash(self, study_uid: str) -> str:
        """The keyed hash that stands for a study: 32 hexadecimal digits of HMAC-SHA-256."""
        return hmac.new(self._key, b"study\0" + study_uid.encode(), hashlib.sha256).hexdigest()[:32]

    @asynccontextmanager
    async def action(self, principal: Principal, name: str, request_id: str) -> AsyncIterator[Entry]:
        """Record one action, with the outcome of the block; what cannot be recorded fails.

        Args:
            principal: Who acts.
            name: What is done: a verb, and its object where it is not a study.
            request_id: As in the request's log line.

        Yields:
            What the block fills in as it learns it.
        """
        entry = Entry()
        outcome = ServiceError.slug
        try:
            yield entry
            outcome = "ok"
        except DiscgradeError as error:
            outcome = error.slug
            raise
        except (ClientDisconnect, asyncio.CancelledError):
            outcome = _CLIENT_LEFT
            raise
        finally:
            with anyio.CancelScope(shield=True):
                await self.record(principal.name, name, entry, outcome, request_id)

    async def record(self, who: str, action: str, entry: Entry, outcome: str, request_id: str | None) -> None:
        """Append one line; when this returns, it is on disk.

        Args:
            who: The principal's name.
            action: What was done.
            entry: To what.
            outcome: ``ok``, a problem's slug, or ``client-closed-request``.
            request_id: As in the request's log line; None where no route was reached.
        """
        fields = {
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "who": who,
            "action": action,
            "study": self.study_hash(entry.study_uid) if entry.study_uid else None,
            "result": entry.result_id,
            "job": entry.job_id,
            "outcome": outcome,
            "request": request_id,
        }
        await self._workers.disk(self._append, {name: value for name, value in fields.items() if value is not None})

    def _append(self, fields: dict[str, str]) -> None:
        with _locked(self._path) as log:
            number, previous, torn = _last(log)
            # What a crash cut off stays as a line of its own, and the chain goes on from the line before it.
            line = sealed({"n": number + 1, **fields, "prev": previous}, self._key) + b"\n"
            os.write(log, b"\n" + line if torn else line)
            os.fdatasync(log)


def sealed(fields: dict[str, Any], key: bytes) -> bytes:
    """One line of the log: the fields, and a ``mac`` of their very bytes."""
    body = json.dumps(fields, separators=(",", ":")).encode()[:-1]
    return body + _MAC % hmac.new(key, body, hashlib.sha256).hexdigest().encode()


def audit_key(path: Path, log: Path) -> bytes:
    """Read the key, or make one for a log that is still to begin.

    Args:
        path: The key file: 64 hexadecimal digits, readable by its owner only.
        log: The log it belongs to.

    Raises:
        ServiceError: The log exists and its key does not, or the key is damaged.
    """
    if log.exists() and not path.exists():
        raise ServiceError("The audit log is here, but its key is not.", "Bring the key back, or move the log away.")
    return read_key(path, "the audit log")


@contextmanager
def _locked(path: Path) -> Iterator[int]:
    path.parent.mkdir(mode=_PRIVATE_FOLDER, parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, _PRIVATE_FILE)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)


def _last(log: int) -> tuple[int, str, bool]:
    """Number and mac of the last whole line, and whether an unfinished one follows it."""
    size = os.fstat(log).st_size
    wanted = _TAIL_BYTES
    while True:
        tail = os.pread(log, wanted, max(0, size - wanted))
        *lines, rest = tail.split(b"\n")
        for line in reversed([*lines, rest]):  # a line may lack nothing but its end
            with suppress(ValueError, KeyError, TypeError):
                fields = json.loads(line)
                return int(fields["n"]), str(fields["mac"]), bool(rest)
        if len(tail) == size:
            return 0, FIRST, bool(rest)
        wanted *= 2
