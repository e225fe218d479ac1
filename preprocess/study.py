"""The way in: uploaded files become one Volume, or an error that says what to change."""

from __future__ import annotations

import gzip
import os
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from discgrade.errors import (
    EmptyUpload,
    MixedStudy,
    NoPixelData,
    UnsupportedFormat,
    UploadTooLarge,
)
from preprocess.archive import ZIP_SIGNATURES, extract_zip
from preprocess.dicom import read_stack
from preprocess.dicom_header import inflate, looks_like_dicom, read_header
from preprocess.dicom_slice import Slice
from preprocess.limits import Limits
from preprocess.nifti import GZIP_SIGNATURE, looks_like_nifti, read_nifti
from preprocess.series import choose
from preprocess.source import SourceSeries, source_series
from preprocess.volume import Volume

__all__ = ["Kind", "Limits", "Study", "StudyWarning", "check_one_patient", "open_upload", "read_study"]

_HEAD = 1024
_WARNINGS = {
    "fat_suppressed": "Only a fat-suppressed T2 or STIR series was found; grades are defined on T2 without it.",
    "contrast_unknown": "The series does not say how it was weighted; it was taken for T2.",
}


@dataclass(frozen=True)
class StudyWarning:
    """Something the reader should know about the input.

    Attributes:
        code: ``fat_suppressed``, ``contrast_unknown`` or ``files_ignored``.
        message: A sentence, without patient data.
    """

    code: str
    message: str


@dataclass(frozen=True, eq=False)
class Study:
    """The volume to grade and where it came from.

    Attributes:
        volume: Pixels and geometry.
        format: ``dicom``, ``dicom-multiframe`` or ``nifti``.
        chosen_series: Series Instance UID, or None for NIfTI and where the object has none.
        chosen_because: Why this series, in a sentence without patient data.
        warnings: What to know before trusting the result.
        study_uid: Study Instance UID, or None as above.
        source: What DICOM objects made of the result must repeat of the series; None for NIfTI.
    """

    volume: Volume
    format: str
    chosen_series: str | None
    chosen_because: str
    warnings: tuple[StudyWarning, ...]
    study_uid: str | None
    source: SourceSeries | None


class Kind(Enum):
    """What a file is, by its content."""

    EMPTY = "empty"
    ZIP = "zip"
    NIFTI = "nifti"
    DICOM = "dicom"
    OTHER = "other"


def read_study(paths: Sequence[Path], workdir: Path, limits: Limits | None = None) -> Study:
    """Read an upload: DICOM files, a folder of them, one zip, or one NIfTI file; told apart by content, not name.

    Headers are read first and only the chosen series is decoded.

    Args:
        paths: Files or folders.
        workdir: An existing empty folder for what has to be unpacked; the caller deletes it.
        limits: Bounds on files, bytes, ratio and slices; the defaults of :class:`Limits` when None.

    Returns:
        The one volume to grade.

    Raises:
        InputError: The class says what is wrong; see ``discgrade.errors`` for the tree.
    """
    limits = limits or Limits()
    files, kinds = open_upload(paths, workdir, limits)
    nifti = [path for path, kind in zip(files, kinds, strict=True) if kind is Kind.NIFTI]
    ignored = sum(kind in (Kind.OTHER, Kind.EMPTY) for kind in kinds)
    if Kind.DICOM in kinds:
        if nifti:
            raise UnsupportedFormat("DICOM and NIfTI files were sent together.", "Send one or the other.")
        return _read_dicom(files, kinds, ignored, workdir, limits)
    if len(nifti) > 1:
        raise MixedStudy(f"The upload holds {len(nifti)} NIfTI images.", "Send one NIfTI image at a time.")
    if not nifti:
        raise UnsupportedFormat(f"None of the {len(files)} files is DICOM or NIfTI.")
    volume = read_nifti(nifti[0], limits)
    return Study(volume, "nifti", None, "The only volume in the upload.", _ignored(ignored, len(files)), None, None)


