"""Reads NIfTI-1 and NIfTI-2 files, plain or gzipped, in any axis order."""

from __future__ import annotations

import gzip
import math
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from nibabel.nifti1 import Nifti1Header
from nibabel.nifti2 import Nifti2Header
from nibabel.spatialimages import HeaderDataError
from numpy.typing import NDArray

from discgrade.errors import (
    MissingGeometry,
    NoSagittalSeries,
    UnreadableFile,
    UnsupportedDimensions,
    UnsupportedFormat,
    UploadTooLarge,
)
from preprocess.archive import Budget
from preprocess.limits import Limits
from preprocess.plausible import check_pixels, check_spacing
from preprocess.quiet import quiet
from preprocess.volume import Volume

__all__ = ["GZIP_SIGNATURE", "looks_like_nifti", "nifti_header", "opened", "read_nifti"]

GZIP_SIGNATURE = b"\x1f\x8b"

_HEADER_BYTES = 540  # of NIfTI-2; NIfTI-1 has 348
_CHUNK = 1 << 20
_TEMPLATE_CODE = 3  # sform codes from here on (Talairach, MNI, …) place the image in a template, not in the patient
_TO_MM = {1: 1000.0, 2: 1.0, 3: 0.001}  # xyzt_units: metre, millimetre, micron
_LPS_FROM_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
_THICK = 1.5  # an axis this much coarser than the others is the slice axis
_SAGITTAL_COSINE = math.cos(math.radians(30.0))


def looks_like_nifti(head: bytes) -> bool:
    """Whether a file (decompressed) that begins with ``head`` is NIfTI, single file or header of a pair."""
    return _version(head) is not None


def read_nifti(path: Path, limits: Limits) -> Volume:
    """Read one NIfTI volume, keeping the file's own axis order.

    The affine is the sform where its code is set, else the qform (nifti1.h, methods 3 and 2), from RAS to LPS; a
    qform in scanner coordinates goes before an sform that leads into a template. A trailing fourth dimension of 1 is
    dropped; two dimensions are a single slice.

    Args:
        path: ``.nii`` or ``.nii.gz``, whatever its name.
        limits: Bounds on slices, bytes and ratio; a gzip is decompressed only as far as its header says.

    Returns:
        A volume with array axes as in the file and affine in mm LPS.

    Raises:
        UnsupportedFormat: Not NIfTI, or one half of a two-file pair.
        UnreadableFile: Truncated or damaged.
        UploadTooLarge: More slices or bytes than allowed.
        UnsafeArchive: A gzip that grows beyond ``max_ratio``.
        UnsupportedDimensions: Four dimensions, colour or complex numbers.
        MissingGeometry: Neither sform nor qform.
        NoSagittalSeries: Thick slices that are not sagittal.
        ImplausibleSpacing: Voxel size no MR scanner makes.
        InvalidPixelValues: NaN, infinite or constant.
    """
    budget = Budget(limits, path.stat().st_size)
    with opened(path) as stream, quiet():
        header, head = nifti_header(stream, budget)
        shape = _shape(header)
        affine = _affine(header)
        check_spacing([float(length) for length in np.linalg.norm(affine[:3, :3], axis=0)])
        _check_slices(shape, affine, limits)
        array = _values(stream, budget, header, head, shape, limits)
    check_pixels(array)
    return Volume(array, affine)


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """The bytes of a file, decompressed if it is a gzip."""
    with path.open("rb") as raw:
        packed = raw.read(2) == GZIP_SIGNATURE
        raw.seek(0)
        try:
            if packed:
                with gzip.GzipFile(fileobj=raw) as stream:
                    yield stream  # type: ignore[misc]
            else:
                yield raw
        except (EOFError, gzip.BadGzipFile, zlib.error):
            raise UnreadableFile("The gzip file is truncated or damaged.") from None


def _read(stream: BinaryIO, budget: Budget, count: int, begun: bytes = b"") -> bytes:
    """``count`` bytes, or fewer at the end of the file; ``begun`` are the first of them."""
    pieces = [begun[:count]]
    count -= len(pieces[0])
    while count > 0 and (piece := stream.read(min(count, _CHUNK))):
        budget.take(len(piece))
        count -= len(piece)
        pieces.append(piece)
    return b"".join(pieces)


def _version(head: bytes) -> int | None:
    sizes = {int.from_bytes(head[:4], "little"), int.from_bytes(head[:4], "big")}
    if 348 in sizes and head[344:348] in (b"n+1\0", b"ni1\0"):
        return 1
    if 540 in sizes and head[4:12] in (b"n+2\0\r\n\x1a\n", b"ni2\0\r\n\x1a\n"):
        return 2
    return None


