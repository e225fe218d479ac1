"""The multipart body of a request, and the limits of every upload."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import closing, suppress
from functools import partial
from pathlib import Path

import anyio
from fastapi import Request
from pydantic import ValidationError
from python_multipart.multipart import parse_options_header
from starlette.requests import ClientDisconnect

from discgrade.dicomweb import DicomwebReference, StudyReference
from discgrade.errors import DiscgradeError, EmptyUpload, InvalidRequest, UploadTimeout
from gateway.multipart import PartsToFiles, Spooled, UploadLimits, too_many_bytes
from gateway.workers import Workers

__all__ = ["FIELD_NAME", "declared_bytes", "drain", "is_reference", "receive", "reference"]

FIELD_NAME = "files"
"""The form field that carries the files; it may be repeated."""

_BATCH_BYTES = 256 * 1024
_MAX_REFERENCE_BYTES = 4096
_DRAIN_BYTES = 64 * 1024 * 1024
_DRAIN_SECONDS = 5.0


def is_reference(request: Request) -> bool:
    """Whether a request says that it carries a reference to a study, and not the study."""
    content_type, _ = parse_options_header(request.headers.get("content-type"))
    return content_type == b"application/json"


async def reference(request: Request, idle_seconds: float) -> DicomwebReference | None:
    """The reference to a study that a request carries in place of the study; None where it carries the study.

    Args:
        request: Its body is consumed where it is JSON.
        idle_seconds: Longest wait for the next bytes.

    Raises:
        InvalidRequest: JSON, but no reference.
        UploadTimeout: The client stopped sending.
        starlette.requests.ClientDisconnect: The client left.
    """
    if not is_reference(request):
        return None
    chunks, body = request.stream(), bytearray()
    async for batch in _batches(chunks, idle_seconds):
        body += batch
        if len(body) > _MAX_REFERENCE_BYTES:
            await _drain(chunks)
            raise InvalidRequest("The reference to a study is too long.")
    try:
        return StudyReference.model_validate_json(body).dicomweb
    except ValidationError as error:
        # Names of fields of ours only: all else in the body may be anything.
        known = {"dicomweb", *DicomwebReference.model_fields}
        fields = {str(item["loc"][-1]) for item in error.errors() if item["loc"]} & known
        at = f" at: {', '.join(sorted(fields))}" if fields else ""
        raise InvalidRequest(
            f"The reference to a study does not match the API description{at}.",
            'Send {"dicomweb": {"server": NAME, "study_uid": UID, "series_uid": UID}}; the last one may be left out.',
        ) from None


async def receive(request: Request, folder: Path, limits: UploadLimits, workers: Workers) -> list[Path]:
    """Write the files of a multipart request into a folder.

    Args:
        request: Its body is consumed.
        folder: An empty folder; the caller removes it whatever happens.
        limits: Checked while reading.
        workers: Threads that parse and write.

    Returns:
        One path a file, in the order sent; empty files are left out.

    Raises:
        EmptyUpload: No file, or only empty ones.
        InvalidRequest: Not multipart/form-data, malformed, cut short, or with other form fields.
        UploadTimeout: The client stopped sending.
        UploadTooLarge: Over a limit.
        starlette.requests.ClientDisconnect: The client left.
    """
    chunks = request.stream()
    try:
        _check_content_length(request, limits)
        boundary, spooled = _boundary(request), Spooled(folder)
        with closing(PartsToFiles(boundary, spooled, limits, partial(_check_name, spooled), InvalidRequest)) as parser:
            async for batch in _batches(chunks, limits.idle_seconds):
                await workers.disk(parser.write, batch)
            if parser.total == 0:
                raise EmptyUpload("The request has no body.")
            if not parser.ended:
                raise InvalidRequest("The multipart body ends before its last boundary.")
        if not spooled.paths:
            raise EmptyUpload("Every file sent is empty." if spooled.parts else "The request holds no file.")
        return spooled.paths
    except DiscgradeError:
        await _drain(chunks)
        raise


def declared_bytes(request: Request) -> int | None:
    """The size of the body as the client says it; None where it does not."""
    declared = request.headers.get("content-length", "")
    return int(declared) if declared.isdecimal() else None


async def drain(request: Request) -> None:
    """Read a refused body for a moment, unless the client waits to be asked for it (RFC 9110, section 10.1.1)."""
    if request.headers.get("expect", "").lower() != "100-continue":
        await _drain(request.stream())


def _boundary(request: Request) -> bytes:
    content_type, options = parse_options_header(request.headers.get("content-type"))
    boundary = options.get(b"boundary")
    if content_type != b"multipart/form-data" or not boundary:
        if request.headers.get("content-length") == "0":
            raise EmptyUpload("The request has no body.")
        raise InvalidRequest(
            "The request body is not multipart/form-data.",
            f"Send the files as multipart/form-data in form fields named '{FIELD_NAME}', or a reference as JSON.",
        )
    return boundary


def _check_content_length(request: Request, limits: UploadLimits) -> None:
    """Refuse before reading what the client itself says is too much; what it does not say is counted later."""
    declared = declared_bytes(request)
    if declared is not None and declared > limits.with_framing:
        raise too_many_bytes(limits)


async def _batches(chunks: AsyncIterator[bytes], idle_seconds: float) -> AsyncIterator[bytes]:
    """Join the small chunks of the socket, so that a thread is asked once for many of them."""
    batch = bytearray()
    while True:
        try:
            with anyio.fail_after(idle_seconds):
                chunk = await anext(chunks)
        except StopAsyncIteration:
            break
        except TimeoutError:
            raise UploadTimeout(f"No bytes arrived for {idle_seconds:g} seconds.") from None
        batch += chunk
        if len(batch) >= _BATCH_BYTES:
            yield bytes(batch)
            batch.clear()
    yield bytes(batch)


async def _drain(chunks: AsyncIterator[bytes]) -> None:
    """Read on for a moment after a refusal: a client still sending would see a reset instead of the answer."""
    left = _DRAIN_BYTES
    with anyio.move_on_after(_DRAIN_SECONDS), suppress(ClientDisconnect):
        async for chunk in chunks:
            left -= len(chunk)
            if left < 0:
                return


def _check_name(spooled: Spooled, headers: Mapping[bytes, bytes]) -> None:
    _, options = parse_options_header(headers.get(b"content-disposition"))
    if options.get(b"name") != FIELD_NAME.encode():
        raise InvalidRequest(
            f"Part {spooled.parts} of the form is not named '{FIELD_NAME}'.",
            f"Name every form field '{FIELD_NAME}'; no other fields are read.",
        )
