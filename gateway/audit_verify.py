"""Checks the chain of an audit log, and says where it breaks."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from dataclasses import dataclass
from pathlib import Path

from gateway.audit import FIRST

__all__ = ["Break", "Verification", "verify"]

_MAC = re.compile(rb',"mac":"([0-9a-f]{64})"}$')


@dataclass(frozen=True)
class Break:
    """Where the chain does not hold.

    Attributes:
        line: Line of the file, from 1; one past the last where lines are missing at the end.
        reason: What is wrong, in a sentence.
    """

    line: int
    reason: str


@dataclass(frozen=True)
class Verification:
    """What the log holds.

    Attributes:
        entries: Whole lines up to the break, or in all.
        torn: Lines of the file that a crash cut off before they were acknowledged.
        head: ``NUMBER:MAC`` of the last whole line; note it elsewhere to find out later whether lines are missing.
        broken: The first break; None where the log is whole.
    """

    entries: int
    torn: tuple[int, ...]
    head: str
    broken: Break | None


def verify(log: Path, key: bytes, head: str | None = None) -> Verification:
    """Read a log from its beginning.

    Args:
        log: The file; read as a stream.
        key: From :func:`gateway.audit.audit_key`.
        head: ``NUMBER:MAC`` noted earlier, which the log must still hold.

    Raises:
        OSError: The file cannot be read.
    """
    number, previous, position = 0, FIRST, 0
    torn: list[int] = []
    missing = head
    with log.open("rb") as lines:
        for position, line in enumerate(lines, start=1):
            fields = _fields(line)
            if fields is None:
                torn.append(position)
                continue
            reason = _wrong(line, fields, key, number + 1, previous)
            if reason is not None:
                return Verification(number, tuple(torn), f"{number}:{previous}", Break(position, reason))
            number, previous = number + 1, str(fields["mac"])
            if head == f"{number}:{previous}":
                missing = None
    broken = None
    if missing is not None:
        broken = Break(position + 1, "The line noted as the head is not in this log.")
    return Verification(number, tuple(torn), f"{number}:{previous}", broken)


def _fields(line: bytes) -> dict[str, object] | None:
    """The line's content; None where it is cut off, as a crash leaves it."""
    try:
        fields = json.loads(line)
    except ValueError:
        return None
    return fields if isinstance(fields, dict) and "mac" in fields else None


def _wrong(line: bytes, fields: dict[str, object], key: bytes, number: int, previous: str) -> str | None:
    found = _MAC.search(line.rstrip(b"\n"))
    if found is None:
        return "The line does not end with its mac."
    genuine = hmac.new(key, line[: found.start()], hashlib.sha256).hexdigest().encode()
    if not hmac.compare_digest(genuine, found[1]):
        return "The line was changed, or sealed with another key."
    if fields.get("prev") != previous:
        return "Lines before this one were removed, moved or changed."
    if fields.get("n") != number:
        return f"The line is number {fields.get('n')} where {number} is due."
    return None
