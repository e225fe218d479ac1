"""What a node has to know of an object that it received."""

from __future__ import annotations

import io
import warnings
import zlib
from dataclasses import dataclass
from pathlib import Path

from pydicom import Dataset
from pydicom.filereader import read_dataset, read_file_meta_info
from pydicom.tag import BaseTag
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian

__all__ = ["Header", "Unreadable", "read_header"]

_LAST_TAG = 0x0020000D
_HEAD_BYTES = 16 * 1024 * 1024
_KEYWORDS = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID")


class Unreadable(Exception):
    """The object cannot be understood, or lacks what an object must have."""


@dataclass(frozen=True)
class Header:
    """Identification of an object; all of it but the class is patient data.

    Attributes:
        sop_class: SOP Class UID.
        instance: SOP Instance UID.
        study: Study Instance UID.
        patient: Patient ID and its issuer, empty where they are.
    """

    sop_class: str
    instance: str
    study: str
    patient: tuple[str, str]


def read_header(path: Path) -> Header:
    """Read as much of a Part 10 file as says what it is; pixels are not read.

    Raises:
        Unreadable: It is damaged, or has no SOP Class, SOP Instance or Study Instance UID.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # they quote values
            found = _dataset(path)
            values = [str(found.get(keyword) or "").strip() for keyword in _KEYWORDS]
            patient, issuer = (str(found.get(keyword) or "").strip() for keyword in ("PatientID", "IssuerOfPatientID"))
    except Exception:  # pydicom meets damaged bytes with almost any exception
        raise Unreadable from None
    if not all(values):
        raise Unreadable
    sop_class, instance, study = values
    return Header(sop_class, instance, study, (patient, issuer))


def _dataset(path: Path) -> Dataset:
    syntax = UID(read_file_meta_info(path).TransferSyntaxUID)
    with path.open("rb") as file:
        file.seek(132)
        read_dataset(file, False, True, stop_when=lambda tag, vr, length: int(tag) >> 16 != 2)
        if syntax == DeflatedExplicitVRLittleEndian:
            # PS3.5 A.5: a raw deflate stream. What is asked for lies at its beginning, however large the rest is.
            inflated = zlib.decompressobj(-zlib.MAX_WBITS).decompress(file.read(_HEAD_BYTES), _HEAD_BYTES)
            return read_dataset(io.BytesIO(inflated), False, True, stop_when=_is_behind)
        return read_dataset(file, syntax.is_implicit_VR, syntax.is_little_endian, stop_when=_is_behind)


def _is_behind(tag: BaseTag, vr: str | None, length: int) -> bool:
    return int(tag) > _LAST_TAG
