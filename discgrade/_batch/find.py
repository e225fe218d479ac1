"""Finds the studies in a tree of files, by what the files hold and not by how they are called."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Found", "files_below", "identify"]

_HEAD_BYTES = 352
_NIFTI_MAGIC = (b"n+1\0", b"ni1\0")
_TAGS = ["SOPClassUID", "StudyInstanceUID"]
_DICOMDIR = "1.2.840.10008.1.3.10"


@dataclass(frozen=True)
class Found:
    """What a file belongs to.

    Attributes:
        kind: ``dicom``, ``zip`` or ``nifti``.
        study: What is the same for all files of a study and for no other file below the folder.
    """

    kind: str
    study: str


def files_below(root: Path, leave_out: frozenset[Path]) -> Iterator[tuple[str, os.stat_result]]:
    """Every regular file, as its path relative to the root, in a fixed order.

    Hidden files and folders are passed over, links to folders are not followed.

    Args:
        root: Where to look.
        leave_out: Absolute paths of files that are not studies, such as the table that is written.
    """
    waiting = [root]
    while waiting:
        folder = waiting.pop()
        with os.scandir(folder) as scan:
            entries = sorted((entry for entry in scan if not entry.name.startswith(".")), key=lambda entry: entry.name)
        for entry in entries:
            if entry.is_file() and Path(entry.path).absolute() not in leave_out:
                yield os.path.relpath(entry.path, root), entry.stat()
        waiting += [Path(entry.path) for entry in reversed(entries) if entry.is_dir(follow_symlinks=False)]


def identify(root: Path, name: str) -> Found | None:
    """What a file is, from its first bytes; None where it is no part of a study.

    DICOM files belong together by Study Instance UID, or by folder where they have none. A zip or a NIfTI file is a
    study by itself.

    Args:
        root: Where was looked.
        name: Path relative to the root.

    Raises:
        OSError: It cannot be read.
    """
    path = root / name
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    if head[:4] == b"PK\x03\x04":
        return Found("zip", f"file:{name}")
    if head[344:348] in _NIFTI_MAGIC or (head[:2] == b"\x1f\x8b" and name.lower().endswith(".nii.gz")):
        return Found("nifti", f"file:{name}")
    # Without the preamble of Part 10, a file begins with an element of group 0002 or 0008.
    if head[128:132] != b"DICM" and head[:2] not in (b"\x02\x00", b"\x08\x00"):
        return None
    return _dicom(path, name)


def _dicom(path: Path, name: str) -> Found | None:
    from pydicom import dcmread  # here, since the other commands need not wait for it
    from pydicom.errors import InvalidDicomError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # they quote values of the file
            header = dcmread(path, stop_before_pixels=True, force=True, specific_tags=_TAGS)
            sop_class, study = (str(header.get(tag) or "") for tag in _TAGS)
    except OSError:
        raise
    except (InvalidDicomError, ValueError, TypeError, KeyError, AttributeError, NotImplementedError, EOFError):
        return None  # the server would say as much of it
    if not sop_class or sop_class == _DICOMDIR:
        return None
    return Found("dicom", f"uid:{study}" if study else f"folder:{os.path.dirname(name)}")
