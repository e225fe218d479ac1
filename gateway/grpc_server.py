"""The gRPC server: the grading service, standard health and reflection, in the event loop of the HTTP app."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import structlog
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from discgrade.errors import ServiceError
from discgrade.v1 import grading_pb2_grpc
from gateway.grpc_service import SERVICE, GradingService

if TYPE_CHECKING:
    from gateway.app import Services
    from gateway.settings import Settings

__all__ = ["grpc_server"]

_MAX_MESSAGE_BYTES = 4 * 1024 * 1024
_HEALTH_SECONDS = 1.0
_OPTIONS = [
    ("grpc.max_receive_message_length", _MAX_MESSAGE_BYTES),
    ("grpc.so_reuseport", 0),  # else a second server takes the same port, and every other call
    # A client that vanished without a word is found, and what it began is cancelled.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
]


@asynccontextmanager
async def grpc_server(services: Services, settings: Settings, host: str, port: int) -> AsyncIterator[str]:
    """Serve gRPC for the length of the block; calls in flight end first.

    Args:
        services: The app's.
        settings: TLS files, limits and the longest wait at the end.
        host: Address to listen on.
        port: Port to listen on; 0 takes a free one, named in the log.

    Yields:
        host:port.

    Raises:
        ServiceError: The port is taken, or the certificate and its key cannot be used.
    """
    stopping = asyncio.Event()
    server = grpc.aio.server(options=_OPTIONS)
    service = GradingService(services, settings.grpc_batch_studies, stopping)
    grading_pb2_grpc.add_GradingServiceServicer_to_server(service, server)
    healthy = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(healthy, server)
    reflection.enable_server_reflection((SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME), server)
    address = _bind(server, settings, f"[{host}]" if ":" in host else host, port)
    await server.start()
    structlog.get_logger().info("listening for gRPC", target=address, tls=settings.tls_cert is not None)
    watcher = asyncio.create_task(_watch(services, healthy, stopping))
    try:
        yield address
    finally:
        stopping.set()
        watcher.cancel()
        with suppress(asyncio.CancelledError):
            await watcher
        await healthy.enter_graceful_shutdown()
        await server.stop(settings.shutdown_seconds)


async def _watch(services: Services, healthy: health.aio.HealthServicer, stopping: asyncio.Event) -> None:
    """Keep the health service's word in step with what ``/readyz`` says."""
    while True:
        if services.admission.closed:
            stopping.set()
        ready = not services.admission.closed and await services.grader.ready()
        status = health_pb2.HealthCheckResponse.SERVING if ready else health_pb2.HealthCheckResponse.NOT_SERVING
        for name in (health.OVERALL_HEALTH, SERVICE):
            await healthy.set(name, status)
        await asyncio.sleep(_HEALTH_SECONDS)


def _bind(server: grpc.aio.Server, settings: Settings, host: str, port: int) -> str:
    try:
        if settings.tls_cert is None or settings.tls_key is None:
            bound = server.add_insecure_port(f"{host}:{port}")
        else:
            clients = _read(settings.grpc_client_ca) if settings.grpc_client_ca else None
            credentials = grpc.ssl_server_credentials(
                [(_read(settings.tls_key), _read(settings.tls_cert))], clients, require_client_auth=clients is not None
            )
            bound = server.add_secure_port(f"{host}:{port}", credentials)
    except RuntimeError:
        raise ServiceError(
            f"gRPC cannot listen on {host}:{port}.",
            "Take another port, and check that the certificate and its key are PEM files that belong together.",
        ) from None
    return f"{host}:{bound}"


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ServiceError(f"A file of TLS cannot be read: {error.strerror}.", "Check the tls settings.") from None
