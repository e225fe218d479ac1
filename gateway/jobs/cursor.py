"""Where a page of jobs ended, as a text that the client hands back.

Jobs are ordered by the database's time of their creation, which is exact to the millisecond or, in SQLite, to the
second. So a cursor holds that time, and which of its jobs were shown already.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol, TypeVar

from discgrade.errors import InvalidRequest

__all__ = ["Cursor", "parse"]

_TIME_BYTES = 8
_ID_BYTES = 6
"""Enough of a job's id to tell the jobs of one second apart."""


class _Created(Protocol):
    workflow_id: str
    created_at: int | None


T = TypeVar("T", bound=_Created)


@dataclass(frozen=True)
class Cursor:
    """The end of a page.

    Attributes:
        milliseconds: When the page's last job was created, since the epoch; None before the first page.
        seen: Beginnings of the ids of the jobs of that time that were shown.
    """

    milliseconds: int | None = None
    seen: frozenset[str] = frozenset()

    @property
    def end_time(self) -> str | None:
        """The newest time of the next page, in ISO 8601."""
        if self.milliseconds is None:
            return None
        # Half a millisecond more: dbos turns it into a number of milliseconds by cutting off.
        return datetime.fromtimestamp((self.milliseconds + 0.5) / 1000, UTC).isoformat()

    def skip(self, rows: Sequence[T]) -> list[T]:
        """Leave out what was shown."""
        return [row for row in rows if row.created_at != self.milliseconds or _beginning(row) not in self.seen]

    def next(self, shown: Sequence[_Created]) -> str:
        """The cursor behind a page that is not empty."""
        last = shown[-1].created_at
        assert last is not None
        seen = {_beginning(row) for row in shown if row.created_at == last}
        if last == self.milliseconds:
            seen |= self.seen
        raw = last.to_bytes(_TIME_BYTES, "big") + b"".join(bytes.fromhex(beginning) for beginning in sorted(seen))
        return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def parse(text: str | None) -> Cursor:
    """Read a cursor.

    Raises:
        InvalidRequest: It is not one of ours.
    """
    if text is None:
        return Cursor()
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        milliseconds = int.from_bytes(raw[:_TIME_BYTES], "big")
        ids = raw[_TIME_BYTES:]
        if len(raw) < _TIME_BYTES or len(ids) % _ID_BYTES:
            raise ValueError
        datetime.fromtimestamp(milliseconds / 1000 + 1, UTC)
    except (ValueError, OverflowError, OSError, binascii.Error):
        raise InvalidRequest("The cursor is not one of this server's.", "Begin again without a cursor.") from None
    seen = frozenset(ids[start : start + _ID_BYTES].hex() for start in range(0, len(ids), _ID_BYTES))
    return Cursor(milliseconds, seen)


def _beginning(row: _Created) -> str:
    return row.workflow_id[: 2 * _ID_BYTES]