def nifti_header(stream: BinaryIO, budget: Budget) -> tuple[Any, bytes]:
    """The header at the beginning of a stream, and the bytes that were read for it.

    Raises:
        UnreadableFile: Truncated.
        UnsupportedFormat: Not NIfTI, or one half of a two-file pair.
    """
    head = _read(stream, budget, _HEADER_BYTES)
    version = _version(head)
    if version is None:
        raise UnsupportedFormat("The file is neither DICOM nor NIfTI.")
    if b"ni" in (head[344:346], head[4:6]):
        raise UnsupportedFormat(
            "The file is the header of a two-file NIfTI pair.", "Send the image as one .nii or .nii.gz file."
        )
    kind: Any
    kind, size = (Nifti1Header, 348) if version == 1 else (Nifti2Header, 540)
    if len(head) < size:
        raise UnreadableFile("The NIfTI header is truncated.")
    return kind(head[:size], check=False), head


def _shape(header: Any) -> tuple[int, int, int]:
    rank = int(header["dim"][0])
    if not 1 <= rank <= 7:
        raise UnreadableFile("The NIfTI header is damaged: it has no number of dimensions.")
    sizes = [int(size) for size in header["dim"][1 : rank + 1]]
    if min(sizes) < 1:
        raise UnreadableFile("The NIfTI header is damaged: a dimension is not positive.")
    while len(sizes) > 3 and sizes[-1] == 1:
        sizes.pop()
    if len(sizes) > 3 or len(sizes) < 2:
        raise UnsupportedDimensions(f"The NIfTI image has {len(sizes)} dimensions.")
    first, second, third = [*sizes, 1][:3]
    if sorted((first, second, third))[1] < 2:
        raise UnsupportedDimensions("The NIfTI image is a line, not an image.")
    return first, second, third


def _affine(header: Any) -> NDArray[np.float64]:
    scale = _TO_MM.get(int(header["xyzt_units"]) & 0x07, 1.0)
    sform_code, qform_code = int(header["sform_code"]), int(header["qform_code"])
    forms = []
    if sform_code > 0:
        forms.append(header.get_sform)
    if qform_code > 0:
        forms.insert(0 if sform_code >= _TEMPLATE_CODE else len(forms), header.get_qform)
    for form in forms:
        try:
            ras = np.asarray(form(), np.float64)
        except (HeaderDataError, ValueError, np.linalg.LinAlgError):
            continue
        ras[:3] *= scale
        lengths = np.linalg.norm(ras[:3, :3], axis=0)
        # An affine that flattens the volume (zeros, parallel axes) places nothing.
        if np.isfinite(ras).all() and lengths.min() > 0 and abs(np.linalg.det(ras[:3, :3] / lengths)) > 0.5:
            return _LPS_FROM_RAS @ ras
    raise MissingGeometry(
        "The NIfTI header has neither a usable sform nor a usable qform.",
        "Convert the original DICOM series again with a tool that writes the orientation, such as dcm2niix.",
    )


def _check_slices(shape: tuple[int, int, int], affine: NDArray[np.float64], limits: Limits) -> None:
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    sideways = np.abs(affine[0, :3]) / lengths
    _, middle, thick = np.sort(lengths)
    if 1 in shape:
        through: int | None = shape.index(1)
    else:
        through = int(np.argmax(lengths)) if thick > _THICK * middle else None
    if through is not None and sideways[through] < _SAGITTAL_COSINE:
        raise NoSagittalSeries("The slices of the NIfTI image are not sagittal.")
    count = shape[int(np.argmax(sideways))]
    if count > limits.max_slices:
        raise UploadTooLarge(f"The image has {count} sagittal slices; at most {limits.max_slices} are accepted.")


def _values(
    stream: BinaryIO, budget: Budget, header: Any, head: bytes, shape: tuple[int, int, int], limits: Limits
) -> NDArray[np.float32]:
    try:
        dtype = header.get_data_dtype()
        slope, intercept = header.get_slope_inter()
        offset = int(header.get_data_offset())
    except (HeaderDataError, ValueError, OverflowError, KeyError):
        raise UnreadableFile("The NIfTI header is damaged: data type, scale or offset.") from None
    if dtype.kind not in "iuf" or dtype.itemsize > 8:
        raise UnsupportedDimensions("The NIfTI image is in colour, complex or of an unusual number type.")
    count = math.prod(shape)
    size = count * max(dtype.itemsize, 4)
    if size > limits.max_bytes:
        raise UploadTooLarge(f"The image would decode to more than {limits.max_bytes} bytes.")
    if offset < int(header["sizeof_hdr"]) or offset > limits.max_bytes:
        raise UnreadableFile("The NIfTI header is damaged: the image does not follow it.")
    if offset > len(head):
        _read(stream, budget, offset - len(head))
    needed = count * dtype.itemsize
    data = _read(stream, budget, needed, begun=head[offset:])
    if len(data) < needed:
        raise UnreadableFile("The NIfTI file is truncated: it ends before its last voxel.")
    while piece := stream.read(_CHUNK):  # to the end, where gzip finds out whether a bit has changed
        budget.take(len(piece))
    stored = np.frombuffer(data, dtype).reshape(shape, order="F")
    with np.errstate(over="ignore", invalid="ignore"):  # what overflows is refused afterwards
        array = stored.astype(np.float32, order="C")
        if slope is not None:
            array *= np.float32(slope)
            array += np.float32(intercept)
        return array
