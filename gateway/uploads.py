"""A multipart request body, parsed while it arrives and written straight to disk.

Nothing but the part being copied is in memory, every limit is checked before the bytes are kept, and the client's
file names are never looked at: files are called ``00001``, ``00002``, … in the order they came.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import anyio
from fastapi import Request
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import ClientDisconnect

from discgrade.errors import DiscgradeError, EmptyUpload, InvalidRequest, UploadTimeout, UploadTooLarge
from gateway.workers import Workers

__all__ = ["FIELD_NAME", "UploadLimits", "declared_bytes", "drain", "receive", "too_many_bytes", "too_many_files"]

FIELD_NAME = "files"
"""The form field that carries the files; it may be repeated."""

_BATCH_BYTES = 256 * 1024
_MAX_HEADER_BYTES = 4096
_MAX_HEADERS = 8
_OVERHEAD_BYTES = 2048
"""Multipart framing allowed per file on top of the files' own bytes."""
_DRAIN_BYTES = 64 * 1024 * 1024
_DRAIN_SECONDS = 5.0


@dataclass(frozen=True)
class UploadLimits:
    """What one upload may hold.

    Attributes:
        bytes: Most bytes of all files together.
        files: Most files.
        idle_seconds: Longest wait for the next bytes.
    """

    bytes: int
    files: int
    idle_seconds: float


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
        with closing(_Parser(_boundary(request), folder, limits)) as parser:
            async for batch in _batches(chunks, limits.idle_seconds):
                await workers.disk(parser.write, batch)
            return parser.finish()
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
            f"Send the files as multipart/form-data in form fields named '{FIELD_NAME}'.",
        )
    return boundary


def _check_content_length(request: Request, limits: UploadLimits) -> None:
    """Refuse before reading what the client itself says is too much; what it does not say is counted later."""
    declared = declared_bytes(request)
    if declared is not None and declared > limits.bytes + limits.files * _OVERHEAD_BYTES:
        raise too_many_bytes(limits)


def too_many_bytes(limits: UploadLimits) -> UploadTooLarge:
    """The error for more bytes than the limits allow."""
    return UploadTooLarge(f"The upload is larger than the {limits.bytes // (1024 * 1024)} MiB this server accepts.")


def too_many_files(limits: UploadLimits) -> UploadTooLarge:
    """The error for more files than the limits allow."""
    return UploadTooLarge(f"The upload holds more than the {limits.files} files this server accepts.")


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


class _Parser:
    """Receives the events of python-multipart's push parser and writes part bodies to files."""

    def __init__(self, boundary: bytes, folder: Path, limits: UploadLimits) -> None:
        self._folder = folder
        self._limits = limits
        self._paths: list[Path] = []
        self._parts = 0
        self._bytes = 0
        self._bytes_before_part = 0
        self._total = 0
        self._header_name = b""
        self._header_value = b""
        self._disposition = b""
        self._file: BinaryIO | None = None
        self._ended = False
        try:
            self._parser = MultipartParser(
                boundary,
                {
                    "on_part_begin": self._on_part_begin,
                    "on_header_field": self._on_header_field,
                    "on_header_value": self._on_header_value,
                    "on_header_end": self._on_header_end,
                    "on_headers_finished": self._on_headers_finished,
                    "on_part_data": self._on_part_data,
                    "on_part_end": self._on_part_end,
                    "on_end": self._on_end,
                },
                max_header_count=_MAX_HEADERS,
                max_header_size=_MAX_HEADER_BYTES,
            )
        except FormParserError:
            raise InvalidRequest("The multipart boundary is too long.") from None

    def write(self, data: bytes) -> None:
        self._total += len(data)
        if self._total > self._limits.bytes + self._limits.files * _OVERHEAD_BYTES:
            raise too_many_bytes(self._limits)
        try:
            self._parser.write(data)
        except FormParserError:
            raise InvalidRequest("The multipart body is malformed.") from None

    def finish(self) -> list[Path]:
        if self._total == 0:
            raise EmptyUpload("The request has no body.")
        if not self._ended:
            raise InvalidRequest("The multipart body ends before its last boundary.")
        if not self._paths:
            what = "Every file sent is empty." if self._parts else "The request holds no file."
            raise EmptyUpload(what)
        return self._paths

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _on_part_begin(self) -> None:
        self._parts += 1
        self._bytes_before_part = self._bytes
        self._header_name = self._header_value = self._disposition = b""
        if self._parts > self._limits.files:
            raise too_many_files(self._limits)

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._header_name += data[start:end]

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._header_value += data[start:end]

    def _on_header_end(self) -> None:
        if self._header_name.lower() == b"content-disposition":
            self._disposition = self._header_value
        self._header_name = self._header_value = b""

    def _on_headers_finished(self) -> None:
        _, options = parse_options_header(self._disposition)
        if options.get(b"name") != FIELD_NAME.encode():
            raise InvalidRequest(
                f"Part {self._parts} of the form is not named '{FIELD_NAME}'.",
                f"Name every form field '{FIELD_NAME}'; no other fields are read.",
            )
        self._file = (self._folder / f"{self._parts:05d}").open("wb")

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        assert self._file is not None
        self._bytes += end - start
        if self._bytes > self._limits.bytes:
            raise too_many_bytes(self._limits)
        self._file.write(memoryview(data)[start:end])

    def _on_part_end(self) -> None:
        assert self._file is not None
        path = Path(self._file.name)
        self.close()
        if self._bytes > self._bytes_before_part:
            self._paths.append(path)
        else:
            path.unlink()

    def _on_end(self) -> None:
        self._ended = True
