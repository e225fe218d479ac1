"""Clients of the gRPC interface, with and without an event loop; needs ``pip install 'discgrade[grpc]'``.

They raise what the HTTP clients raise: :class:`discgrade.errors.DiscgradeError`, of the subclass the server raised.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import anyio.to_thread
import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from discgrade._grpc import OPTIONS, BatchAnswer, Tls, batch_answer, batch_requests, grade_requests, reference_request
from discgrade._grpc import error as error_of
from discgrade._messages import from_message
from discgrade._retry import NO_RETRY, Retry
from discgrade.dicomweb import DicomwebReference, Study
from discgrade.errors import DiscgradeError
from discgrade.result import GradingResult
from discgrade.v1 import grading_pb2 as pb
from discgrade.v1 import grading_pb2_grpc

__all__ = ["NO_RETRY", "AsyncGrpcClient", "BatchAnswer", "GrpcClient", "Retry", "Tls"]

_PROBE_SECONDS = 5.0
T = TypeVar("T")


class GrpcClient:
    """Talks gRPC to a discgrade server; a context manager. Threads may share it.

    Args:
        target: ``host:port``.
        timeout_seconds: Deadline of one call but of :meth:`grade_batch`; the server stops working when it passes.
        tls: How the connection is encrypted; in the clear when omitted.
        api_key: An API key or an access token, for servers whose door is on.
        retry: What is done about servers that are full or cannot be reached.
    """

    def __init__(
        self,
        target: str,
        timeout_seconds: float = 300.0,
        *,
        tls: Tls | None = None,
        api_key: str | None = None,
        retry: Retry | None = None,
    ) -> None:
        if tls is None:
            self._channel = grpc.insecure_channel(target, OPTIONS)
        else:
            self._channel = grpc.secure_channel(target, tls.credentials(), OPTIONS)
        self._stub: Any = grading_pb2_grpc.GradingServiceStub(self._channel)
        self._health: Any = health_pb2_grpc.HealthStub(self._channel)
        self._settings = {"timeout": timeout_seconds, "metadata": _metadata(api_key)}
        self._retry = retry or Retry()

    def __enter__(self) -> GrpcClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; calls in flight are cancelled."""
        self._channel.close()

    def grade(self, study: Study) -> GradingResult:
        """Send or name a study and wait for its result.

        Args:
            study: DICOM files, or one zip of them, or one NIfTI file: they are read piece by piece, and their names
                stay here. Or where the server finds the study.
        """
        unread: list[OSError] = []
        try:
            answer = self._do(lambda: self._stub.Grade(_requests(study, unread), **self._settings))
        except DiscgradeError:
            if unread:
                raise unread[0] from None
            raise
        return from_message(answer.result)

    def grade_batch(self, studies: Iterable[tuple[str, Sequence[Path]]]) -> Iterator[BatchAnswer]:
        """Send many studies on one stream; the server takes them as fast as it can grade them.

        Args:
            studies: Name and files of each, read as they are sent. Names are the caller's own, 1 to 128 characters.

        Yields:
            One answer a study, as they finish. A study of which a file cannot be read is given up and answered with an
            :class:`discgrade.errors.InvalidRequest`.
        """
        requests = (request for study_id, files in studies for request in batch_requests(study_id, files))
        call = self._stub.GradeBatch(requests, metadata=self._settings["metadata"])
        try:
            for answer in call:
                yield batch_answer(answer)
        except grpc.RpcError as error:
            raise error_of(error) from error
        finally:
            call.cancel()

    def result(self, result_id: str) -> GradingResult:
        """Fetch a kept result."""
        return from_message(self._get(result_id).result)

    def segmentation(self, result_id: str) -> bytes:
        """Fetch a result's label image: a gzipped NIfTI-1 file."""
        return self._file(result_id, "segmentation.nii.gz")

    def image(self, result_id: str) -> bytes:
        """Fetch the image that was graded: a gzipped NIfTI-1 file on the grid of the label image."""
        return self._file(result_id, "image.nii.gz")

    def overlay(self, result_id: str) -> bytes:
        """Fetch a result's picture: a PNG file."""
        return self._file(result_id, "overlay.png")

    def report(self, result_id: str) -> bytes:
        """Fetch a result's report of one page, for people: a PDF file, which names no patient."""
        return self._file(result_id, "report.pdf")

    def dicom_segmentation(self, result_id: str) -> bytes:
        """Fetch a result's discs as DICOM SEG; there is none of a NIfTI study."""
        return self._file(result_id, "segmentation.dcm")

    def dicom_report(self, result_id: str) -> bytes:
        """Fetch a result's measurements and grades as DICOM SR (TID 1500); there is none of a NIfTI study."""
        return self._file(result_id, "report.sr.dcm")

    def dicom_overlay(self, result_id: str) -> bytes:
        """Fetch a result's picture as DICOM secondary capture; there is none of a NIfTI study."""
        return self._file(result_id, "overlay.dcm")

    def dicom_pdf(self, result_id: str) -> bytes:
        """Fetch a result's report of one page as DICOM encapsulated PDF; there is none of a NIfTI study."""
        return self._file(result_id, "report.pdf.dcm")

    def ready(self) -> bool:
        """Whether the server could grade now (standard health service); False also while it cannot be reached."""
        try:
            return _serving(self._health.Check(health_pb2.HealthCheckRequest(), timeout=_PROBE_SECONDS))
        except grpc.RpcError:
            return False

    def _file(self, result_id: str, name: str) -> bytes:
        content: bytes = self._get(result_id, name).files[name]
        return content

    def _get(self, result_id: str, *files: str) -> pb.GetResultResponse:
        request = pb.GetResultRequest(result_id=result_id, files=files)
        answer: pb.GetResultResponse = self._do(lambda: self._stub.GetResult(request, **self._settings))
        return answer

    def _do(self, call: Callable[[], Any]) -> Any:
        attempt = 1
        while True:
            try:
                return call()
            except grpc.RpcError as failure:
                error = error_of(failure)
                wait = self._retry.wait(attempt, error)
                if wait is None:
                    raise error from failure
            time.sleep(wait)
            attempt += 1


