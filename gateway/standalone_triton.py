"""tritonserver as a program of its own, for gateways and workers that run elsewhere."""

from __future__ import annotations

import signal
import threading

import structlog

from discgrade.errors import InferenceUnavailable
from gateway import logs
from gateway.embedded import EmbeddedTriton, State
from gateway.settings import Settings

__all__ = ["CONNECTION_SECONDS", "run"]

CONNECTION_SECONDS = 30
"""After which a client must connect anew."""
_LOOK_SECONDS = 1.0


def run(settings: Settings, host: str, ports: tuple[int, int, int]) -> None:
    """Serve until SIGTERM or SIGINT; requests in flight then end first.

    Args:
        settings: ``models_dir``, and ``shutdown_seconds`` for requests in flight at the end.
        host: Address to listen on.
        ports: Of gRPC, HTTP and metrics.

    Raises:
        InferenceUnavailable: The server did not start, or died too often.
    """
    logs.configure()
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    server = EmbeddedTriton(
        settings.models_dir,
        host=host,
        ports=ports,
        options=[
            # Clients look names up anew when a connection ends: so they find replicas that were added.
            f"--grpc-max-connection-age={CONNECTION_SECONDS * 1000}",
            f"--grpc-max-connection-age-grace={round(settings.inference_timeout_seconds * 1000)}",
        ],
        stop_seconds=settings.shutdown_seconds,
    )
    with server:
        structlog.get_logger().info("tritonserver answers", url=server.url, http=server.http_url)
        while not stop.wait(_LOOK_SECONDS):
            if server.state is State.FAILED:
                raise InferenceUnavailable("tritonserver ended too often and is not started again.", "Read its log.")
