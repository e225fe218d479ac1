"""Clients of the HTTP API, with and without an event loop; :mod:`discgrade.grpc_client` has those for gRPC."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import TypeVar

import httpx

from discgrade import _http
from discgrade._http import Call, Upload
from discgrade._retry import NO_RETRY, Retry
from discgrade.dicomweb import Study
from discgrade.errors import DiscgradeError, ServiceError
from discgrade.job import Job, JobPage, JobState
from discgrade.result import GradingResult, ModelUsed

__all__ = ["NO_RETRY", "AsyncClient", "Client", "Retry"]

_POLL_SECONDS = 0.5
_LONGEST_POLL_SECONDS = 5.0
T = TypeVar("T")


class Client:
    """Talks to a discgrade server; a context manager. Threads may share it.

    Args:
        url: Base URL, such as ``http://127.0.0.1:8000``.
        timeout_seconds: Longest wait for the server's next bytes.
        transport: How requests travel; httpx's own when omitted.
        api_key: An API key or an access token, for servers whose door is on.
        retry: What is done about 429, 503 and a server that cannot be reached.

    Every method raises :class:`discgrade.errors.DiscgradeError`: the subclass that the server raised.
    """

    def __init__(
        self,
        url: str,
        timeout_seconds: float = 300.0,
        transport: httpx.BaseTransport | None = None,
        *,
        api_key: str | None = None,
        retry: Retry | None = None,
    ) -> None:
        self._http = httpx.Client(base_url=url, timeout=timeout_seconds, transport=transport, headers=_headers(api_key))
        self._retry = retry or Retry()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def grade(self, study: Study) -> GradingResult:
        """Send or name a study and wait for its result.

        Args:
            study: DICOM files, or one zip of them, or one NIfTI file: they are read piece by piece, and their names
                stay here. Or where the server finds the study.
        """
        return self._do(_http.grade(study))

    def submit(self, study: Study, *, idempotency_key: str | None = None, webhook_url: str | None = None) -> Job:
        """Hand a study in; it is graded whatever is restarted in between.

        Args:
            study: As for :meth:`grade`.
            idempotency_key: The same key and study give the same job, however often they are sent; random by default.
            webhook_url: Told once the job ended.
        """
        return self._do(_http.submit(study, idempotency_key, webhook_url))

    def job(self, job_id: str) -> Job:
        """Where a job stands."""
        return self._do(_http.job(job_id))

    def wait(self, job_id: str) -> Job:
        """Ask until a job has ended; returns it as it ended."""
        pause = _POLL_SECONDS
        while not (job := self.job(job_id)).state.ended:
            time.sleep(pause)
            pause = min(pause * 1.5, _LONGEST_POLL_SECONDS)
        return job

    def cancel(self, job_id: str) -> Job:
        """Cancel a job that has not ended."""
        return self._do(_http.cancel(job_id))

    def jobs(self, state: JobState | None = None, *, limit: int = 100, cursor: str | None = None) -> JobPage:
        """One page of one's own jobs, the newest first."""
        return self._do(_http.jobs(state, limit, cursor))

    def all_jobs(self, state: JobState | None = None) -> Iterator[Job]:
        """All of one's own jobs, the newest first, fetched page by page."""
        cursor: str | None = None
        while True:
            page = self.jobs(state, cursor=cursor)
            yield from page.jobs
            if (cursor := page.next_cursor) is None:
                return

    def result(self, result_id: str) -> GradingResult:
        """Fetch a kept result."""
        return self._do(_http.result(result_id))

    def segmentation(self, result_id: str) -> bytes:
        """Fetch a result's label image: a gzipped NIfTI-1 file."""
        return self._do(_http.file_of(result_id, "segmentation.nii.gz"))

    def image(self, result_id: str) -> bytes:
        """Fetch the image that was graded: a gzipped NIfTI-1 file on the grid of the label image."""
        return self._do(_http.file_of(result_id, "image.nii.gz"))

    def overlay(self, result_id: str) -> bytes:
        """Fetch a result's picture: a PNG file."""
        return self._do(_http.file_of(result_id, "overlay.png"))

    def report(self, result_id: str) -> bytes:
        """Fetch a result's report of one page, for people: a PDF file, which names no patient."""
        return self._do(_http.file_of(result_id, "report.pdf"))

    def dicom_segmentation(self, result_id: str) -> bytes:
        """Fetch a result's discs as DICOM SEG; there is none of a NIfTI study."""
        return self._do(_http.file_of(result_id, "segmentation.dcm"))

    def dicom_report(self, result_id: str) -> bytes:
        """Fetch a result's measurements and grades as DICOM SR (TID 1500); there is none of a NIfTI study."""
        return self._do(_http.file_of(result_id, "report.sr.dcm"))

    def dicom_overlay(self, result_id: str) -> bytes:
        """Fetch a result's picture as DICOM secondary capture; there is none of a NIfTI study."""
        return self._do(_http.file_of(result_id, "overlay.dcm"))

    def dicom_pdf(self, result_id: str) -> bytes:
        """Fetch a result's report of one page as DICOM encapsulated PDF; there is none of a NIfTI study."""
        return self._do(_http.file_of(result_id, "report.pdf.dcm"))

    def delete(self, result_id: str) -> None:
        """Delete a result and its files; needs the scope ``admin``."""
        self._do(_http.delete(result_id))

    def models(self) -> list[ModelUsed]:
        """List the models that grade."""
        return self._do(_http.models())

    def ready(self) -> bool:
        """Whether the server could grade now; False also while it cannot be reached."""
        try:
            self._once(_http.ready())
        except ServiceError:
            return False
        return True

    def _do(self, call: Call[T]) -> T:
        attempt = 1
        while True:
            try:
                return self._once(call)
            except DiscgradeError as error:
                wait = self._retry.wait(attempt, error)
                if wait is None:
                    raise
            time.sleep(wait)
            attempt += 1

    def _once(self, call: Call[T]) -> T:
        upload = None if call.files is None else Upload(call.files)
        headers = call.headers if upload is None else {**call.headers, **upload.headers}
        with _translated():
            answer = self._http.request(call.method, call.path, content=upload or call.body, headers=headers)
        return _http.answered(call, answer)


