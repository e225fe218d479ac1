"""Rewrites one NIfTI file: without free text and extensions, its voxels byte for byte."""

from __future__ import annotations

import gzip
import math
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO, cast

from preprocess.archive import Budget
from preprocess.limits import Limits
from preprocess.nifti import GZIP_SIGNATURE, nifti_header, opened, read_nifti

__all__ = ["rewrite_nifti"]

_TEXTS = ("descrip", "aux_file", "intent_name", "data_type", "db_name", "regular", "unused_str")
"""Fields of text, of NIfTI-1 or NIfTI-2."""
_UNUSED = ("extents", "session_error", "glmax", "glmin")
"""Numbers that mean nothing (nifti1.h)."""
_CHUNK = 1 << 20


def rewrite_nifti(source: Path, target: Path, limits: Limits) -> None:
    """De-identify one file.

    Between header and voxels, extensions can hold whole DICOM headers: zeros take their place. What follows the voxels
    is left out.

    Args:
        source: ``.nii`` or ``.nii.gz``, whatever its name.
        target: Where its successor is written, packed if it was.
        limits: Bounds of the reader.

    Raises:
        InputError: What :func:`preprocess.nifti.read_nifti` refuses.
    """
    read_nifti(source, limits)  # from here on, sizes are known to be right
    with source.open("rb") as raw:
        packed = raw.read(2) == GZIP_SIGNATURE
    with opened(source) as stream, ExitStack() as stack:
        header, head = nifti_header(stream, Budget(limits, source.stat().st_size))
        size, offset = int(header["sizeof_hdr"]), int(header.get_data_offset())
        voxels = math.prod(int(count) for count in header["dim"][1 : int(header["dim"][0]) + 1])
        left = voxels * header.get_data_dtype().itemsize
        for name in (*_TEXTS, *_UNUSED):
            if name in header.keys():  # noqa: SIM118 - a header is no mapping
                header[name] = b"" if name in _TEXTS else 0
        sink: BinaryIO = stack.enter_context(target.open("wb"))
        if packed:
            sink = cast(BinaryIO, stack.enter_context(gzip.GzipFile("", "wb", compresslevel=1, fileobj=sink, mtime=0)))
        sink.write(header.binaryblock + b"\0" * (offset - size))
        begun = head[offset : offset + left]
        sink.write(begun)
        left -= len(begun)
        _skip(stream, offset - len(head))
        while left > 0 and (piece := stream.read(min(left, _CHUNK))):
            sink.write(piece)
            left -= len(piece)


def _skip(stream: BinaryIO, count: int) -> None:
    while count > 0 and (piece := stream.read(min(count, _CHUNK))):
        count -= len(piece)
