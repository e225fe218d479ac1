"""What a caller shows, and who that is."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

__all__ = ["ANONYMOUS", "Credentials", "Principal", "Scope"]


class Scope(StrEnum):
    """What a caller may do; none includes another."""

    GRADE = "grade"
    """Send a study and wait for its result."""
    READ = "read"
    """Fetch and list kept results."""
    JOBS = "jobs"
    """Submit jobs, and follow and cancel one's own."""
    METRICS = "metrics"
    """Scrape /metrics: counts and durations, no results."""
    ADMIN = "admin"
    """Delete results; follow and cancel the jobs of others."""


class Credentials(NamedTuple):
    """What came with a request.

    Attributes:
        authorization: The Authorization header of HTTP or the ``authorization`` metadata of gRPC.
        peer: The caller's address, where it is known.
    """

    authorization: str | None
    peer: str | None


@dataclass(frozen=True)
class Principal:
    """Who calls.

    Attributes:
        name: As written to the audit log: ``anonymous``, ``key:NAME`` or ``oidc:SUBJECT``.
        scopes: What is allowed.
    """

    name: str
    scopes: frozenset[Scope]


ANONYMOUS = Principal("anonymous", frozenset(Scope))
"""Everyone, where the door is off."""
