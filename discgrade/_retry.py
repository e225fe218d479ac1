"""When a client tries again, and how long it waits before."""

from __future__ import annotations

import random
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from http import HTTPStatus

from discgrade.errors import DiscgradeError

__all__ = ["NO_RETRY", "Retry", "retry_after_seconds"]

_AGAIN = frozenset({HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE})


@dataclass(frozen=True)
class Retry:
    """How often and after how long a request is repeated that was answered with 429 or 503, or not at all.

    All requests of the API may be repeated: a study graded twice gives the same result, and a job that is submitted
    again under its idempotency key is the same job.

    Attributes:
        attempts: Requests in all.
        first_seconds: Wait before the second; each further one is twice as long.
        longest_seconds: Longest wait. A server that asks for more gets no further request.
    """

    attempts: int = 4
    first_seconds: float = 0.5
    longest_seconds: float = 120.0

    def wait(self, attempt: int, error: DiscgradeError) -> float | None:
        """Seconds to wait after an attempt that failed; None to give up.

        At least what the server asks for (``Retry-After``), and random on top, so that clients that were refused
        together do not come back together (full jitter).

        Args:
            attempt: Number of the attempt, from 1.
            error: How it failed.
        """
        if attempt >= self.attempts or error.status not in _AGAIN:
            return None
        asked = error.retry_after_seconds or 0.0
        if asked > self.longest_seconds:
            return None
        own = min(self.first_seconds * 2.0 ** (attempt - 1), self.longest_seconds)
        return min(asked + random.uniform(0.0, own), self.longest_seconds)


NO_RETRY = Retry(attempts=1)


def retry_after_seconds(header: str | None, date: str | None) -> float | None:
    """Read a ``Retry-After`` header: seconds, or a date (RFC 9110, section 10.2.3).

    Args:
        header: Its value.
        date: The answer's ``Date``, from which a date is counted.
    """
    if header is None:
        return None
    if header.isdecimal():
        return float(header)
    try:
        return max((parsedate_to_datetime(header) - parsedate_to_datetime(date or "")).total_seconds(), 0.0)
    except (ValueError, TypeError):
        return None
