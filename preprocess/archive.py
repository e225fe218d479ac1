"""Takes files out of a zip without trusting a word of it."""

from __future__ import annotations

import errno
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import BinaryIO

from discgrade.errors import UnreadableFile, UnsafeArchive, UploadTooLarge
from preprocess.limits import Limits

__all__ = ["ZIP_SIGNATURES", "Budget", "extract_zip"]

ZIP_SIGNATURES = (b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08")
"""First bytes of a zip: a local file, an empty archive, a spanned one (APPNOTE 4.3)."""

_CHUNK = 1 << 18
_RATIO_FLOOR = 1 << 20  # below a megabyte a high ratio harms nobody (empty tables, synthetic images)
_MEAN_ENTRY = 1024  # generous bytes of central directory for one member: 46 fixed, the rest name and extra field
_ENCRYPTED = 0x1 | 0x40
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


class Budget:
    """Counts decompressed bytes as they appear, so that lying headers do not matter.

    Args:
        limits: Bounds to keep.
        compressed: Bytes that the whole is decompressed from.
    """

    def __init__(self, limits: Limits, compressed: int) -> None:
        self._limits = limits
        self._compressed = max(compressed, 1)
        self._used = 0

    def take(self, count: int) -> None:
        """Count some more decompressed bytes.

        Raises:
            UploadTooLarge: Over ``max_bytes``.
            UnsafeArchive: Over ``max_ratio``.
        """
        self._used += count
        if self._used > self._limits.max_bytes:
            raise UploadTooLarge(f"The upload holds more than {self._limits.max_bytes} bytes when decompressed.")
        if self._used > _RATIO_FLOOR and self._used > self._limits.max_ratio * self._compressed:
            raise UnsafeArchive(
                f"The upload grows more than {self._limits.max_ratio:g}-fold when decompressed.",
                "Send the files uncompressed, or recompress them with an ordinary tool.",
            )


def extract_zip(path: Path, into: Path, limits: Limits) -> list[Path]:
    """Extract every file of a zip as ``into/00000``, ``into/00001``, …, in the archive's order.

    The archive's own names are checked but never used, so no name can lead outside ``into``.

    Args:
        path: The zip file.
        into: An existing folder.
        limits: Bounds on members, bytes and ratio.

    Returns:
        The extracted files.

    Raises:
        UploadTooLarge: More members or bytes than allowed; bytes are counted while extracting.
        UnsafeArchive: Path traversal, a link, encryption, an archive within, an unusual method, or a bomb.
        UnreadableFile: A damaged archive.
    """
    budget = Budget(limits, path.stat().st_size)
    try:
        with path.open("rb") as stream:
            _check_directory_size(stream, limits)
        with zipfile.ZipFile(path) as archive:
            listed = archive.infolist()
            if not all(member.filename for member in listed):  # is_dir() fails on it
                raise zipfile.BadZipFile("a member without a name")
            members = [member for member in listed if not member.is_dir()]
            _check_members(members, limits)
            extracted = []
            for number, member in enumerate(members):
                target = into / f"{number:05d}"
                with archive.open(member) as source, target.open("wb") as sink:
                    _copy(source, sink, budget, number, len(members))  # type: ignore[arg-type]
                extracted.append(target)
            return extracted
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, struct.error, NotImplementedError, OSError) as error:
        if isinstance(error, OSError) and error.errno != errno.EINVAL:  # a full disk is not the sender's fault
            raise
        raise UnreadableFile("The zip archive is damaged or truncated.", "Make the zip again and send it.") from None


def _check_directory_size(stream: BinaryIO, limits: Limits) -> None:
    """Refuse a huge central directory before ``zipfile`` turns each of its entries into an object."""
    size = stream.seek(0, 2)
    tail_start = max(0, size - 65_557 - 76)  # longest comment, end record, ZIP64 record and locator
    stream.seek(tail_start)
    tail = stream.read()
    end = tail.rfind(b"PK\x05\x06")
    if end < 0 or len(tail) < end + 22:
        raise zipfile.BadZipFile("no end record")
    directory: int = struct.unpack_from("<L", tail, end + 12)[0]
    if tail[max(0, end - 20) : end].startswith(b"PK\x06\x07"):
        record = tail.rfind(b"PK\x06\x06", 0, end)
        if record < 0 or len(tail) < record + 48:
            raise zipfile.BadZipFile("no ZIP64 end record")
        directory = max(directory, struct.unpack_from("<Q", tail, record + 40)[0])
    if directory > limits.max_files * _MEAN_ENTRY:
        raise UploadTooLarge(f"The zip archive lists far more than {limits.max_files} files.")


def _check_members(members: Iterable[zipfile.ZipInfo], limits: Limits) -> None:
    for count, member in enumerate(members, start=1):
        if count > limits.max_files:
            raise UploadTooLarge(f"The zip archive holds more than {limits.max_files} files.")
        if _leaves_folder(member.filename) or _leaves_folder(member.orig_filename):
            raise UnsafeArchive("A name in the zip archive leads outside of it.")
        if stat.S_ISLNK(member.external_attr >> 16):
            raise UnsafeArchive(
                "The zip archive holds a symbolic link.", "Zip the files themselves, not links to them."
            )
        if member.flag_bits & _ENCRYPTED:
            raise UnsafeArchive("The zip archive is encrypted.", "Send a zip without a password.")
        if member.compress_type not in _METHODS:
            raise UnsafeArchive(
                "The zip archive uses an unusual compression method.", "Make the zip with the usual 'deflate' method."
            )


def _leaves_folder(name: str) -> bool:
    windows = PureWindowsPath(name)
    return (
        PurePosixPath(name).is_absolute()
        or bool(windows.drive or windows.root)
        or ".." in windows.parts
        or "\0" in name
    )


def _copy(source: BinaryIO, sink: BinaryIO, budget: Budget, number: int, total: int) -> None:
    first = True
    while chunk := source.read(_CHUNK):
        if first and chunk.startswith(ZIP_SIGNATURES):
            raise UnsafeArchive(f"File {number + 1} of {total} in the zip is a zip itself.")
        first = False
        budget.take(len(chunk))
        sink.write(chunk)
