"""Runs the server in the foreground until a signal ends it."""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import structlog
import uvicorn

from gateway import logs
from gateway.app import create_app
from gateway.embedded import EmbeddedTriton, State
from gateway.settings import Settings
from gateway.triton_client import TritonClient

__all__ = ["InferenceServer", "inference_server", "serve"]


@dataclass(frozen=True)
class InferenceServer:
    """The tritonserver to use.

    Attributes:
        url: host:port of its gRPC service.
        lost: Whether it will not come back as long as this process lives.
    """

    url: str
    lost: Callable[[], bool]


@contextmanager
def inference_server(settings: Settings) -> Iterator[InferenceServer]:
    """Yield the tritonserver to use: the one in the settings, or an embedded one that ends with the block.

    Raises:
        discgrade.errors.InferenceUnavailable: The embedded one did not start.
    """
    if settings.triton_url is not None:
        yield InferenceServer(settings.triton_url, lambda: False)
        return
    with EmbeddedTriton() as triton:
        yield InferenceServer(triton.url, lambda: triton.state is State.FAILED)


def serve(settings: Settings, host: str, port: int) -> None:
    """Serve the HTTP API; SIGTERM and SIGINT let requests in flight end first.

    Args:
        settings: What the operator set.
        host: Address to listen on.
        port: Port to listen on; 0 takes a free one, named in the log.

    Raises:
        discgrade.errors.InferenceUnavailable: The embedded tritonserver did not start.
    """
    logs.configure()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # uvicorn raises it again once it has drained
    with suppress(KeyboardInterrupt), inference_server(settings) as triton:
        timeout = settings.inference_timeout_seconds
        app = create_app(settings, lambda: TritonClient(triton.url, timeout_seconds=timeout), triton.lost)
        config = uvicorn.Config(
            app,
            host=host,
            port=port,
            lifespan="on",
            log_config=None,
            access_log=False,  # the app logs each request itself, without raw addresses
            server_header=False,
            timeout_graceful_shutdown=settings.shutdown_seconds,
        )
        _Server(config).run()


class _Server(uvicorn.Server):
    """Says where it listens; uvicorn's own message is not structured."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        for server in self.servers:
            for listening in server.sockets:
                host, port = listening.getsockname()[:2]
                structlog.get_logger().info("listening", url=f"http://{host}:{port}")
