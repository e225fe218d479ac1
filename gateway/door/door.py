"""The door every request passes, whatever way it comes in."""

from __future__ import annotations

from typing import Protocol

from gateway.door.principal import ANONYMOUS, Credentials, Principal, Scope

__all__ = ["Door", "OpenDoor"]


class Door(Protocol):
    """Lets callers in, or says why not."""

    async def admit(self, credentials: Credentials, scope: Scope | None) -> Principal:
        """Name the caller, and count the call against its rate.

        Args:
            credentials: What came with the request.
            scope: What the caller wants to do; None admits every known caller.

        Raises:
            discgrade.errors.Unauthenticated: No credentials, or none that are valid here and now.
            discgrade.errors.Forbidden: The credentials do not have the scope.
            discgrade.errors.RateLimited: The caller called too often.
            discgrade.errors.ServiceError: The issuer's keys cannot be fetched.
        """


class OpenDoor:
    """Admits everyone as ``anonymous`` with every scope."""

    async def admit(self, credentials: Credentials, scope: Scope | None) -> Principal:
        """Admit without looking."""
        return ANONYMOUS
