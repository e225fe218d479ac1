"""How work ended, as logs and metrics name it."""

from __future__ import annotations

import asyncio

from starlette.requests import ClientDisconnect

from discgrade.errors import (
    DiscgradeError,
    InputError,
    Overloaded,
    PacsFailed,
    PacsRefused,
    PacsTimeout,
    PacsUnavailable,
    ServiceError,
)

__all__ = ["CLASSES", "CLIENT_LEFT", "outcome_class", "outcome_of"]

CLIENT_LEFT = "client-closed-request"
"""The outcome of a request whose client left or whose deadline passed."""
CLASSES = ("ok", "refused", "overloaded", "error", "upstream", "left")
"""``refused`` is the sender's to change (4xx); ``overloaded`` and ``error`` are ours (5xx); ``upstream`` is a DICOMweb
server's, from which the study was to be fetched (5xx); ``left`` is nobody's."""
_UPSTREAM = (PacsFailed, PacsRefused, PacsTimeout, PacsUnavailable)


def outcome_of(failure: BaseException | None) -> str:
    """``ok``, the problem type's last part, or :data:`CLIENT_LEFT`."""
    if failure is None:
        return "ok"
    if isinstance(failure, DiscgradeError):
        return failure.slug
    return CLIENT_LEFT if isinstance(failure, (ClientDisconnect, asyncio.CancelledError)) else ServiceError.slug


def outcome_class(failure: BaseException | None) -> str:
    """One of :data:`CLASSES`."""
    if failure is None:
        return "ok"
    if isinstance(failure, InputError):
        return "refused"
    if isinstance(failure, Overloaded):
        return "overloaded"
    if isinstance(failure, _UPSTREAM):
        return "upstream"
    return "left" if isinstance(failure, (ClientDisconnect, asyncio.CancelledError)) else "error"
