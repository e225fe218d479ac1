"""Sends objects to an archive by STOW-RS (PS3.18 10.5)."""

from __future__ import annotations

import ssl
import uuid
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

import httpx

from discgrade._retry import retry_after_seconds
from gateway.dicom_node.outbox import Delivery, Outcome
from gateway.dicom_node.settings import StowDestination

__all__ = ["send_by_stow"]

Attempt = tuple[Delivery, Outcome, str | None, float]
_FAILED, _OTHER, _REASON = "00081198", "0008119A", "00081197"
_ABOUT_THE_OBJECT = (400, 406, 409, 413, 415, 422)


def send_by_stow(deliveries: Sequence[Delivery], destination: StowDestination) -> Iterator[Attempt]:
    """Send each object in a request of its own; yields how each attempt ended, and the wait that was asked for.

    Args:
        deliveries: What to send.
        destination: Where to.
    """
    verify = ssl.create_default_context(cafile=destination.ca)
    if destination.client_cert is not None and destination.client_key is not None:
        verify.load_cert_chain(destination.client_cert, destination.client_key)
    with httpx.Client(
        base_url=destination.url,
        timeout=destination.timeout_seconds,
        headers=_headers(destination),
        verify=verify,
        trust_env=False,  # patient data goes to the address that was configured, through no proxy of the environment
    ) as client:
        away = False
        for delivery in deliveries:
            if away:  # one wait is enough to see it
                yield delivery, Outcome.AWAY, "no answer", 0.0
                continue
            outcome, reason, after = _send(client, delivery, destination)
            away = reason == "no answer"
            yield delivery, outcome, reason, after


def _send(client: httpx.Client, delivery: Delivery, destination: StowDestination) -> tuple[Outcome, str | None, float]:
    boundary = uuid.uuid4().hex
    head = f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode()
    body = head + delivery.path.read_bytes() + f"\r\n--{boundary}--\r\n".encode()
    headers = {
        "Content-Type": f'multipart/related; type="application/dicom"; boundary={boundary}',
        "Accept": "application/dicom+json",
    }
    if destination.user is not None and destination.password_file is not None:
        client.auth = httpx.BasicAuth(destination.user, destination.password_file.read_text().strip())
    try:
        answer = client.post("studies", content=body, headers=headers)
    except httpx.TransportError:
        return Outcome.AWAY, "no answer", 0.0
    after = retry_after_seconds(answer.headers.get("retry-after"), answer.headers.get("date")) or 0.0
    return *_judged(answer), after


def _judged(answer: httpx.Response) -> tuple[Outcome, str | None]:
    """PS3.18 10.5.3: 200 all stored, 202 with warnings or failures, 409 all failed; the body says which and why."""
    said: dict[str, Any] = {}
    with suppress(ValueError):
        said = answer.json()
    failed = _items(said, _FAILED) + _items(said, _OTHER)
    if answer.is_success and not failed:
        return Outcome.DELIVERED, None
    for item in failed if answer.is_success or answer.status_code in _ABOUT_THE_OBJECT else []:
        reason = (item.get(_REASON, {}).get("Value") or [0])[0]
        if isinstance(reason, int):
            out_of_resources = 0xA700 <= reason < 0xA800
            return (Outcome.AWAY if out_of_resources else Outcome.REFUSED), f"failure reason {reason:04X}"
    # Credentials, a wrong address and a server in trouble say nothing about the object.
    about = answer.is_success or answer.status_code in _ABOUT_THE_OBJECT
    return (Outcome.REFUSED if about else Outcome.AWAY), f"HTTP status {answer.status_code}"


def _items(said: Any, tag: str) -> list[dict[str, Any]]:
    found = said.get(tag, {}).get("Value", []) if isinstance(said, dict) else []
    return [item for item in found if isinstance(item, dict)]


def _headers(destination: StowDestination) -> dict[str, str]:
    if destination.token_file is None:
        return {}
    return {"Authorization": f"Bearer {destination.token_file.read_text().strip()}"}
