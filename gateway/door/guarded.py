"""A door that asks for credentials."""

from __future__ import annotations

import math
import time

from limits import RateLimitItem, RateLimitItemPerMinute, parse
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

from discgrade.errors import DiscgradeError, Forbidden, RateLimited, ServiceError, Unauthenticated
from gateway.audit import Audit, Entry
from gateway.door.keys import KEY_PREFIX, KeyFile
from gateway.door.oidc import Issuer
from gateway.door.principal import Credentials, Principal, Scope

__all__ = ["GuardedDoor"]

_REFUSALS = RateLimitItemPerMinute(30)
"""How many refusals of one caller, or of all unknown ones, are audited: a flood must not fill the disk."""


class GuardedDoor:
    """Admits the holders of API keys and of an issuer's access tokens, each as often as its rate allows.

    Rates are counted in this process: behind n gateways a caller has n times its rate.

    Args:
        keys: The API keys.
        issuer: Verifies access tokens; None accepts none.
        rate: Calls in a time of one caller, such as ``600/minute``; a key may have its own.
        audit: Where refusals are recorded.
    """

    def __init__(self, keys: KeyFile, issuer: Issuer | None, rate: str, audit: Audit) -> None:
        self._keys = keys
        self._issuer = issuer
        self._rate = parse(rate)
        self._audit = audit
        self._calls = MovingWindowRateLimiter(MemoryStorage())

    async def admit(self, credentials: Credentials, scope: Scope | None) -> Principal:
        """Name the caller; see :meth:`gateway.door.Door.admit`."""
        who, bucket = f"unknown@{credentials.peer or 'unknown'}", "unknown"
        try:
            principal, rate = await self._identify(credentials.authorization)
            who = bucket = principal.name
            if not self._calls.hit(rate, "calls", who):
                reset = self._calls.get_window_stats(rate, "calls", who).reset_time - time.time()
                raise RateLimited(
                    f"These credentials allow {rate.amount} calls per {rate.multiples} {rate.GRANULARITY.name}.",
                    retry_after_seconds=max(1.0, math.ceil(reset)),
                )
            if scope is not None and scope not in principal.scopes:
                raise Forbidden(f"The scope '{scope}' is needed.")
        except ServiceError:
            raise
        except DiscgradeError as error:
            if self._calls.hit(_REFUSALS, "refusals", bucket):
                await self._audit.record(who, f"enter {scope or 'any'}", Entry(), error.slug, None)
            raise
        return principal

    async def _identify(self, authorization: str | None) -> tuple[Principal, RateLimitItem]:
        scheme, _, token = (authorization or "").partition(" ")
        token = token.strip()
        if scheme.lower() != "bearer" or not token:
            raise Unauthenticated("The request carries no credentials.")
        if token.startswith(KEY_PREFIX):
            if (key := self._keys.find(token)) is None:
                raise Unauthenticated("This API key is not known here, or was revoked.")
            return Principal(f"key:{key.name}", key.scopes), parse(key.rate) if key.rate else self._rate
        if self._issuer is None:
            raise Unauthenticated("These credentials are not known here.")
        return await self._issuer.verify(token), self._rate
