"""Health and metrics of a node over HTTP."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CollectorRegistry, make_wsgi_app

__all__ = ["Web"]


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: whoever asks is no event."""


class Web:
    """Answers ``/livez``, ``/readyz`` and ``/metrics`` in threads of its own.

    Args:
        host: Address to listen on.
        port: Port to listen on; 0 takes a free one.
        registry: The metrics.
        ready: Whether studies are taken now.
    """

    def __init__(self, host: str, port: int, registry: CollectorRegistry, ready: Callable[[], bool]) -> None:
        metrics = make_wsgi_app(registry)

        def app(environment: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
            path = environment.get("PATH_INFO")
            if path == "/metrics":
                page: Iterable[bytes] = metrics(environment, start)
                return page
            found = {"/livez": True, "/readyz": ready()}.get(str(path))
            status = "404 Not Found" if found is None else "200 OK" if found else "503 Service Unavailable"
            start(status, [("Content-Type", "text/plain; charset=utf-8")])
            return [status.encode()]

        self._server = make_server(host, port, app, _Server, _Quiet)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._server.server_address[1])

    def open(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def close(self) -> None:
        """Stop answering."""
        self._server.shutdown()
        self._server.server_close()
