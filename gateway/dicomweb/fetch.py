"""Fetches a study into a folder: searched by QIDO-RS, streamed by WADO-RS (PS3.18, chapter 10)."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import anyio
import httpx
from python_multipart.multipart import parse_options_header

from discgrade._retry import retry_after_seconds
from discgrade.dicomweb import DicomwebReference
from discgrade.errors import (
    DiscgradeError,
    Forbidden,
    InvalidRequest,
    PacsFailed,
    PacsRefused,
    PacsTimeout,
    PacsUnavailable,
    ServiceError,
    StudyNotFound,
)
from gateway.dicomweb.qido import QUERY, FoundSeries, read_series, wanted
from gateway.dicomweb.servers import DicomwebServer
from gateway.grading import CLIENT_LEFT
from gateway.metrics import Metrics
from gateway.multipart import PartsToFiles, Spooled, UploadLimits, too_many_files
from gateway.workers import Workers

__all__ = ["Dicomweb"]

_JSON = "application/dicom+json"
_PARTS = 'multipart/related; type="application/dicom"; transfer-syntax=*'
"""As stored: every instance in its own transfer syntax (PS3.18, section 8.7.3.5.2)."""
_MAX_JSON_BYTES = 8 * 1024 * 1024
_BATCH_BYTES = 256 * 1024
_LONGEST_RETRY_AFTER = 120.0
_AWAY = frozenset({408, 429, 502, 503, 504})
_REFUSED = frozenset({401, 403, 407})


class Dicomweb:
    """Fetches studies from the servers of an operator.

    Args:
        servers: Name to server.
        at_once: Most studies being fetched from each server at a time.
        workers: Threads that parse and write.
        metrics: Where fetches are counted.
    """

    def __init__(self, servers: Mapping[str, DicomwebServer], at_once: int, workers: Workers, metrics: Metrics) -> None:
        self._servers = servers
        self._turns = {name: asyncio.Semaphore(at_once) for name in servers}
        self._workers = workers
        self._metrics = metrics
        for name in servers:
            metrics.fetched_bytes.labels(name)
            metrics.fetches.labels(name, "ok")

    def check(self, reference: DicomwebReference, who: str) -> None:
        """Refuse a reference before anything is fetched or kept.

        Args:
            reference: The study.
            who: Name of the principal.

        Raises:
            Forbidden: The server's studies are not for this caller.
            InvalidRequest: The server is not configured.
        """
        callers = self._server(reference).callers
        if callers is not None and who not in callers:
            raise Forbidden("This caller may not have studies fetched from this DICOMweb server.")

    def _server(self, reference: DicomwebReference) -> DicomwebServer:
        if reference.server not in self._servers:
            raise InvalidRequest(
                "No DICOMweb server of this name is configured.",
                "Ask the operator for the names of the servers that studies may be fetched from.",
            )
        return self._servers[reference.server]

    async def fetch(self, reference: DicomwebReference, folder: Path, limits: UploadLimits) -> list[Path]:
        """Write the instances of a study into a folder.

        Args:
            reference: The study, or a series of it.
            folder: An empty folder; the caller removes it whatever happens.
            limits: Checked while reading.

        Returns:
            One path an instance, series after series.

        Raises:
            InvalidRequest: The server is not configured.
            PacsFailed: It answered with an error, or with what cannot be used.
            PacsRefused: It does not accept discgrade's credentials.
            PacsTimeout: It did not answer in time.
            PacsUnavailable: It cannot be reached.
            StudyNotFound: It has no such study or series.
            UploadTooLarge: Over a limit.
            WrongModality: The study has no MR.
        """
        server = self._server(reference)
        spooled = Spooled(folder)
        async with self._turns[reference.server], self._observed(reference.server, spooled), _translated(server):
            try:
                client = await self._workers.disk(server.open)
            except OSError as error:  # ssl.SSLError is one; neither is told, they name files
                raise PacsRefused("The credentials for the DICOMweb server cannot be read.") from error
            async with client:
                study = f"{server.url}/studies/{reference.study_uid}"
                for series in await self._series(client, study, reference, limits):
                    before = spooled.parts
                    await self._instances(client, f"{study}/series/{series.uid}", spooled, limits)
                    if spooled.parts - before < (series.instances or 1):
                        raise PacsFailed("The DICOMweb server sent fewer instances of a series than it says it has.")
        return spooled.paths

    async def _series(
        self, client: httpx.AsyncClient, study: str, reference: DicomwebReference, limits: UploadLimits
    ) -> list[FoundSeries]:
        query = dict(QUERY)
        if reference.series_uid is not None:
            query["SeriesInstanceUID"] = reference.series_uid
        async with client.stream("GET", f"{study}/series", params=query, headers={"Accept": _JSON}) as answer:
            found = read_series(await _json(answer)) if _holds_content(answer) else []
        if reference.series_uid is None:
            chosen = wanted(found)
        else:
            chosen = [one for one in found if one.uid == reference.series_uid]
            if not chosen:
                raise StudyNotFound("The DICOMweb server knows no such series of this study.")
        if sum(one.instances or 0 for one in chosen) > limits.files:
            raise too_many_files(limits)
        return chosen

    async def _instances(self, client: httpx.AsyncClient, url: str, spooled: Spooled, limits: UploadLimits) -> None:
        async with client.stream("GET", url, headers={"Accept": _PARTS}) as answer:
            if not _holds_content(answer):
                raise PacsFailed("The DICOMweb server sent nothing of a series that it listed.")
            with closing(PartsToFiles(_boundary(answer), spooled, limits, _check_part, PacsFailed)) as parser:
                async for batch in _batches(answer):
                    await self._workers.disk(parser.write, batch)
                if not parser.ended:  # many servers send no length, so that this alone tells
                    raise PacsUnavailable("The DICOMweb server broke off.")

    @asynccontextmanager
    async def _observed(self, server: str, spooled: Spooled) -> AsyncIterator[None]:
        started = time.perf_counter()
        outcome = ServiceError.slug
        try:
            yield
            outcome = "ok"
        except DiscgradeError as error:
            outcome = error.slug
            raise
        except asyncio.CancelledError:
            outcome = CLIENT_LEFT
            raise
        finally:
            self._metrics.fetches.labels(server, outcome).inc()
            self._metrics.fetched_bytes.labels(server).inc(spooled.bytes)
            if outcome == "ok":
                self._metrics.fetch.observe(time.perf_counter() - started)


@asynccontextmanager
async def _translated(server: DicomwebServer) -> AsyncIterator[None]:
    """Says in errors of ours what httpx met, whose texts may hold the address with its UIDs."""
    try:
        with anyio.fail_after(server.fetch_seconds):
            yield
    except TimeoutError:
        raise PacsTimeout(f"The study did not arrive from the DICOMweb server in {server.fetch_seconds:g} s.") from None
    except httpx.ConnectTimeout:
        raise PacsUnavailable("The DICOMweb server cannot be reached.") from None
    except httpx.TimeoutException:
        raise PacsTimeout(f"The DICOMweb server sent nothing for {server.idle_seconds:g} s.") from None
    except httpx.TransportError:
        raise PacsUnavailable("The DICOMweb server cannot be reached, or broke off.") from None


def _holds_content(answer: httpx.Response) -> bool:
    """Whether an answer is a success with content.

    Raises:
        DiscgradeError: It is no success.
    """
    status = answer.status_code
    if status in _AWAY:
        after = retry_after_seconds(answer.headers.get("retry-after"), answer.headers.get("date"))
        raise PacsUnavailable(
            f"The DICOMweb server answered with HTTP status {status}.",
            retry_after_seconds=None if after is None else min(after, _LONGEST_RETRY_AFTER),
        )
    if status in _REFUSED:
        raise PacsRefused(f"The DICOMweb server answered with HTTP status {status}.")
    if status == 404:
        raise StudyNotFound("The DICOMweb server knows no such study or series.")
    if answer.is_redirect:
        raise PacsFailed(
            "The DICOMweb server redirects to another address.", "Have the operator configure its final address."
        )
    if status not in {200, 204}:  # 206 would be a part of the series
        raise PacsFailed(f"The DICOMweb server answered with HTTP status {status}.")
    if answer.headers.get("content-encoding", "identity").lower() != "identity":
        raise PacsFailed("The DICOMweb server compresses its answer, which was not asked for.")
    return status == 200


async def _json(answer: httpx.Response) -> Any:
    body = bytearray()
    async for chunk in answer.aiter_raw():
        body += chunk
        if len(body) > _MAX_JSON_BYTES:
            raise PacsFailed("The DICOMweb server's list of series is too long.")
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise PacsFailed("The DICOMweb server's list of series is not JSON.") from None


def _boundary(answer: httpx.Response) -> bytes:
    content_type, options = parse_options_header(answer.headers.get("content-type"))
    boundary = options.get(b"boundary")
    if content_type != b"multipart/related" or not boundary:
        raise PacsFailed("The DICOMweb server sent a series as something else than multipart/related.")
    return boundary


def _check_part(headers: Mapping[bytes, bytes]) -> None:
    content_type, _ = parse_options_header(headers.get(b"content-type", b"application/dicom"))
    if content_type != b"application/dicom":
        raise PacsFailed("The DICOMweb server sent something else than DICOM instances.")


async def _batches(answer: httpx.Response) -> AsyncIterator[bytes]:
    """Join the small chunks of the socket, so that a thread is asked once for many of them."""
    batch = bytearray()
    async for chunk in answer.aiter_raw():
        batch += chunk
        if len(batch) >= _BATCH_BYTES:
            yield bytes(batch)
            batch.clear()
    yield bytes(batch)
