"""Runs the server in the foreground until a signal ends it."""

from __future__ import annotations

import signal
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from types import FrameType

import structlog
import uvicorn

from discgrade.errors import DiscgradeError
from gateway import logs, tracing
from gateway.admission import Admission
from gateway.allocator import collect_only_what_is_new, keep_freed_memory
from gateway.app import Services, create_app
from gateway.door.build import decided
from gateway.embedded import EmbeddedTriton, State
from gateway.grpc_server import grpc_server
from gateway.jobs.worker import Worker
from gateway.settings import Settings
from gateway.triton_client import TritonClient

__all__ = ["InferenceServer", "inference_server", "serve"]


@dataclass(frozen=True)
class InferenceServer:
    """The tritonserver to use.

    Attributes:
        url: host:port of its gRPC service.
        lost: Whether it will not come back as long as this process lives.
        restarts: How often it was started again; 0 where it is not ours.
        metrics_url: Where its metrics are read; None where it is not ours, and read directly.
    """

    url: str
    lost: Callable[[], bool] = lambda: False
    restarts: Callable[[], int] = lambda: 0
    metrics_url: str | None = None


@contextmanager
def inference_server(settings: Settings) -> Iterator[InferenceServer]:
    """Yield the tritonserver to use: the one in the settings, or an embedded one that ends with the block.

    Raises:
        discgrade.errors.InferenceUnavailable: The embedded one did not start.
    """
    if settings.triton_url is not None:
        yield InferenceServer(settings.triton_url)
        return
    with EmbeddedTriton(settings.models_dir, options=tracing.triton_options(settings.otlp_endpoint)) as triton:
        structlog.get_logger().info("tritonserver answers", url=triton.url)  # where `discgrade models` finds it
        yield InferenceServer(
            triton.url, lambda: triton.state is State.FAILED, lambda: triton.restarts, triton.metrics_url
        )


def serve(settings: Settings, host: str, port: int, grpc_port: int | None = None, *, api: bool = True) -> None:
    """Serve the HTTP API, and gRPC if asked to, and grade jobs; SIGTERM and SIGINT let what is in flight end first.

    Args:
        settings: What the operator set.
        host: Address to listen on.
        port: Port to listen on; 0 takes a free one, named in the log.
        grpc_port: The same for gRPC; None leaves gRPC away.
        api: Whether more than health, metrics and models is served.

    Raises:
        discgrade.errors.ServiceError: The gRPC server did not start, or the database of the jobs does not answer.
        discgrade.errors.InferenceUnavailable: The embedded tritonserver did not start.
        discgrade.errors.Unauthenticated: Other machines may reach the address, and nobody could pass the door.
    """
    settings = decided(settings, host)
    logs.configure()
    keep_freed_memory()
    failures: list[DiscgradeError] = []

    @asynccontextmanager
    async def beside(services: Services) -> AsyncIterator[None]:
        try:
            async with AsyncExitStack() as stack:
                if settings.run_worker:
                    await stack.enter_async_context(Worker(services, settings))
                if grpc_port is not None:
                    await stack.enter_async_context(grpc_server(services, settings, host, grpc_port))
                collect_only_what_is_new()
                yield
        except DiscgradeError as error:  # uvicorn ends without saying why
            failures.append(error)
            raise

    signal.signal(signal.SIGTERM, signal.default_int_handler)  # uvicorn raises it again once it has drained
    with (
        suppress(KeyboardInterrupt),
        tracing.exporting(settings.otlp_endpoint, settings.trace_share),
        inference_server(settings) as triton,
    ):
        timeout = settings.inference_timeout_seconds
        admission = settings.admission()
        app = create_app(
            settings,
            lambda: TritonClient(triton.url, timeout_seconds=timeout),
            triton.lost,
            triton_restarts=triton.restarts,
            triton_metrics_url=triton.metrics_url,
            admission=admission,
            beside=beside,
            api=api,
        )
        config = uvicorn.Config(
            app,
            host=host,
            port=port,
            lifespan="on",
            log_config=None,
            access_log=False,  # the app logs each request itself, without raw addresses
            server_header=False,
            timeout_graceful_shutdown=settings.shutdown_seconds,
            ssl_certfile=settings.tls_cert,
            ssl_keyfile=settings.tls_key,
        )
        try:
            _Server(config, admission, settings.drain_seconds).run()
        except SystemExit:
            if not failures:
                raise
    if failures:
        raise failures[0]


class _Server(uvicorn.Server):
    """Says where it listens, and drains before it stops listening.

    The first signal makes ``/readyz`` fail and new work be refused with a 503, while the socket stays open: who
    balances the load has to see it, and a closed socket would be an error to those it still sends. Only when the house
    is empty, and the drain time over, uvicorn shuts down; a second signal, or the longest wait, waits for neither.
    """

    def __init__(self, config: uvicorn.Config, admission: Admission, drain_seconds: float) -> None:
        super().__init__(config)
        self._admission = admission
        self._drain_seconds = drain_seconds
        self._signalled = False
        self._drained_since: float | None = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to drain at the first signal, stop at the second."""
        super().handle_exit(sig, frame)
        if not self._signalled:
            self._signalled = True
            self.should_exit = False

    async def on_tick(self, counter: int) -> bool:
        """Called ten times a second; True ends the server."""
        return await super().on_tick(counter) or (self._signalled and self._drained())

    def _drained(self) -> bool:
        now = time.monotonic()
        if self._drained_since is None:
            self._drained_since = now
            self._admission.close()
            structlog.get_logger().info("draining", slices=self._admission.present)
        waited = now - self._drained_since
        left = (self.config.timeout_graceful_shutdown or 0) - waited
        if left > 0 and (self._admission.present or waited < self._drain_seconds):
            return False
        self.config.timeout_graceful_shutdown = max(1, round(left))  # for requests other than gradings
        return True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        scheme = "https" if self.config.is_ssl else "http"
        for server in self.servers:
            for listening in server.sockets:
                host, port = listening.getsockname()[:2]
                structlog.get_logger().info("listening", url=f"{scheme}://{host}:{port}")
