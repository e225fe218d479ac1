"""What surrounds every gRPC call: its id, one log line, a status for every error, and an end that waits for threads."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import unquote

import anyio
import grpc
import structlog

from discgrade._messages import STATUS_TRAILER, status_of
from discgrade.errors import DiscgradeError, ServiceError, UploadTimeout
from gateway import tracing
from gateway.deadline import set_deadline
from gateway.door import Credentials
from gateway.logs import trace
from gateway.outcomes import CLIENT_LEFT
from gateway.telemetry.traffic import Traffic

__all__ = ["Call", "answer", "read", "unexpected"]

REQUEST_ID = "x-request-id"
_DRAIN_BYTES = 64 * 1024 * 1024
_DRAIN_SECONDS = 5.0
_DRAIN_IDLE_SECONDS = 0.5
T = TypeVar("T")
_log = structlog.get_logger()


@dataclass
class Call:
    """One call.

    Attributes:
        context: gRPC's view of it.
        method: Its name, for the log.
        request_id: Names it in the log, the audit log and every error.
        notes: Durations and counts for its log line.
    """

    context: grpc.aio.ServicerContext[Any, Any]
    method: str
    request_id: str
    notes: dict[str, float] = field(default_factory=dict)

    @property
    def credentials(self) -> Credentials:
        """What the caller shows."""
        return Credentials(_metadata(self.context, "authorization"), _host(self.context.peer()))


async def answer(
    context: grpc.aio.ServicerContext[Any, Any],
    method: str,
    work: Callable[[Call], Awaitable[T]],
    traffic: Traffic,
    *,
    uploads: bool = True,
) -> T:
    """Run a handler.

    Args:
        context: The call.
        method: Its name, for the log.
        work: What the handler does; cancelled when the caller leaves or its deadline passes.
        traffic: Where it is counted.
        uploads: Whether the caller sends a stream.
    """
    call = Call(context, method, _request_id(_metadata(context, REQUEST_ID)))
    with (
        structlog.contextvars.bound_contextvars(request_id=call.request_id),
        tracing.span(
            method.removeprefix("/"),
            tracing.SpanKind.SERVER,
            parent=_metadata(context, "traceparent"),
            attributes={"rpc.system": "grpc", "discgrade.request_id": call.request_id},
        ),
    ):
        done = await _run(call, work, traffic)
    if not isinstance(done, DiscgradeError):
        return done
    if uploads and not isinstance(done, UploadTimeout):
        await _drain(context)
    status = status_of(done, call.request_id).SerializeToString()
    return await context.abort(grpc.StatusCode[done.grpc_code], done.detail, ((STATUS_TRAILER, status),))


async def _run(call: Call, work: Callable[[Call], Awaitable[T]], traffic: Traffic) -> T | DiscgradeError:
    """What the handler returns, or why it did not; observed and logged."""
    context = call.context
    await context.send_initial_metadata(((REQUEST_ID, call.request_id),))
    started = time.perf_counter()
    outcome, code, failure = "ok", grpc.StatusCode.OK, {}
    problem: DiscgradeError | None = None
    try:
        return await _to_its_end(lambda: work(call), context.time_remaining())
    except asyncio.CancelledError:
        outcome, code = CLIENT_LEFT, grpc.StatusCode.CANCELLED
        raise
    except DiscgradeError as error:
        problem = error
        return problem
    except Exception as error:  # the last place to catch it: gRPC sends the text of what escapes
        problem, failure = unexpected(), {"error": trace(error)}
        return problem
    finally:
        if problem is not None:
            outcome, code = problem.slug, grpc.StatusCode[problem.grpc_code]
        seconds = time.perf_counter() - started
        traffic.calls.labels(call.method, code.name).inc()
        traffic.call_seconds.labels(call.method).observe(seconds)
        tracing.note_end(outcome, failed=isinstance(problem, ServiceError), attributes={"rpc.grpc.code": code.name})
        report = _log.error if failure else _log.info
        report(
            "request",
            request_id=call.request_id,
            method="gRPC",
            route=call.method,
            status=code.name,
            outcome=outcome,
            duration_ms=round(seconds * 1000, 1),
            **call.notes,
            **failure,
        )


async def read(context: grpc.aio.ServicerContext[Any, Any], idle_seconds: float | None = None) -> Any:
    """The next message of the caller; None where it sends no more.

    Args:
        context: The call.
        idle_seconds: Longest wait.

    Raises:
        UploadTimeout: It did not come in time; the call cannot be read from any more.
    """
    try:
        async with asyncio.timeout(idle_seconds):
            message = await context.read()
    except TimeoutError:
        raise UploadTimeout(f"No bytes arrived for {idle_seconds:g} seconds.") from None
    return None if message is grpc.aio.EOF else message


def unexpected() -> ServiceError:
    """What a caller learns of an error that nobody thought of."""
    return ServiceError("Something unexpected went wrong while handling the request.")


async def _drain(context: grpc.aio.ServicerContext[Any, Any]) -> None:
    """Read on for a moment after a refusal: some clients that still send would see a broken stream, not the answer."""
    left = _DRAIN_BYTES
    with suppress(TimeoutError):
        async with asyncio.timeout(_DRAIN_SECONDS):
            while left > 0:
                async with asyncio.timeout(_DRAIN_IDLE_SECONDS):
                    message = await context.read()
                if message is grpc.aio.EOF:
                    return
                left -= message.ByteSize()


async def _to_its_end(work: Callable[[], Awaitable[T]], remaining_seconds: float | None) -> T:
    """Run work that, when cancelled, still waits for the threads it started.

    gRPC cancels a handler's task in a way that anyio's shields do not hold back; files would be removed while a thread
    still writes them.
    """
    scope = anyio.CancelScope()

    async def run() -> T:
        set_deadline(remaining_seconds)
        with scope:
            return await work()
        raise asyncio.CancelledError

    task = asyncio.create_task(run())
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        scope.cancel()
        await asyncio.wait([task])
        raise


def _metadata(context: grpc.aio.ServicerContext[Any, Any], name: str) -> str | None:
    for key, value in context.invocation_metadata() or ():
        if key == name:
            return value if isinstance(value, str) else None
    return None


def _request_id(wanted: str | None) -> str:
    """The caller's id only if it is a UUID: free text could carry patient data into the logs."""
    try:
        return str(uuid.UUID(wanted or ""))
    except ValueError:
        return str(uuid.uuid4())


def _host(peer: str) -> str | None:
    """The address in gRPC's ``ipv4:127.0.0.1:5000`` or ``ipv6:%5B::1%5D:5000``."""
    family, _, rest = unquote(peer).partition(":")
    return rest.rpartition(":")[0].strip("[]") if family in {"ipv4", "ipv6"} else None
