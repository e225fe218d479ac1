"""HTTP requests sent piece by piece, as slow and vanishing clients do."""

from __future__ import annotations

import socket
from types import TracebackType

import httpx

__all__ = ["RawRequest"]


class RawRequest:
    """A POST of files over a socket of its own.

    Args:
        url: Where to send it.
        files: As for httpx.
        expect: Ask to be told whether the body is wanted (``Expect: 100-continue``).
    """

    def __init__(self, url: str, files: list[tuple[str, bytes]], *, expect: bool = False) -> None:
        request = httpx.Request("POST", url, files=files)
        self._body = request.read()
        self._sent = 0
        headers = {**request.headers, **({"expect": "100-continue"} if expect else {})}
        lines = [f"POST {request.url.raw_path.decode()} HTTP/1.1", *(f"{k}: {v}" for k, v in headers.items())]
        self._connection = socket.create_connection((request.url.host, request.url.port or 80), timeout=60)
        self._connection.sendall("\r\n".join([*lines, "", ""]).encode())

    def __enter__(self) -> RawRequest:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Leave."""
        self._connection.close()

    def send(self, share: float = 1.0) -> None:
        """Send the body up to a share of it."""
        end = round(len(self._body) * share)
        self._connection.sendall(self._body[self._sent : end])
        self._sent = end

    def head(self) -> bytes:
        """Receive until the answer's status line and headers are there."""
        received = b""
        while b"\r\n\r\n" not in received:
            more = self._connection.recv(65536)
            if not more:
                break
            received += more
        return received
