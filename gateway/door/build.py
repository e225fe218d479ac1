"""The door as the settings ask for it."""

from __future__ import annotations

import ipaddress
import socket

from discgrade.errors import Unauthenticated
from gateway.audit import Audit
from gateway.door.door import Door, OpenDoor
from gateway.door.guarded import GuardedDoor
from gateway.door.keys import KeyFile
from gateway.door.oidc import Issuer
from gateway.settings import DoorMode, Settings

__all__ = ["decided", "make_door"]


def decided(settings: Settings, host: str) -> Settings:
    """Settle whether the door is on, before anything is started.

    Args:
        settings: What the operator set; ``auto`` is on unless the address is of the loopback interface.
        host: Address that is to be listened on.

    Returns:
        Settings with the door ``on`` or ``off``.

    Raises:
        Unauthenticated: The door is to be on, but nobody could pass it.
        ServiceError: The file of API keys is damaged.
    """
    mode = settings.door
    if mode is DoorMode.AUTO:
        mode = DoorMode.OFF if _is_loopback(host) else DoorMode.ON
    if mode is DoorMode.ON and settings.oidc_issuer is None and not KeyFile(settings.keys_path()).all():
        raise Unauthenticated(
            f"Other machines may reach {host or 'every address'}, but there is no API key and no issuer of tokens.",
            "Make a key with 'discgrade keys create', set DISCGRADE_OIDC_ISSUER, or allow everyone with '--door off'.",
        )
    return settings.model_copy(update={"door": mode})


def make_door(settings: Settings, audit: Audit) -> Door:
    """Make the door; it stands open unless it is ``on``: only who listens can decide ``auto``."""
    if settings.door is not DoorMode.ON:
        return OpenDoor()
    issuer = None
    if settings.oidc_issuer is not None:
        issuer = Issuer(
            settings.oidc_issuer,
            settings.oidc_audience,
            settings.oidc_algorithms,
            settings.oidc_scope_claim,
            leeway_seconds=settings.oidc_leeway_seconds,
        )
    return GuardedDoor(KeyFile(settings.keys_path()), issuer, settings.rate_limit, audit)


def _is_loopback(host: str) -> bool:
    try:
        addresses = {str(found[4][0]) for found in socket.getaddrinfo(host or "0.0.0.0", None)}
    except OSError:  # listening will fail on it too, and say so
        return False
    return all(ipaddress.ip_address(address.partition("%")[0]).is_loopback for address in addresses)
