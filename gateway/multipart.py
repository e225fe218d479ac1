"""A multipart body, parsed while it arrives and written straight to disk.

Nothing but the part being copied is in memory, every limit is checked before the bytes are kept, and file names that
are sent along are never looked at: files are called ``00001``, ``00002``, … in the order they came.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser

from discgrade.errors import DiscgradeError, UploadTooLarge

__all__ = ["PartsToFiles", "Spooled", "UploadLimits", "too_many_bytes", "too_many_files"]

_MAX_HEADER_BYTES = 4096
_MAX_HEADERS = 8
_OVERHEAD_BYTES = 2048
"""Multipart framing allowed per file on top of the files' own bytes."""


@dataclass(frozen=True)
class UploadLimits:
    """What one study may hold as it comes in.

    Attributes:
        bytes: Most bytes of all files together.
        files: Most files.
        idle_seconds: Longest wait for the next bytes.
    """

    bytes: int
    files: int
    idle_seconds: float

    @property
    def with_framing(self) -> int:
        """Most bytes of a body that holds the files."""
        return self.bytes + self.files * _OVERHEAD_BYTES


def too_many_bytes(limits: UploadLimits) -> UploadTooLarge:
    """The error for more bytes than the limits allow."""
    return UploadTooLarge(f"The upload is larger than the {limits.bytes // (1024 * 1024)} MiB this server accepts.")


def too_many_files(limits: UploadLimits) -> UploadTooLarge:
    """The error for more files than the limits allow."""
    return UploadTooLarge(f"The upload holds more than the {limits.files} files this server accepts.")


@dataclass
class Spooled:
    """What was written so far, of one body or of several.

    Attributes:
        folder: Where the files are.
        paths: One a file that is not empty, in the order of the parts.
        parts: Parts begun.
        bytes: Of all parts.
    """

    folder: Path
    paths: list[Path] = field(default_factory=list)
    parts: int = 0
    bytes: int = 0


class PartsToFiles:
    """Receives the events of python-multipart's push parser and writes part bodies to files.

    Args:
        boundary: Between the parts.
        spooled: Counted on.
        limits: Checked while reading.
        check_headers: Given the headers of each part, names in lower case; raises where they are not as wanted.
        malformed: Makes the error for a body that is no multipart, of what is wrong with it.

    Raises:
        DiscgradeError: The boundary is too long.
    """

    def __init__(
        self,
        boundary: bytes,
        spooled: Spooled,
        limits: UploadLimits,
        check_headers: Callable[[Mapping[bytes, bytes]], None],
        malformed: Callable[[str], DiscgradeError],
    ) -> None:
        self._spooled = spooled
        self._limits = limits
        self._check_headers = check_headers
        self._malformed = malformed
        self._bytes_before_part = 0
        self._name = b""
        self._value = b""
        self._headers: dict[bytes, bytes] = {}
        self._file: BinaryIO | None = None
        self.total = 0
        """Bytes of the body so far, framing included."""
        self.ended = False
        """Whether the last boundary came."""
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
            raise malformed("The multipart boundary is too long.") from None

    def write(self, data: bytes) -> None:
        """Take the next bytes of the body.

        Raises:
            DiscgradeError: Malformed, or over a limit.
        """
        self.total += len(data)
        if self.total > self._limits.with_framing:
            raise too_many_bytes(self._limits)
        try:
            self._parser.write(data)
        except FormParserError:
            raise self._malformed("The multipart body is malformed.") from None

    def close(self) -> None:
        """Close the file being written."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _on_part_begin(self) -> None:
        self._spooled.parts += 1
        self._bytes_before_part = self._spooled.bytes
        self._name = self._value = b""
        self._headers = {}
        if self._spooled.parts > self._limits.files:
            raise too_many_files(self._limits)

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _on_header_end(self) -> None:
        self._headers[self._name.lower()] = self._value
        self._name = self._value = b""

    def _on_headers_finished(self) -> None:
        self._check_headers(self._headers)
        self._file = (self._spooled.folder / f"{self._spooled.parts:05d}").open("wb")

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        assert self._file is not None
        self._spooled.bytes += end - start
        if self._spooled.bytes > self._limits.bytes:
            raise too_many_bytes(self._limits)
        self._file.write(memoryview(data)[start:end])

    def _on_part_end(self) -> None:
        assert self._file is not None
        path = Path(self._file.name)
        self.close()
        if self._spooled.bytes > self._bytes_before_part:
            self._spooled.paths.append(path)
        else:
            path.unlink()

    def _on_end(self) -> None:
        self.ended = True
