"""Decodes the stored values of DICOM frames, one fixed decoder for each transfer syntax."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, dcmread
from pydicom.encaps import get_frame
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import (
    JPEG2000,
    UID,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from discgrade.errors import UnreadableFile, UnsupportedTransferSyntax
from preprocess import jpeg_lossless
from preprocess.quiet import quiet

__all__ = ["decode_frames"]

_NATIVE = (ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian)  # deflated ones come inflated
_JPEG_LOSSLESS = (JPEGLossless, JPEGLosslessSV1)
# Named, so that what else happens to be installed changes neither pixels nor licence (pylibjpeg-libjpeg is GPL).
_PLUGINS: dict[UID, str] = {
    RLELossless: "pydicom",
    JPEGBaseline8Bit: "pillow",
    JPEGLSLossless: "pyjpegls",
    JPEGLSNearLossless: "pyjpegls",
    JPEG2000Lossless: "pylibjpeg",
    JPEG2000: "pylibjpeg",
}
_JPEG_LS = (JPEGLSLossless, JPEGLSNearLossless)
_PADDING = 16  # bytes at the end of a codestream within which its end marker lies
_START_OF_FRAME = {0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF, 0xF7}


def decode_frames(path: Path, label: str, frames: Sequence[int]) -> list[NDArray[np.float32]]:
    """Stored values of some frames of one DICOM file, before rescale.

    Args:
        path: A DICOM file, not deflated.
        label: Which file of the upload this is.
        frames: 0-based frame indices.

    Returns:
        For each frame, an array of shape (rows, columns).

    Raises:
        UnreadableFile: Pixel data is truncated or damaged.
        UnsupportedTransferSyntax: The encoding is none of native, RLE, JPEG Baseline, JPEG Lossless, JPEG-LS and
            JPEG 2000.
    """
    with quiet():
        try:
            dataset = dcmread(path, force=True)
            syntax = _transfer_syntax(dataset)
            if syntax not in (*_NATIVE, *_JPEG_LOSSLESS, *_PLUGINS):
                raise jpeg_lossless.UnsupportedProcess
            if not any(keyword in dataset for keyword in ("PixelData", "FloatPixelData", "DoubleFloatPixelData")):
                raise UnreadableFile(f"The pixel data of {label} is truncated.")
            return [_decode(dataset, syntax, frame) for frame in frames]
        except UnreadableFile:
            raise
        except jpeg_lossless.UnsupportedProcess:
            raise UnsupportedTransferSyntax(
                f"The pixels of {label} are in an encoding that is not read here."
            ) from None
        except Exception:  # decoders meet damaged bytes with almost any exception
            raise UnreadableFile(f"The pixel data of {label} is truncated or damaged.") from None


def _transfer_syntax(dataset: Dataset) -> UID:
    stated = dataset.file_meta.get("TransferSyntaxUID")
    if stated is None:  # no Part 10 header: what pydicom found by looking at the first element
        implicit, little = dataset.original_encoding
        stated = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian if little else ExplicitVRBigEndian
        dataset.file_meta.TransferSyntaxUID = stated
    return UID(stated)


def _decode(dataset: Dataset, syntax: UID, frame: int) -> NDArray[np.float32]:
    if syntax not in (*_NATIVE, RLELossless):
        count = int(dataset.get("NumberOfFrames") or 1)
        encoded = get_frame(dataset.PixelData, frame, number_of_frames=count)
        if syntax in _JPEG_LOSSLESS:
            return _stored_values(jpeg_lossless.decode(encoded, dataset.Rows, dataset.Columns), dataset)
        if _coded_size(encoded) != (dataset.Rows, dataset.Columns, 1):
            raise ValueError("the codestream's size differs from the header's")
        # Without an end marker CharLS searches whatever memory follows, for seconds.
        if syntax in _JPEG_LS and not encoded[-_PADDING:].rstrip(b"\0").endswith(b"\xff\xd9"):
            raise ValueError("the codestream does not end")
    pixels, _ = get_decoder(syntax).as_array(dataset, index=frame, raw=True, decoding_plugin=_PLUGINS.get(syntax, ""))
    return pixels.astype(np.float32)


def _stored_values(samples: NDArray[np.uint16], dataset: Dataset) -> NDArray[np.float32]:
    """Samples of a codestream, which knows no sign, as Bits Stored and Pixel Representation mean them."""
    unused = 16 - min(16, int(dataset.BitsStored))
    shifted = samples << unused
    return ((shifted.view(np.int16) if dataset.PixelRepresentation == 1 else shifted) >> unused).astype(np.float32)


def _coded_size(encoded: bytes) -> tuple[int, int, int]:
    """Rows, columns and components that a JPEG Baseline, JPEG-LS or JPEG 2000 codestream will decode to.

    A codestream states its own size, and decoders allocate by it: a few bytes could ask for gigabytes.
    """
    if encoded.startswith(b"\xff\x4f\xff\x51"):  # ISO/IEC 15444-1 A.5.1
        x, y, x0, y0 = struct.unpack_from(">4L", encoded, 8)
        (components,) = struct.unpack_from(">H", encoded, 40)
        return y - y0, x - x0, components
    at = 2
    while encoded[at] == 0xFF:  # ISO/IEC 10918-1 B.1.1.4: marker segments up to the frame header
        marker = encoded[at + 1]
        if marker == 0xFF:  # fill byte
            at += 1
            continue
        if marker in _START_OF_FRAME:
            rows, columns, components = struct.unpack_from(">HHB", encoded, at + 5)
            return rows, columns, components
        at += 2 + struct.unpack_from(">H", encoded, at + 2)[0]
    raise ValueError("no frame header in the codestream")
