"""The door in front of FastAPI's routes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from discgrade.errors import DiscgradeError
from gateway.door.principal import Credentials, Principal, Scope
from gateway.uploads import drain

if TYPE_CHECKING:
    from gateway.app import Services

__all__ = ["principal_of", "requires"]

_BEARER = HTTPBearer(
    auto_error=False,
    scheme_name="bearer",
    description="An API key or an access token; not needed where the operator switched the door off.",
)


def requires(scope: Scope | None) -> Callable[..., Awaitable[None]]:
    """Make a dependency that admits callers with a scope, before anything of the request's body is read.

    Args:
        scope: What the route needs; None admits every known caller.
    """

    async def admit(
        request: Request, _: Annotated[HTTPAuthorizationCredentials | None, Depends(_BEARER)] = None
    ) -> None:
        services: Services = request.state.services
        peer = request.client.host if request.client else None
        try:
            credentials = Credentials(request.headers.get("authorization"), peer)
            request.state.principal = await services.door.admit(credentials, scope)
        except DiscgradeError:
            await drain(request)
            raise

    return admit


def principal_of(request: Request) -> Principal:
    """Who was admitted to this request."""
    principal: Principal = request.state.principal
    return principal
