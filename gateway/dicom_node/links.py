"""Connections that are closed for sure: pynetdicom leaves one open whose other side was gone first."""

from __future__ import annotations

import weakref
from socket import socket

from pynetdicom.association import Association
from pynetdicom.events import Event

__all__ = ["Links"]


class Links:
    """Remembers the connection of each association.

    Args:
        timeout_seconds: Longest silence; without a bound, who stops in the middle of a message holds a thread for ever.
    """

    def __init__(self, timeout_seconds: float) -> None:
        self._timeout_seconds = timeout_seconds
        self._sockets: weakref.WeakKeyDictionary[Association, socket] = weakref.WeakKeyDictionary()

    def opened(self, event: Event) -> None:
        """Handles EVT_CONN_OPEN."""
        link = event.assoc.dul.socket
        if link is not None and link.socket is not None:
            link.socket.settimeout(self._timeout_seconds)
            self._sockets[event.assoc] = link.socket

    def close(self, association: Association) -> None:
        """Close the connection of an association that has ended."""
        if link := self._sockets.pop(association, None):
            link.close()
