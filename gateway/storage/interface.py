"""What every storage does."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple, Protocol

__all__ = ["IMAGE", "OVERLAY", "RESULT", "SEGMENTATION", "SOURCE", "KeptUpload", "Storage", "is_id", "new_result_id"]

RESULT = "result.json"
SEGMENTATION = "segmentation.nii.gz"
OVERLAY = "overlay.png"
IMAGE = "image.nii.gz"
"""What was graded, pixel by pixel."""
SOURCE = "source.json"
"""What DICOM objects repeat of the graded series: it names the patient, and is given to nobody."""

_ID = re.compile(r"[0-9a-f]{32}")


def new_result_id() -> str:
    """A result id that cannot be guessed: 122 random bits (UUID version 4, RFC 9562) as 32 hexadecimal digits."""
    return uuid.uuid4().hex


def is_id(text: str) -> bool:
    """Whether a text has the form of our ids; anything else never becomes part of a path."""
    return _ID.fullmatch(text) is not None


class KeptUpload(NamedTuple):
    """An upload that waits for its job.

    Attributes:
        upload_id: As given to :meth:`Storage.put_upload`.
        age_seconds: Time since then.
    """

    upload_id: str
    age_seconds: float


class Storage(Protocol):
    """Keeps results for a while, uploads of jobs until the job ended, and other uploads as long as their request.

    Methods block and may be called from many threads. Several processes may share what is kept; spool folders are
    each process's own.
    """

    def new_spool(self) -> Path:
        """Make an empty local folder for one upload; the caller gives it to :meth:`discard`."""

    def discard(self, folder: Path) -> None:
        """Remove a spool folder and all in it."""

    def save(self, result_id: str, artefacts: dict[str, bytes]) -> None:
        """Keep a result, durably: all of its files appear at once, or none.

        A result that is there already stays as it is, so that work done twice after a crash shows once.

        Args:
            result_id: 32 hexadecimal digits.
            artefacts: File name (:data:`RESULT`, :data:`SEGMENTATION`, :data:`IMAGE`, :data:`SOURCE`, …) to contents.
        """

    def add(self, result_id: str, name: str, content: bytes) -> bytes:
        """Keep one more file of a result for as long as the result; the first that is kept stays.

        Args:
            result_id: Of a result that was saved.
            name: Not one of those it was saved with.
            content: The file.

        Returns:
            What is kept under this name: ``content``, or what another call kept before.

        Raises:
            discgrade.errors.NotFound: No such result, or removed meanwhile.
        """

    def load(self, result_id: str, name: str) -> bytes:
        """Read one file of a result.

        Raises:
            discgrade.errors.NotFound: No such result, or removed.
        """

    def delete(self, result_id: str) -> None:
        """Remove a result for good.

        Raises:
            discgrade.errors.NotFound: No such result, or removed before.
        """

    def put_upload(self, upload_id: str, spool: Path) -> None:
        """Keep the files of a spool folder for a job, durably when this returns; the folder is used up.

        Args:
            upload_id: 32 hexadecimal digits, not used before.
            spool: Holds the files and nothing else; their names' order is their order.
        """

    def get_upload(self, upload_id: str, folder: Path) -> list[Path]:
        """The files of an upload, in order; to be read, not changed.

        Args:
            upload_id: As given to :meth:`put_upload`.
            folder: An empty local folder the files may be fetched into.

        Raises:
            discgrade.errors.NotFound: No such upload, or removed.
        """

    def delete_upload(self, upload_id: str) -> None:
        """Remove an upload; nothing happens if it is not there."""

    def uploads(self) -> Iterable[KeptUpload]:
        """Every upload that is kept."""

    def sweep(self) -> None:
        """Remove results past their age or number."""

    def close(self) -> None:
        """Remove this process's spool folders."""
