"""``GradeBatch``: studies in one after the other, answers out as they finish.

The reader takes the next message only when the study it belongs to can use it, and begins a study only when fewer than
the allowed number are in the house: HTTP/2's flow control then holds the client back. Each study runs in a task of its
own, from its first chunk to its answer, so that whatever happens to it stays with it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, TypeVar

import anyio
import grpc
import structlog
from anyio.abc import TaskGroup
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from discgrade._messages import status_of, to_message
from discgrade.errors import DiscgradeError, InvalidRequest, Overloaded, RateLimited, UploadTimeout
from discgrade.v1 import grading_pb2 as pb
from gateway import intake
from gateway.admission import Ticket
from gateway.dataplane import Graded
from gateway.door import Scope
from gateway.grading import grade_files, observed, spooled
from gateway.grpc_calls import Call, read, unexpected
from gateway.grpc_uploads import StudySpool
from gateway.logs import trace
from gateway.metrics import STAGES

if TYPE_CHECKING:
    from gateway.app import Services

__all__ = ["Batch"]

_LONGEST_ID = 128
_LEAST_PAUSE_SECONDS = 0.1
T = TypeVar("T")
Part = pb.GradeBatchRequest | DiscgradeError
"""A message of a study, or why no more will come."""
_log = structlog.get_logger()


class Batch:
    """One call of ``GradeBatch``.

    Args:
        services: The app's.
        call: The call.
        context: The same, with its messages' types.
        studies: Most studies in the house at a time.
        stopping: Set when the server shuts down.
    """

    def __init__(
        self,
        services: Services,
        call: Call,
        context: grpc.aio.ServicerContext[Any, Any],
        studies: int,
        stopping: asyncio.Event,
    ) -> None:
        self._services = services
        self._call = call
        self._context = context
        self._slots = anyio.Semaphore(studies)
        self._writing = anyio.Lock()
        self._stopping = stopping
        self._between = anyio.CancelScope()
        self._next: pb.GradeBatchRequest | None = None
        call.notes |= {"studies": 0, "failed": 0}

    async def run(self) -> None:
        """Serve the call to its end.

        Raises:
            InvalidRequest: A message names no study, so that nobody can be told what is wrong with it.
            Overloaded: The server shuts down; studies that were begun have been answered.
            UploadTimeout: The client stopped within a study.
        """
        end: DiscgradeError | None = None
        async with anyio.create_task_group() as watch:
            watch.start_soon(self._watch_for_shutdown)
            async with anyio.create_task_group() as group:
                end = await self._receive(group)
            watch.cancel_scope.cancel()
        if end is not None:
            raise end

    async def _watch_for_shutdown(self) -> None:
        await self._stopping.wait()
        self._between.cancel()

    async def _receive(self, group: TaskGroup) -> DiscgradeError | None:
        """Hand each study's messages to its task; returns why the call ends early."""
        while True:
            await self._slots.acquire()
            first = await self._first_message()
            if self._stopping.is_set():
                return Overloaded("The server is shutting down.")
            if first is None:
                return None
            if not 0 < len(first.study_id) <= _LONGEST_ID:
                return InvalidRequest(
                    "A message names no study, or has too long a name for it.",
                    f"Give every study a study_id of 1 to {_LONGEST_ID} characters.",
                )
            parts, inlet = _pipe()
            group.start_soon(self._study, first.study_id, first.total_bytes, inlet)
            if (end := await self._forward(first, parts)) is not None:
                return end

    async def _first_message(self) -> pb.GradeBatchRequest | None:
        if self._next is not None:
            first, self._next = self._next, None
            return first
        if self._stopping.is_set():
            return None
        with anyio.CancelScope() as self._between:
            message: pb.GradeBatchRequest | None = await read(self._context)
            return message
        return None

    async def _forward(self, first: pb.GradeBatchRequest, parts: MemoryObjectSendStream[Part]) -> UploadTimeout | None:
        """Pass on one study's messages; what a study no longer wants is dropped."""
        part: Part = first
        wanted = True
        with parts:
            while True:
                if wanted:
                    try:
                        await parts.send(part)
                    except anyio.BrokenResourceError:  # the study was answered already
                        wanted = False
                if isinstance(part, DiscgradeError):
                    return part if isinstance(part, UploadTimeout) else None
                if part.WhichOneof("part") == "end":
                    return None
                part = await self._following(first.study_id)

    async def _following(self, study_id: str) -> Part:
        message: pb.GradeBatchRequest | None
        try:
            message = await read(self._context, self._services.upload_limits.idle_seconds)
        except UploadTimeout as error:
            return error
        if message is None:
            return InvalidRequest("The stream ended before the study did.", "End each study with StudyEnd.")
        if message.study_id != study_id:
            self._next = message
            return InvalidRequest(
                "Another study began before this one had ended.",
                "Send studies one after the other, and end each with StudyEnd.",
            )
        return message

    async def _study(self, study_id: str, total_bytes: int, parts: MemoryObjectReceiveStream[Part]) -> None:
        """Grade one study and answer, whatever happens to it."""
        started = time.perf_counter()
        answer = pb.GradeBatchResponse(study_id=study_id)
        outcome, notes = "ok", {}
        try:
            try:
                with parts:
                    graded = await self._graded(total_bytes, parts)
                answer.result.CopyFrom(to_message(graded.result))
                notes = {f"{stage}_ms": graded.result.timings_ms[stage] for stage in STAGES}
            except DiscgradeError as error:
                outcome = error.slug
                answer.error.CopyFrom(status_of(error, self._call.request_id))
            except Exception as error:  # the last place to catch it: it must not end the other studies
                problem = unexpected()
                outcome = problem.slug
                answer.error.CopyFrom(status_of(problem, self._call.request_id))
                _log.error("study", request_id=self._call.request_id, error=trace(error))
            self._call.notes["studies"] += 1
            self._call.notes["failed"] += outcome != "ok"
            duration_ms = round((time.perf_counter() - started) * 1000, 1)
            _log.info("study", request_id=self._call.request_id, outcome=outcome, duration_ms=duration_ms, **notes)
            async with self._writing:
                await self._context.write(answer)
        finally:
            self._slots.release()

    async def _graded(self, total_bytes: int, parts: MemoryObjectReceiveStream[Part]) -> Graded:
        services, request_id = self._services, self._call.request_id
        principal = await self._patiently(lambda: services.door.admit(self._call.credentials, Scope.GRADE))
        cost = services.admission.estimate(total_bytes or None)
        async with (
            services.audit.action(principal, "grade", request_id) as entry,
            observed(services.metrics),
            AsyncExitStack() as stack,
        ):

            async def place() -> Ticket:
                return await stack.enter_async_context(services.admission.admit(cost, patient=True))

            ticket = await self._patiently(place)
            folder, workdir = await stack.enter_async_context(spooled(services))
            started = time.perf_counter()
            spool = StudySpool(folder, services.upload_limits, services.workers, total_bytes)
            try:
                async for part in parts:
                    if isinstance(part, DiscgradeError):
                        raise part
                    if part.WhichOneof("part") == "chunk":
                        await spool.add(part.chunk)
                    elif part.end.abandoned:
                        raise InvalidRequest("The sender abandoned the study.", "Send the whole study.")
                sent = await spool.finish()
            finally:
                await spool.close()
            files = await intake.deidentified(services, sent, folder)
            upload_ms = (time.perf_counter() - started) * 1000
            graded = await grade_files(services, files, workdir, upload_ms=upload_ms, ticket=ticket)
            entry.study_uid, entry.result_id = graded.study_uid, graded.result.result_id
            return graded

    async def _patiently(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """Try until there is room: meanwhile nothing more is read, which is how a stream is told to wait."""
        while True:
            try:
                return await attempt()
            except (Overloaded, RateLimited) as error:
                if self._services.admission.closed:
                    raise
                await anyio.sleep(max(error.retry_after_seconds or 0.0, _LEAST_PAUSE_SECONDS))


def _pipe() -> tuple[MemoryObjectSendStream[Part], MemoryObjectReceiveStream[Part]]:
    return anyio.create_memory_object_stream[Part](0)
