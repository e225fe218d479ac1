"""Access tokens of an OpenID Connect issuer: JSON Web Tokens (RFC 7519) signed with a key it publishes (RFC 7517)."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import httpx
import jwt
from anyio import CapacityLimiter, to_thread

from discgrade.errors import IssuerUnavailable, Unauthenticated
from gateway.door.principal import Principal, Scope

__all__ = ["SCOPE_PREFIX", "Issuer", "is_confidential"]

SCOPE_PREFIX = "discgrade:"
"""What a scope begins with in a token: ``discgrade:grade``."""

_MAX_TOKEN_CHARACTERS = 8192
_MAX_SUBJECT_CHARACTERS = 128
_REQUIRED = ["exp", "iat", "iss", "aud", "sub"]
_THREADS = 4
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


class Issuer:
    """Verifies tokens; the issuer's keys are fetched when first needed, kept, and fetched again as they rotate.

    Args:
        issuer: URL that tokens name as ``iss``; its configuration is found below it (OpenID Connect Discovery 1.0).
        audience: What tokens name as ``aud``: this service.
        algorithms: Signatures that are accepted; asymmetric ones only.
        scope_claim: The claim with the scopes: words in a string, or a list.
        leeway_seconds: Clocks may differ by so much.
        keep_seconds: Age at which the issuer's keys are fetched again.
        cooldown_seconds: Least time between fetches for a key that is not known: forged tokens must not cause one each.
        timeout_seconds: Longest wait for the issuer.
    """

    def __init__(
        self,
        issuer: str,
        audience: str,
        algorithms: Sequence[str],
        scope_claim: str,
        *,
        leeway_seconds: float = 30.0,
        keep_seconds: float = 300.0,
        cooldown_seconds: float = 10.0,
        timeout_seconds: float = 5.0,
    ) -> None:
        self._issuer = issuer
        self._audience = audience
        self._algorithms = list(algorithms)
        self._scope_claim = scope_claim
        self._leeway = leeway_seconds
        self._keep = keep_seconds
        self._cooldown = cooldown_seconds
        self._timeout = timeout_seconds
        self._keys: jwt.PyJWKClient | None = None
        self._discovering = threading.Lock()
        self._threads = CapacityLimiter(_THREADS)  # a slow issuer must not take the threads that grade

    async def verify(self, token: str) -> Principal:
        """Name the caller a token was issued to.

        Raises:
            Unauthenticated: The token is not one of this issuer for this service, valid now.
            IssuerUnavailable: The issuer's keys cannot be fetched.
        """
        if len(token) > _MAX_TOKEN_CHARACTERS:
            raise Unauthenticated("The access token is too long.")
        return await to_thread.run_sync(partial(self._verify, token), limiter=self._threads)

    def _verify(self, token: str) -> Principal:
        try:
            header = jwt.get_unverified_header(token)
            if header.get("alg") not in self._algorithms:
                raise Unauthenticated("The access token is not signed with an algorithm that is accepted here.")
            claims = jwt.decode(
                token,
                self._key(header.get("kid")),
                algorithms=self._algorithms,
                audience=self._audience,
                issuer=self._issuer,
                leeway=self._leeway,
                options={"require": _REQUIRED},
            )
        except jwt.ExpiredSignatureError:
            raise Unauthenticated("The access token has expired.", "Fetch a new one from the issuer.") from None
        except jwt.PyJWTError:  # its text may quote the token
            raise Unauthenticated("The access token is not valid here.") from None
        subject = str(claims["sub"])
        if not 0 < len(subject) <= _MAX_SUBJECT_CHARACTERS:
            raise Unauthenticated("The access token names no usable subject.")
        return Principal(f"oidc:{subject}", _scopes(claims.get(self._scope_claim)))

    def _key(self, key_id: object) -> jwt.PyJWK:
        if not isinstance(key_id, str):
            raise Unauthenticated("The access token does not name the key it is signed with.")
        try:
            return self._client().get_signing_key(key_id)
        except (jwt.PyJWKClientConnectionError, jwt.PyJWKSetError, ValueError, OSError):
            raise IssuerUnavailable("The keys of the issuer of access tokens cannot be fetched.") from None

    def _client(self) -> jwt.PyJWKClient:
        with self._discovering:
            if self._keys is None:
                self._keys = jwt.PyJWKClient(
                    self._discover(),
                    lifespan=self._keep,
                    timeout=self._timeout,
                    cooldown_duration=self._cooldown,
                )
            return self._keys

    def _discover(self) -> str:
        """The address of the issuer's keys, as its configuration says."""
        url = f"{self._issuer.rstrip('/')}/.well-known/openid-configuration"
        try:
            answer = httpx.get(url, timeout=self._timeout).raise_for_status().json()
        except (httpx.HTTPError, ValueError):
            raise IssuerUnavailable("The configuration of the issuer of access tokens cannot be fetched.") from None
        address = answer.get("jwks_uri") if isinstance(answer, dict) and answer.get("issuer") == self._issuer else None
        if not isinstance(address, str) or not is_confidential(address):
            raise IssuerUnavailable("The configuration of the issuer of access tokens is not usable.")
        return address


def is_confidential(url: str) -> bool:
    """Whether an address is read over TLS, or does not leave this machine."""
    parts = urlsplit(url)
    return parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK)


def _scopes(claim: Any) -> frozenset[Scope]:
    """The scopes of ours that a claim names; others' are left out."""
    words = claim.split() if isinstance(claim, str) else claim if isinstance(claim, list) else []
    ours = {scope.value: scope for scope in Scope}
    named = (
        word.removeprefix(SCOPE_PREFIX) for word in words if isinstance(word, str) and word.startswith(SCOPE_PREFIX)
    )
    return frozenset(ours[name] for name in named if name in ours)
