"""Tells a receiver that a job ended: signed, to addresses that were checked, without following redirects.

The form is that of Standard Webhooks (https://www.standardwebhooks.com): headers ``webhook-id``, ``webhook-timestamp``
and ``webhook-signature`` (``v1,`` and base64 of HMAC-SHA-256 over ``id.timestamp.body``).
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import ipaddress
import json
import socket
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import SplitResult, urlsplit

import httpx

from discgrade.errors import InvalidRequest

__all__ = ["NotDelivered", "Webhooks", "sign", "signing_key"]

_SECRET_PREFIX = "whsec_"
_LEAST_KEY_BYTES = 24
_MOST_URL_CHARACTERS = 2000
_SECONDS = 15.0
_GONE = 410


class NotDelivered(Exception):
    """The receiver did not take the message.

    Attributes:
        final: Whether trying again is of no use.
    """

    def __init__(self, why: str, *, final: bool = False) -> None:
        super().__init__(why)
        self.final = final


def signing_key(secret: str) -> bytes:
    """The key in a secret as Standard Webhooks writes it: ``whsec_`` and base64 of at least 24 bytes.

    Raises:
        ValueError: It has another form.
    """
    key = base64.b64decode(secret.removeprefix(_SECRET_PREFIX), validate=True)
    if not secret.startswith(_SECRET_PREFIX) or len(key) < _LEAST_KEY_BYTES:
        raise ValueError(f"a webhook secret is {_SECRET_PREFIX!r} and base64 of at least {_LEAST_KEY_BYTES} bytes")
    return key


def sign(key: bytes, message_id: str, timestamp: int, body: bytes) -> str:
    """The value of ``webhook-signature``.

    Args:
        key: From :func:`signing_key`.
        message_id: The value of ``webhook-id``.
        timestamp: The value of ``webhook-timestamp``, in s since the epoch.
        body: The very bytes sent.
    """
    signed = f"{message_id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()


@dataclass(frozen=True)
class Webhooks:
    """Sends messages.

    Attributes:
        key: Signs them; None sends none.
        allow_private: Whether loopback, private and link-local addresses, and plain HTTP, are allowed.
    """

    key: bytes | None
    allow_private: bool = False

    def check(self, url: str) -> None:
        """Refuse what could never be delivered; what a name stands for is checked at each delivery.

        Raises:
            InvalidRequest: Webhooks are off, or the URL is not one they are sent to.
        """
        if self.key is None:
            raise InvalidRequest("This server sends no webhooks.", "Ask for the job's state instead.")
        host = self._parsed(url).hostname or ""
        with suppress(ValueError):
            if not self.allow_private and not _is_public(ipaddress.ip_address(host)):
                raise InvalidRequest("The webhook's address is private.", "Name a receiver with a public address.")

    def _parsed(self, url: str) -> SplitResult:
        schemes = {"https", "http"} if self.allow_private else {"https"}
        advice = f"Send an absolute URL of scheme {' or '.join(sorted(schemes))}, without user name and fragment."
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            raise InvalidRequest("The webhook's URL is malformed.", advice) from None
        if parts.scheme not in schemes or not parts.hostname or port == 0:
            raise InvalidRequest("The webhook's URL is not one this server sends to.", advice)
        if parts.username is not None or parts.fragment or len(url) > _MOST_URL_CHARACTERS or not url.isascii():
            raise InvalidRequest("The webhook's URL is not one this server sends to.", advice)
        return parts

    async def send(self, url: str, message_id: str, message: dict[str, Any]) -> None:
        """Deliver one message.

        Args:
            url: The receiver.
            message_id: The same for every attempt, so that the receiver knows a repetition.
            message: Sent as JSON; free of patient data.

        Raises:
            NotDelivered: The receiver did not answer with a status of 2xx.
        """
        if self.key is None:
            raise NotDelivered("webhooks are off", final=True)
        try:
            parts = self._parsed(url)
        except InvalidRequest as error:  # the operator has become stricter since
            raise NotDelivered("not allowed", final=True) from error
        host = parts.hostname or ""
        address = await self._address(host, parts.port or (443 if parts.scheme == "https" else 80))
        body = json.dumps(message, separators=(",", ":")).encode()
        timestamp = int(time.time())
        target = httpx.URL(url)
        headers = {
            "Host": target.netloc.decode(),
            "Content-Type": "application/json",
            "webhook-id": message_id,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": sign(self.key, message_id, timestamp, body),
        }
        # The address that was checked is the one that is called: a second look-up could answer with another. No proxy
        # of the environment either, which would do that look-up; only SSL_CERT_FILE is taken from it.
        trusted = httpx.create_ssl_context()
        async with httpx.AsyncClient(
            timeout=_SECONDS, verify=trusted, trust_env=False, follow_redirects=False
        ) as client:
            request = client.build_request(
                "POST",
                target.copy_with(host=address),
                content=body,
                headers=headers,
                extensions={"sni_hostname": host},  # the certificate is that of the name
            )
            try:
                async with asyncio.timeout(_SECONDS):
                    response = await client.send(request, stream=True)  # the answer's body is never read
                    await response.aclose()
            except (httpx.HTTPError, TimeoutError) as error:
                raise NotDelivered(type(error).__name__) from error
        if not response.is_success:
            raise NotDelivered(f"status {response.status_code}", final=response.status_code == _GONE)

    async def _address(self, host: str, port: int) -> str:
        """The first address of a name, if all of them are allowed."""
        try:
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise NotDelivered("the name is not known") from error
        addresses = [ipaddress.ip_address(entry[4][0]) for entry in found]
        if not self.allow_private and not all(_is_public(address) for address in addresses):
            raise NotDelivered("the address is private", final=True)
        return str(addresses[0])


def _is_public(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """Whether an address is of the internet at large (IANA special-purpose registries), whatever it is wrapped in."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour or (address.teredo or (None, None))[1]
        if inner is not None:
            return _is_public(inner)
        if address in _NAT64:
            return _is_public(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
    return address.is_global and not address.is_multicast


_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