class AsyncGrpcClient:
    """:class:`GrpcClient` for an event loop (asyncio), made within it; an asynchronous context manager.

    Args:
        target: ``host:port``.
        timeout_seconds: Deadline of one call but of :meth:`grade_batch`; the server stops working when it passes.
        tls: How the connection is encrypted; in the clear when omitted.
        api_key: An API key or an access token, for servers whose door is on.
        retry: What is done about servers that are full or cannot be reached.

    A call that is cancelled is cancelled on the server, and in Triton.
    """

    def __init__(
        self,
        target: str,
        timeout_seconds: float = 300.0,
        *,
        tls: Tls | None = None,
        api_key: str | None = None,
        retry: Retry | None = None,
    ) -> None:
        if tls is None:
            self._channel = grpc.aio.insecure_channel(target, OPTIONS)
        else:
            self._channel = grpc.aio.secure_channel(target, tls.credentials(), OPTIONS)
        self._stub: Any = grading_pb2_grpc.GradingServiceStub(self._channel)
        self._health: Any = health_pb2_grpc.HealthStub(self._channel)
        self._settings = {"timeout": timeout_seconds, "metadata": _metadata(api_key)}
        self._retry = retry or Retry()

    async def __aenter__(self) -> AsyncGrpcClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connection; calls in flight are cancelled."""
        await self._channel.close()

    async def grade(self, study: Study) -> GradingResult:
        """Send or name a study and wait for its result; see :meth:`GrpcClient.grade`."""
        unread: list[OSError] = []
        try:
            answer = await self._do(lambda: self._stub.Grade(_threaded(_requests(study, unread)), **self._settings))
        except (DiscgradeError, asyncio.CancelledError):
            if unread:
                raise unread[0] from None
            raise
        return from_message(answer.result)

    async def grade_batch(
        self, studies: Iterable[tuple[str, Sequence[Path]]] | AsyncIterable[tuple[str, Sequence[Path]]]
    ) -> AsyncIterator[BatchAnswer]:
        """Send many studies on one stream; see :meth:`GrpcClient.grade_batch`."""

        async def requests() -> AsyncIterator[pb.GradeBatchRequest]:
            async for study_id, files in _awaitable(studies):
                async for request in _threaded(batch_requests(study_id, files)):
                    yield request

        call = self._stub.GradeBatch(requests(), metadata=self._settings["metadata"])
        try:
            async for answer in call:
                yield batch_answer(answer)
        except grpc.aio.AioRpcError as error:
            raise error_of(error) from error
        finally:
            call.cancel()

    async def result(self, result_id: str) -> GradingResult:
        """Fetch a kept result."""
        return from_message((await self._get(result_id)).result)

    async def segmentation(self, result_id: str) -> bytes:
        """Fetch a result's label image: a gzipped NIfTI-1 file."""
        return await self._file(result_id, "segmentation.nii.gz")

    async def image(self, result_id: str) -> bytes:
        """Fetch the image that was graded; see :meth:`GrpcClient.image`."""
        return await self._file(result_id, "image.nii.gz")

    async def overlay(self, result_id: str) -> bytes:
        """Fetch a result's picture: a PNG file."""
        return await self._file(result_id, "overlay.png")

    async def report(self, result_id: str) -> bytes:
        """Fetch a result's report of one page; see :meth:`GrpcClient.report`."""
        return await self._file(result_id, "report.pdf")

    async def dicom_segmentation(self, result_id: str) -> bytes:
        """Fetch a result's discs as DICOM SEG; see :meth:`GrpcClient.dicom_segmentation`."""
        return await self._file(result_id, "segmentation.dcm")

    async def dicom_report(self, result_id: str) -> bytes:
        """Fetch a result's measurements and grades as DICOM SR; see :meth:`GrpcClient.dicom_report`."""
        return await self._file(result_id, "report.sr.dcm")

    async def dicom_overlay(self, result_id: str) -> bytes:
        """Fetch a result's picture as DICOM secondary capture; see :meth:`GrpcClient.dicom_overlay`."""
        return await self._file(result_id, "overlay.dcm")

    async def dicom_pdf(self, result_id: str) -> bytes:
        """Fetch a result's report of one page as DICOM encapsulated PDF; see :meth:`GrpcClient.dicom_pdf`."""
        return await self._file(result_id, "report.pdf.dcm")

    async def ready(self) -> bool:
        """Whether the server could grade now (standard health service); False also while it cannot be reached."""
        try:
            return _serving(await self._health.Check(health_pb2.HealthCheckRequest(), timeout=_PROBE_SECONDS))
        except grpc.aio.AioRpcError:
            return False

    async def _file(self, result_id: str, name: str) -> bytes:
        content: bytes = (await self._get(result_id, name)).files[name]
        return content

    async def _get(self, result_id: str, *files: str) -> pb.GetResultResponse:
        request = pb.GetResultRequest(result_id=result_id, files=files)
        answer: pb.GetResultResponse = await self._do(lambda: self._stub.GetResult(request, **self._settings))
        return answer

    async def _do(self, call: Callable[[], Any]) -> Any:
        attempt = 1
        while True:
            try:
                return await call()
            except grpc.aio.AioRpcError as failure:
                error = error_of(failure)
                wait = self._retry.wait(attempt, error)
                if wait is None:
                    raise error from failure
            await asyncio.sleep(wait)
            attempt += 1


def _requests(study: Study, unread: list[OSError]) -> Iterator[pb.GradeRequest]:
    if isinstance(study, DicomwebReference):
        return iter([reference_request(study)])
    return grade_requests(study, unread)


async def _threaded(items: Iterator[T]) -> AsyncIterator[T]:
    """Iterate over what reads the disk without holding up the event loop."""
    end = object()
    while (item := await anyio.to_thread.run_sync(next, items, end)) is not end:
        yield item  # type: ignore[misc]  # not the end


async def _awaitable(items: Iterable[T] | AsyncIterable[T]) -> AsyncIterator[T]:
    if isinstance(items, AsyncIterable):
        async for item in items:
            yield item
    else:
        async for item in _threaded(iter(items)):
            yield item


def _metadata(api_key: str | None) -> tuple[tuple[str, str], ...]:
    return () if api_key is None else (("authorization", f"Bearer {api_key}"),)


def _serving(answer: health_pb2.HealthCheckResponse) -> bool:
    return answer.status == health_pb2.HealthCheckResponse.SERVING
