"""The moment at which the caller of the running task stops waiting; calls to Triton carry what is left of it."""

from __future__ import annotations

import time
from contextvars import ContextVar

__all__ = ["set_deadline", "within"]

_LEAST_SECONDS = 0.001
_deadline: ContextVar[float | None] = ContextVar("deadline", default=None)


def set_deadline(remaining_seconds: float | None) -> None:
    """Note how long the caller waits, for this task and those it starts; None is for ever."""
    _deadline.set(None if remaining_seconds is None else time.monotonic() + remaining_seconds)


def within(seconds: float) -> float:
    """The shorter of a time-out in seconds and what the caller still waits."""
    deadline = _deadline.get()
    return seconds if deadline is None else max(min(seconds, deadline - time.monotonic()), _LEAST_SECONDS)
