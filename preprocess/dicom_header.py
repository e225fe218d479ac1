"""Reads what DICOM objects say, without their pixels.

Errors here and in the other readers are raised ``from None``: what the library said may quote attribute values, names
or paths of the upload, and a logged traceback would show it.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from pydicom import Dataset
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filereader import read_dataset, read_partial, read_preamble
from pydicom.filewriter import write_file_meta_info
from pydicom.tag import BaseTag
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    EnhancedMRImageStorage,
    ExplicitVRLittleEndian,
    LegacyConvertedEnhancedMRImageStorage,
    MRImageStorage,
)

from discgrade.errors import UnreadableFile
from preprocess.archive import Budget
from preprocess.dicom_multiframe import frame_sources
from preprocess.dicom_slice import Acquisition, Plane, Slice, number, numbers, text, words
from preprocess.limits import Limits
from preprocess.quiet import quiet
from preprocess.source import SOURCE_KEYWORDS

__all__ = [
    "Header",
    "inflate",
    "is_magnetic_resonance",
    "looks_like_dicom",
    "patient_of",
    "read_header",
    "read_whole_header",
]

_PIXELS = (0x7FE00008, 0x7FE00009, 0x7FE00010)
_MR_CLASSES = (MRImageStorage, EnhancedMRImageStorage, LegacyConvertedEnhancedMRImageStorage)
_LONGEST_WORD = 64  # characters of a Long String (PS3.5 6.2)
_MAX_HEADER = 64 * 1024**2  # the functional groups of 400 frames take about one mebibyte
_KEYWORDS = (
    "SOPClassUID SOPInstanceUID Modality PatientID PatientName PatientBirthDate StudyInstanceUID SeriesInstanceUID "
    "SeriesNumber FrameOfReferenceUID ImageType SeriesDescription ProtocolName BodyPartExamined ScanningSequence "
    "SequenceVariant ScanOptions MRAcquisitionType SequenceName PulseSequenceName RepetitionTime EchoTime "
    "InversionTime SliceThickness SpacingBetweenSlices ImagePositionPatient ImageOrientationPatient PixelSpacing Rows "
    "Columns SamplesPerPixel PhotometricInterpretation BitsAllocated PixelRepresentation PixelPaddingValue "
    "PixelPaddingRangeLimit RescaleSlope RescaleIntercept NumberOfFrames ConcatenationUID InConcatenationTotalNumber "
    "SharedFunctionalGroupsSequence PerFrameFunctionalGroupsSequence AcquisitionContrast DiffusionBValue "
    "EchoPulseSequence EchoPlanarPulseSequence"
)
_TAGS: list[BaseTag | int] = [
    BaseTag(tag) for word in (*_KEYWORDS.split(), *SOURCE_KEYWORDS) if (tag := tag_for_keyword(word)) is not None
]


@dataclass(frozen=True)
class Header:
    """One DICOM object.

    Attributes:
        patient: Identifier, normalised name and birth date; each '' where absent.
        slices: Its image planes; empty for reports, directories and other objects without pixels.
    """

    patient: tuple[str, str, str]
    slices: tuple[Slice, ...]


class _HeaderReader(io.BufferedReader):
    """A file that ends reading when the header is larger than any real one."""

    _left = _MAX_HEADER

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        self._left -= len(data)
        if self._left < 0:
            raise OverflowError("header too large")
        return data


def looks_like_dicom(head: bytes) -> bool:
    """Whether a file that begins with ``head`` (at least 132 bytes of it) is DICOM, with or without preamble.

    Files without the Part 10 preamble begin with a data element of group 0002 or 0008.
    """
    if head[128:132] == b"DICM":
        return True
    if len(head) < 16:
        return False
    for order in "<>":
        group, element = struct.unpack_from(order + "HH", head)
        if group in (0x0002, 0x0008) and element < 0x0100:
            explicit = head[4:6].isalpha() and head[4:6].isupper()
            length: int = struct.unpack_from(order + "L", head, 4)[0]
            return explicit or (order == "<" and length <= 1024)
    return False


def inflate(path: Path, into: Path, label: str, limits: Limits) -> Path:
    """Replace a file in the deflated transfer syntax (PS3.5 A.5) by its inflated equal, within limits.

    Args:
        path: A DICOM file.
        into: Where to write the inflated file.
        label: Which file of the upload this is.
        limits: Bounds on bytes and ratio.

    Returns:
        ``into``, or ``path`` itself where it is not deflated.

    Raises:
        UnreadableFile: Truncated or damaged.
        UploadTooLarge: Over ``max_bytes``.
        UnsafeArchive: Over ``max_ratio``.
    """
    budget = Budget(limits, path.stat().st_size)
    with path.open("rb") as source, quiet():
        try:
            meta = _file_meta(source)
            if meta.get("TransferSyntaxUID") != DeflatedExplicitVRLittleEndian:
                return path
            meta.TransferSyntaxUID = ExplicitVRLittleEndian
            prefix = DicomBytesIO()
            prefix.write(b"\0" * 128 + b"DICM")
            write_file_meta_info(prefix, FileMetaDataset(meta), enforce_standard=False)
        except Exception:  # pydicom meets damaged bytes with almost any exception
            raise UnreadableFile(f"The header of {label} is damaged.") from None
        with into.open("wb") as sink:
            sink.write(prefix.getvalue())
            try:
                for piece in _inflated(source):
                    budget.take(len(piece))
                    sink.write(piece)
            except (zlib.error, EOFError):
                raise UnreadableFile(f"The compressed data set of {label} is truncated or damaged.") from None
    return into


def _file_meta(source: BinaryIO) -> Dataset:
    """File meta information; empty where the file has no preamble. Leaves ``source`` at the data set."""
    if read_preamble(source, force=True) is None:
        return Dataset()
    return read_dataset(source, False, True, stop_when=lambda tag, vr, length: tag >> 16 != 2)


def _inflated(source: BinaryIO) -> Iterator[bytes]:
    engine = zlib.decompressobj(-zlib.MAX_WBITS)
    while not engine.eof:
        data = engine.unconsumed_tail or source.read(1 << 16)
        piece = engine.decompress(data, 1 << 18)
        if not data and not piece:
            raise EOFError
        yield piece


def read_whole_header(stream: BinaryIO) -> tuple[Dataset, bool]:
    """Read all attributes of one DICOM object before its pixels.

    Args:
        stream: A DICOM file, with or without preamble, not deflated, unbuffered; afterwards behind what was read.

    Returns:
        The attributes, and whether the stream is now at pixels.

    Raises:
        Exception: Almost any, where it is damaged.
    """
    reached = False

    def at_pixels(tag: BaseTag, vr: str | None, length: int) -> bool:
        nonlocal reached
        reached = reached or tag in _PIXELS
        return tag in _PIXELS

    reader = _HeaderReader(stream)  # type: ignore[arg-type]
    dataset = read_partial(reader, at_pixels, force=True)
    at = reader.tell()
    reader.detach()
    stream.seek(at)
    return dataset, reached


def read_header(path: Path, label: str) -> Header:
    """Read one DICOM object up to its pixels.

    Args:
        path: A DICOM file, with or without preamble, not deflated.
        label: Which file of the upload this is, such as ``file 3 of 15``.

    Returns:
        Its patient, and its image planes: one for a classic object, one a frame for an enhanced one.

    Raises:
        UnreadableFile: Truncated or damaged.
    """
    reached = False

    def at_pixels(tag: BaseTag, vr: str | None, length: int) -> bool:
        nonlocal reached
        reached = reached or tag in _PIXELS
        return tag in _PIXELS

    with path.open("rb", buffering=0) as raw, quiet():
        try:
            dataset = read_partial(_HeaderReader(raw), at_pixels, force=True, specific_tags=_TAGS)
            patient = patient_of(dataset)
            if not reached:
                return _without_pixels(dataset, patient, label)
            return Header(patient, _slices(dataset, path, label))
        except UnreadableFile:
            raise
        except Exception:  # pydicom meets damaged bytes with almost any exception
            raise UnreadableFile(f"The header of {label} is damaged.") from None


def _without_pixels(dataset: Dataset, patient: tuple[str, str, str], label: str) -> Header:
    meta = getattr(dataset, "file_meta", Dataset())
    classes = {text([dataset], "SOPClassUID"), text([meta], "MediaStorageSOPClassUID")} - {""}
    # An image class, or no class at all, without pixels: the end of the file is missing.
    if not classes or any("Image Storage" in UID(one).name for one in classes):
        raise UnreadableFile(f"{label.capitalize()} ends before its pixel data.")
    return Header(patient, ())


def patient_of(dataset: Dataset) -> tuple[str, str, str]:
    """Identifier, normalised name and birth date of the patient, as they are compared; each '' where absent."""
    name = text([dataset], "PatientName").partition("=")[0]
    parts = [part.strip().casefold() for part in name.split("^")]
    return (
        text([dataset], "PatientID").casefold(),
        "^".join(parts).rstrip("^"),
        text([dataset], "PatientBirthDate"),
    )


def _slices(dataset: Dataset, path: Path, label: str) -> tuple[Slice, ...]:
    if "PerFrameFunctionalGroupsSequence" in dataset:
        frames = frame_sources(dataset, label)
        return tuple(_slice(sources, dataset, path, label, k, True) for k, sources in enumerate(frames))
    return (_slice([dataset], dataset, path, label, 0, False),)


def _slice(sources: Sequence[Dataset], dataset: Dataset, path: Path, label: str, frame: int, multiframe: bool) -> Slice:
    top = [dataset]
    series_number = number(top, "SeriesNumber")
    concatenation = text(top, "ConcatenationUID")
    padding = number(top, "PixelPaddingValue")
    limit = number(top, "PixelPaddingRangeLimit")
    slope, intercept = number(sources, "RescaleSlope"), number(sources, "RescaleIntercept")
    return Slice(
        path=path,
        label=label,
        frame=frame,
        multiframe=multiframe,
        sop_class=text(top, "SOPClassUID"),
        instance=text(top, "SOPInstanceUID"),
        study=text(top, "StudyInstanceUID"),
        series=text(top, "SeriesInstanceUID"),
        series_number=None if series_number is None else int(series_number),
        frame_of_reference=text(top, "FrameOfReferenceUID"),
        stack=text(sources, "StackID"),
        concatenation=(concatenation, int(number(top, "InConcatenationTotalNumber") or 0)) if concatenation else None,
        modality=_modality(dataset),
        photometric=text(top, "PhotometricInterpretation").upper(),
        samples=int(number(top, "SamplesPerPixel") or 1),
        slope=1.0 if slope is None else slope,
        intercept=0.0 if intercept is None else intercept,
        padding=None if padding is None else _ordered(padding, padding if limit is None else limit),
        plane=_plane(sources, dataset, multiframe),
        acquisition=_acquisition(sources),
        header=dataset,
    )


def is_magnetic_resonance(dataset: Dataset) -> bool:
    """Whether an object says that it is MR, or says nothing and is of a class for MR."""
    return _modality(dataset) == "MR"


def _modality(dataset: Dataset) -> str:
    told = text([dataset], "Modality").upper()
    return told or ("MR" if dataset.get("SOPClassUID") in _MR_CLASSES else "")


def _ordered(a: float, b: float) -> tuple[float, float]:
    return (a, b) if a <= b else (b, a)


def _plane(sources: Sequence[Dataset], dataset: Dataset, multiframe: bool) -> Plane:
    # Several frames without functional groups (a cine, a screen capture) have one position for all: none can be used.
    placed = sources if multiframe or (number([dataset], "NumberOfFrames") or 1) <= 1 else []
    return Plane(
        rows=int(number([dataset], "Rows") or 0),
        columns=int(number([dataset], "Columns") or 0),
        orientation=numbers(placed, "ImageOrientationPatient", 6),
        position=numbers(placed, "ImagePositionPatient", 3),
        spacing=numbers(placed, "PixelSpacing", 2),
        thickness=number(placed, "SliceThickness"),
        between=number(placed, "SpacingBetweenSlices"),
    )


def _phrase(sources: Sequence[Dataset], *keywords: str) -> str:
    """Attributes as one phrase, cut to what the standard allows so that searching it stays quick."""
    return " ".join(word[:_LONGEST_WORD] for keyword in keywords for word in words(sources, keyword)[:4])


def _acquisition(sources: Sequence[Dataset]) -> Acquisition:
    scanning = words(sources, "ScanningSequence") + tuple(
        {"spin": "se", "gradient": "gr", "both": "se"}.get(word, word) for word in words(sources, "EchoPulseSequence")
    )
    if "yes" in words(sources, "EchoPlanarPulseSequence"):
        scanning += ("ep",)
    echo_time = number(sources, "EffectiveEchoTime")
    inversion_time = number(sources, "InversionTime")
    return Acquisition(
        image_type=words(sources, "FrameType") or words(sources, "ImageType"),
        description=_phrase(sources, "SeriesDescription", "ProtocolName"),
        body_part=_phrase(sources, "BodyPartExamined"),
        sequence_name=_phrase(sources, "SequenceName", "PulseSequenceName"),
        scanning_sequence=scanning,
        sequence_variant=words(sources, "SequenceVariant"),
        scan_options=words(sources, "ScanOptions"),
        echo_time=number(sources, "EchoTime") if echo_time is None else echo_time,
        repetition_time=number(sources, "RepetitionTime"),
        inversion_time=number(sources, "InversionTimes") if inversion_time is None else inversion_time,
        suppression=_phrase(sources, "SpectrallySelectedSuppression"),
        contrast=_phrase(sources, "AcquisitionContrast"),
        diffusion=bool(number(sources, "DiffusionBValue"))
        or bool({"isotropic", "directional", "bmatrix"}.intersection(words(sources, "DiffusionDirectionality"))),
        three_dimensional="3d" in words(sources, "MRAcquisitionType"),
    )
