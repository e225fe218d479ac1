"""Objects on their way from the network to disk.

pynetdicom can write what it receives to a file instead of keeping it in memory, but leaves the file to ``tempfile``:
in the system's folder, without a bound, and a disk that is full ends the thread that reads the network, so that the
sender never hears why. So its file is replaced by one that remembers what went wrong; the handler of C-STORE then
answers with a status.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import weakref
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from pynetdicom import _config, dimse_messages

__all__ = ["Spool", "SpooledFile"]


class SpooledFile:
    """One object that is being received; the file goes when nobody holds this any more.

    Attributes:
        name: Where it is.
        size: Bytes that arrived.
        failed: Whether it could not be written in full: the disk is full, or it is larger than allowed.
    """

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self.size = 0
        self.failed = False
        self._max_bytes = max_bytes
        self._digest = hashlib.sha256()
        self._file: IO[bytes] | None = None
        try:
            handle, self.name = tempfile.mkstemp(dir=folder)
        except OSError:
            self.name, self.failed = str(folder / "none"), True
            return
        self._file = os.fdopen(handle, "wb")
        weakref.finalize(self, _remove, self._file, self.name)

    @property
    def file(self) -> SpooledFile:
        """What pynetdicom flushes after each fragment."""
        return self

    @property
    def digest(self) -> str:
        """SHA-256 of what was written, in hexadecimal."""
        return self._digest.hexdigest()

    def write(self, data: bytes) -> None:
        """Take some bytes."""
        self.size += len(data)
        if self.failed or self._file is None:
            return
        if self.size > self._max_bytes:
            self.failed = True
            return
        self._digest.update(data)
        try:
            self._file.write(data)
        except OSError:
            self.failed = True

    def flush(self) -> None:
        """Nothing: the file is flushed once, when it is whole."""

    def finish(self) -> None:
        """Bring it to disk for good.

        Raises:
            OSError: It could not be written in full.
        """
        if self.failed or self._file is None:
            raise OSError("the object is not whole")
        self._file.flush()
        os.fsync(self._file.fileno())
        self.close()

    def close(self) -> None:
        """Close it; called by pynetdicom after the handler."""
        try:
            if self._file is not None:
                self._file.close()
        except OSError:  # what was buffered does not fit
            self.failed = True


def _remove(file: IO[bytes], name: str) -> None:
    with suppress(OSError):
        file.close()
    with suppress(FileNotFoundError):  # it was kept, under another name
        os.unlink(name)


class Spool:
    """Makes pynetdicom, in all of this process, write what it receives to files in a folder.

    Args:
        folder: On the file system of what is kept; what a process that was killed left there is removed.
        max_bytes: Bytes of one object beyond which it fails.
    """

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._open: weakref.WeakValueDictionary[str, SpooledFile] = weakref.WeakValueDictionary()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for left in folder.iterdir():
            left.unlink()
        _config.STORE_RECV_CHUNKED_DATASET = True
        setattr(dimse_messages, "NamedTemporaryFile", self._make)  # noqa: B010 - mypy knows it as a class

    def _make(self, **_: Any) -> SpooledFile:
        made = SpooledFile(self._folder, self._max_bytes)
        self._open[made.name] = made
        return made

    def received(self, path: Path) -> SpooledFile:
        """The object at the path that pynetdicom names.

        Raises:
            OSError: It could not even be begun.
        """
        try:
            return self._open[str(path)]
        except KeyError:
            raise OSError("no file could be made") from None
