"""A study that arrives in chunks over gRPC, written straight to disk under the limits of every upload."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

from discgrade.errors import EmptyUpload, InvalidRequest
from discgrade.v1 import grading_pb2 as pb
from gateway.multipart import UploadLimits, too_many_bytes, too_many_files
from gateway.workers import Workers

__all__ = ["StudySpool"]

_BATCH_BYTES = 256 * 1024


class StudySpool:
    """Writes chunks into files ``00001``, ``00002``, … of a folder.

    Args:
        folder: Empty; the caller removes it whatever happens, after :meth:`close`.
        limits: Checked before bytes are kept.
        workers: Threads that write.
        total_bytes: The size of the study as its sender says; 0 where it does not.

    Raises:
        UploadTooLarge: The sender says so itself.
    """

    def __init__(self, folder: Path, limits: UploadLimits, workers: Workers, total_bytes: int = 0) -> None:
        self._folder = folder
        self._limits = limits
        self._workers = workers
        self._bytes = 0
        self._buffer = bytearray()
        self._file: BinaryIO | None = None
        self._begun = 0
        self._written: list[Path] = []
        self._check(total_bytes)

    async def add(self, chunk: pb.FileChunk) -> None:
        """Take the next chunk.

        Raises:
            InvalidRequest: Its file is neither that of the chunk before nor the next one.
            UploadTooLarge: Over a limit.
        """
        if chunk.file not in (self._begun - 1, self._begun):
            raise InvalidRequest(
                f"A chunk belongs to file {chunk.file} after {self._begun} files were begun.",
                "Number the files of a study from 0, and send them one after the other.",
            )
        if chunk.file == self._begun:
            await self._flush()
            await self.close()
            self._begun += 1
            if self._begun > self._limits.files:
                raise too_many_files(self._limits)
        self._bytes += len(chunk.data)
        self._check(self._bytes)
        self._buffer += chunk.data
        if len(self._buffer) >= _BATCH_BYTES:
            await self._flush()

    async def finish(self) -> list[Path]:
        """The files, in the order sent; empty ones are left out.

        Raises:
            EmptyUpload: No file, or only empty ones.
        """
        await self._flush()
        await self.close()
        if not self._written:
            raise EmptyUpload(
                "Every file sent is empty." if self._begun else "The request holds no file.",
                "Send the bytes of the DICOM files, a zip of them, or one NIfTI file in chunks.",
            )
        return self._written

    async def close(self) -> None:
        """Close the file being written."""
        if self._file is not None:
            file, self._file = self._file, None
            await self._workers.disk(file.close)

    async def _flush(self) -> None:
        if self._buffer:
            await self._workers.disk(self._write)

    def _write(self) -> None:
        if self._file is None:
            path = self._folder / f"{self._begun:05d}"
            self._file = path.open("wb")
            self._written.append(path)
        self._file.write(self._buffer)
        self._buffer.clear()

    def _check(self, total: int) -> None:
        if total > self._limits.bytes:
            raise too_many_bytes(self._limits)