def open_upload(paths: Sequence[Path], workdir: Path, limits: Limits) -> tuple[list[Path], list[Kind]]:
    """The files of an upload, those of a zip in its place, and what each is; never a zip.

    Args:
        paths: As for :func:`read_study`.
        workdir: Likewise.
        limits: Bounds on files, bytes and ratio.

    Raises:
        EmptyUpload: Nothing was sent, or only empty files.
        UnreadableFile: A damaged zip.
        UnsafeArchive: A zip that is not taken out.
        UnsupportedFormat: A zip beside other files.
        UploadTooLarge: Over a limit.
    """
    files = _files(paths, limits)
    kinds = [_kind(path) for path in files]
    if Kind.ZIP in kinds:
        if len(files) > 1:
            raise UnsupportedFormat("A zip was sent together with other files.", "Send the zip alone.")
        files = extract_zip(files[0], workdir, limits)
        kinds = [_kind(path) for path in files]
    if all(kind is Kind.EMPTY for kind in kinds):
        raise EmptyUpload("Nothing was sent, or only empty files.")
    return files, kinds


def check_one_patient(patients: Sequence[tuple[str, str, str]]) -> None:
    """Refuse images and reports of several patients.

    Args:
        patients: Identifier, name and birth date of each object; one that is empty says nothing, two that differ say
            two patients.

    Raises:
        MixedStudy: They are several.
    """
    if any(len(set(filter(None, values))) > 1 for values in zip(*patients, strict=True)):
        raise MixedStudy("The upload holds images or reports of more than one patient.")


def _files(paths: Sequence[Path], limits: Limits) -> list[Path]:
    """Every regular file, folders walked in sorted order without following links to folders."""
    files: list[Path] = []
    size = 0
    for path in paths:
        found = [path]
        if path.is_dir():
            found = [Path(folder, name) for folder, _, names in sorted(os.walk(path)) for name in sorted(names)]
        for file in found:
            if not file.is_file():
                continue
            files.append(file)
            size += file.stat().st_size
            if len(files) > limits.max_files:
                raise UploadTooLarge(f"The upload holds more than {limits.max_files} files.")
            if size > limits.max_bytes:
                raise UploadTooLarge(f"The upload holds more than {limits.max_bytes} bytes.")
    return files


def _kind(path: Path) -> Kind:
    with path.open("rb") as stream:
        head = stream.read(_HEAD)
    if not head:
        return Kind.EMPTY
    if head[128:132] == b"DICM":
        return Kind.DICOM
    if head.startswith(ZIP_SIGNATURES):
        return Kind.ZIP
    if head.startswith(GZIP_SIGNATURE):
        try:
            with gzip.open(path) as packed:
                head = packed.read(_HEAD)
        except (OSError, EOFError, zlib.error):
            return Kind.OTHER
        return Kind.NIFTI if looks_like_nifti(head) else Kind.OTHER
    if looks_like_nifti(head):
        return Kind.NIFTI
    return Kind.DICOM if looks_like_dicom(head) else Kind.OTHER


def _read_dicom(files: Sequence[Path], kinds: Sequence[Kind], ignored: int, workdir: Path, limits: Limits) -> Study:
    slices: list[Slice] = []
    patients: list[tuple[str, str, str]] = []
    for index, (path, kind) in enumerate(zip(files, kinds, strict=True)):
        if kind is not Kind.DICOM:
            continue
        label = f"file {index + 1} of {len(files)}"
        header = read_header(inflate(path, workdir / f"inflated-{index:05d}", label, limits), label)
        patients.append(header.patient)
        slices.extend(header.slices)
    check_one_patient(patients)
    if not slices:
        raise NoPixelData(f"None of the {len(patients)} DICOM objects holds an image.")
    choice = choose(slices)
    volume, ordered = read_stack(choice.stack.slices, limits)
    warnings = _ignored(ignored, len(files))
    if choice.code is not None:
        warnings += (StudyWarning(choice.code, _WARNINGS[choice.code]),)
    first = choice.stack.first
    return Study(
        volume=volume,
        format="dicom-multiframe" if first.multiframe else "dicom",
        chosen_series=first.series or None,
        chosen_because=choice.because,
        warnings=warnings,
        study_uid=first.study or None,
        source=source_series(ordered, volume.spacing[0]),
    )


def _ignored(count: int, total: int) -> tuple[StudyWarning, ...]:
    if not count:
        return ()
    return (StudyWarning("files_ignored", f"{count} of {total} files are no images and were ignored."),)