class AsyncClient:
    """:class:`Client` for an event loop (asyncio); an asynchronous context manager.

    Args:
        url: Base URL, such as ``http://127.0.0.1:8000``.
        timeout_seconds: Longest wait for the server's next bytes.
        transport: How requests travel; httpx's own when omitted.
        api_key: An API key or an access token, for servers whose door is on.
        retry: What is done about 429, 503 and a server that cannot be reached.

    Every method raises :class:`discgrade.errors.DiscgradeError`: the subclass that the server raised. A call that is
    cancelled closes its connection, and the server cancels the work.
    """

    def __init__(
        self,
        url: str,
        timeout_seconds: float = 300.0,
        transport: httpx.AsyncBaseTransport | None = None,
        *,
        api_key: str | None = None,
        retry: Retry | None = None,
    ) -> None:
        self._http = httpx.AsyncClient(
            base_url=url, timeout=timeout_seconds, transport=transport, headers=_headers(api_key)
        )
        self._retry = retry or Retry()

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def grade(self, study: Study) -> GradingResult:
        """Send or name a study and wait for its result; see :meth:`Client.grade`."""
        return await self._do(_http.grade(study))

    async def submit(self, study: Study, *, idempotency_key: str | None = None, webhook_url: str | None = None) -> Job:
        """Hand a study in; see :meth:`Client.submit`."""
        return await self._do(_http.submit(study, idempotency_key, webhook_url))

    async def job(self, job_id: str) -> Job:
        """Where a job stands."""
        return await self._do(_http.job(job_id))

    async def wait(self, job_id: str) -> Job:
        """Ask until a job has ended; returns it as it ended."""
        pause = _POLL_SECONDS
        while not (job := await self.job(job_id)).state.ended:
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, _LONGEST_POLL_SECONDS)
        return job

    async def cancel(self, job_id: str) -> Job:
        """Cancel a job that has not ended."""
        return await self._do(_http.cancel(job_id))

    async def jobs(self, state: JobState | None = None, *, limit: int = 100, cursor: str | None = None) -> JobPage:
        """One page of one's own jobs, the newest first."""
        return await self._do(_http.jobs(state, limit, cursor))

    async def all_jobs(self, state: JobState | None = None) -> AsyncIterator[Job]:
        """All of one's own jobs, the newest first, fetched page by page."""
        cursor: str | None = None
        while True:
            page = await self.jobs(state, cursor=cursor)
            for job in page.jobs:
                yield job
            if (cursor := page.next_cursor) is None:
                return

    async def result(self, result_id: str) -> GradingResult:
        """Fetch a kept result."""
        return await self._do(_http.result(result_id))

    async def segmentation(self, result_id: str) -> bytes:
        """Fetch a result's label image: a gzipped NIfTI-1 file."""
        return await self._do(_http.file_of(result_id, "segmentation.nii.gz"))

    async def image(self, result_id: str) -> bytes:
        """Fetch the image that was graded; see :meth:`Client.image`."""
        return await self._do(_http.file_of(result_id, "image.nii.gz"))

    async def overlay(self, result_id: str) -> bytes:
        """Fetch a result's picture: a PNG file."""
        return await self._do(_http.file_of(result_id, "overlay.png"))

    async def report(self, result_id: str) -> bytes:
        """Fetch a result's report of one page; see :meth:`Client.report`."""
        return await self._do(_http.file_of(result_id, "report.pdf"))

    async def dicom_segmentation(self, result_id: str) -> bytes:
        """Fetch a result's discs as DICOM SEG; see :meth:`Client.dicom_segmentation`."""
        return await self._do(_http.file_of(result_id, "segmentation.dcm"))

    async def dicom_report(self, result_id: str) -> bytes:
        """Fetch a result's measurements and grades as DICOM SR; see :meth:`Client.dicom_report`."""
        return await self._do(_http.file_of(result_id, "report.sr.dcm"))

    async def dicom_overlay(self, result_id: str) -> bytes:
        """Fetch a result's picture as DICOM secondary capture; see :meth:`Client.dicom_overlay`."""
        return await self._do(_http.file_of(result_id, "overlay.dcm"))

    async def dicom_pdf(self, result_id: str) -> bytes:
        """Fetch a result's report of one page as DICOM encapsulated PDF; see :meth:`Client.dicom_pdf`."""
        return await self._do(_http.file_of(result_id, "report.pdf.dcm"))

    async def delete(self, result_id: str) -> None:
        """Delete a result and its files; needs the scope ``admin``."""
        await self._do(_http.delete(result_id))

    async def models(self) -> list[ModelUsed]:
        """List the models that grade."""
        return await self._do(_http.models())

    async def ready(self) -> bool:
        """Whether the server could grade now; False also while it cannot be reached."""
        try:
            await self._once(_http.ready())
        except ServiceError:
            return False
        return True

    async def _do(self, call: Call[T]) -> T:
        attempt = 1
        while True:
            try:
                return await self._once(call)
            except DiscgradeError as error:
                wait = self._retry.wait(attempt, error)
                if wait is None:
                    raise
            await asyncio.sleep(wait)
            attempt += 1

    async def _once(self, call: Call[T]) -> T:
        upload = None if call.files is None else Upload(call.files)
        headers = call.headers if upload is None else {**call.headers, **upload.headers}
        with _translated():
            content = call.body if upload is None else upload.stream()
            answer = await self._http.request(call.method, call.path, content=content, headers=headers)
        return _http.answered(call, answer)


def _headers(api_key: str | None) -> dict[str, str]:
    return {} if api_key is None else {"Authorization": f"Bearer {api_key}"}


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except httpx.TransportError as error:
        raise _http.failure(error) from error
