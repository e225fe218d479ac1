"""Who may do what: API keys, access tokens of an OpenID Connect issuer, and how often each may call."""

from gateway.door.door import Door, OpenDoor
from gateway.door.principal import ANONYMOUS, Credentials, Principal, Scope

__all__ = ["ANONYMOUS", "Credentials", "Door", "OpenDoor", "Principal", "Scope"]
