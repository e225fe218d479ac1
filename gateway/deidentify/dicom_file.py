"""Rewrites one DICOM file: its attributes de-identified, its pixels byte for byte."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset, write_file_meta_info
from pydicom.uid import (
    PYDICOM_IMPLEMENTATION_UID,
    UID,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from discgrade.errors import IdentityInPixels, UnreadableFile
from preprocess.dicom_header import inflate, is_magnetic_resonance, patient_of, read_whole_header
from preprocess.limits import Limits
from preprocess.quiet import quiet

__all__ = ["rewrite_dicom"]

_UNDEFINED = 0xFFFFFFFF
_ITEM, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE0DD
_LONG_FORM = frozenset({b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"})
_CHUNK = 1 << 20
_BLANK = b"\0\0"


def rewrite_dicom(
    source: Path,
    target: Path,
    inflated: Path,
    label: str,
    limits: Limits,
    deidentify: Callable[[Dataset], None],
) -> tuple[str, str, str]:
    """De-identify one file.

    Only pixels that may be graded are copied: those of MR images that say how they lie in the patient. Screen captures,
    documents and the like keep none, since their pixels are where text is.

    Args:
        source: A DICOM file.
        target: Where its successor is written: Part 10, in the same transfer syntax, inflated if it was deflated.
        inflated: Where it may be inflated.
        label: Which file of the upload this is.
        limits: Bounds on inflating.
        deidentify: Changes the attributes.

    Returns:
        Identifier, name and birth date of the patient, as they are compared.

    Raises:
        IdentityInPixels: An image that may be graded says that text is burnt into it.
        UnreadableFile: Damaged: what cannot be read cannot be de-identified.
    """
    path = inflate(source, inflated, label, limits)
    with path.open("rb", buffering=0) as stream, quiet():
        try:
            dataset, pixels = read_whole_header(stream)
            patient = patient_of(dataset)
            gradable = pixels and _may_be_graded(dataset)
            if gradable and str(dataset.get("BurnedInAnnotation", "")).strip().upper() == "YES":
                raise IdentityInPixels(f"{label.capitalize()} says that text is burnt into its pixels.")
            syntax = _syntax(dataset)
            deidentify(dataset)
            head = _encoded(dataset, syntax)
        except IdentityInPixels:
            raise
        except Exception:  # pydicom meets damaged bytes with almost any exception
            raise UnreadableFile(f"The header of {label} is damaged.") from None
        with target.open("wb") as sink:
            sink.write(head)
            if gradable:
                _copy_element(stream, sink, syntax, label)
            elif pixels:
                sink.write(_element(0x7FE00010, b"OW", _BLANK, syntax))
    return patient


def _may_be_graded(dataset: Dataset) -> bool:
    placed = "ImageOrientationPatient" in dataset or "PerFrameFunctionalGroupsSequence" in dataset
    return placed and is_magnetic_resonance(dataset)


def _syntax(dataset: Dataset) -> UID:
    meta = getattr(dataset, "file_meta", None) or FileMetaDataset()
    if "TransferSyntaxUID" in meta:
        return UID(str(meta.TransferSyntaxUID))
    implicit, little = dataset.original_encoding
    if implicit:
        return ImplicitVRLittleEndian
    return ExplicitVRLittleEndian if little else ExplicitVRBigEndian


def _encoded(dataset: Dataset, syntax: UID) -> bytes:
    """Preamble, new file meta information and data set; of the old meta information, class and syntax."""
    old = getattr(dataset, "file_meta", None) or FileMetaDataset()
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = UID(str(dataset.get("SOPClassUID", old.get("MediaStorageSOPClassUID", ""))))
    meta.MediaStorageSOPInstanceUID = UID(str(dataset.get("SOPInstanceUID", "")))
    meta.TransferSyntaxUID = syntax
    meta.ImplementationClassUID = PYDICOM_IMPLEMENTATION_UID
    sink = DicomBytesIO()
    sink.write(b"\0" * 128 + b"DICM")
    sink.is_little_endian, sink.is_implicit_VR = True, False
    write_file_meta_info(sink, meta, enforce_standard=False)
    implicit, little = dataset.original_encoding
    sink.is_little_endian, sink.is_implicit_VR = bool(little), bool(implicit)
    write_dataset(sink, dataset)
    return bytes(sink.getvalue())


def _order(syntax: UID) -> str:
    return ">" if syntax == ExplicitVRBigEndian else "<"


def _element(tag: int, vr: bytes, value: bytes, syntax: UID) -> bytes:
    order = _order(syntax)
    head = struct.pack(f"{order}HH", tag >> 16, tag & 0xFFFF)
    if syntax == ImplicitVRLittleEndian:
        return head + struct.pack("<L", len(value)) + value
    return head + vr + struct.pack(f"{order}HL", 0, len(value)) + value


def _copy_element(stream: BinaryIO, sink: BinaryIO, syntax: UID, label: str) -> None:
    """Copy the element at which a stream stands; nothing behind it: only padding and signatures follow pixels."""
    head = stream.read(8)
    order = _order(syntax)
    if syntax == ImplicitVRLittleEndian:
        length = struct.unpack("<L", head[4:])[0]
    elif head[4:6] in _LONG_FORM:
        more = stream.read(4)
        head, length = head + more, struct.unpack(f"{order}L", more.ljust(4, b"\0"))[0]
    else:
        length = struct.unpack(f"{order}H", head[6:8])[0]
    sink.write(head)
    if length != _UNDEFINED:
        _copy(stream, sink, length)  # one that is too short, the reader refuses
        return
    while True:
        item = stream.read(8)
        if len(item) < 8:
            raise UnreadableFile(f"The pixel data of {label} is truncated.")
        group, element, length = struct.unpack("<HHL", item)
        tag = group << 16 | element
        if tag not in (_ITEM, _SEQUENCE_END) or length == _UNDEFINED:
            raise UnreadableFile(f"The pixel data of {label} is damaged.")
        sink.write(item)
        if tag == _SEQUENCE_END:
            return
        _copy(stream, sink, length)


def _copy(stream: BinaryIO, sink: BinaryIO, count: int) -> None:
    while count > 0 and (piece := stream.read(min(count, _CHUNK))):
        sink.write(piece)
        count -= len(piece)
