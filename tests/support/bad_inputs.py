"""Every kind of upload that cannot be graded, and the error that says why."""

from __future__ import annotations

import gzip
import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import nibabel as nib
import numpy as np
from PIL import Image
from pydicom import Dataset, dcmwrite
from pydicom.encaps import encapsulate
from pydicom.uid import MPEG2MPML, ExplicitVRLittleEndian

from discgrade import errors
from discgrade.errors import DiscgradeError
from tests.support import dicom_files as d
from training.phantom import make_non_spine, write_dicom

__all__ = ["BAD_INPUTS", "MAX_FILES", "MAX_SLICES", "MAX_UNPACKED_BYTES", "MAX_UPLOAD_BYTES"]

MAX_FILES, MAX_SLICES = 60, 40
MAX_UPLOAD_BYTES, MAX_UNPACKED_BYTES = 8_000_000, 16_000_000
"""Settings of the server that the last cases need."""


def _encoded(datasets: list[Dataset]) -> list[bytes]:
    return [d.encode(dataset, ExplicitVRLittleEndian) for dataset in datasets]


def _series(**attributes: Any) -> list[bytes]:
    return _encoded(d.series_datasets(**attributes))


def _changed(change: Callable[[list[Dataset]], Any]) -> list[bytes]:
    datasets = d.series_datasets()
    change(datasets)
    return _encoded(datasets)


def _report() -> list[bytes]:
    dataset = d.common("report", 1, "SR", "1.2.840.10008.5.1.4.1.1.88.11")
    return _encoded([dataset])


def _picture() -> bytes:
    out = io.BytesIO()
    Image.new("L", (64, 64)).save(out, "PNG")
    return out.getvalue()


def _video() -> list[bytes]:
    dataset = d.series_datasets()[0]
    dataset.PixelData = encapsulate([bytes(1000)])
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True
    dataset.file_meta.TransferSyntaxUID = MPEG2MPML
    out = io.BytesIO()
    dcmwrite(out, dataset, enforce_file_format=True)
    return [out.getvalue()]


def _nifti(array: Any, spacing: tuple[float, ...] = (4.0, 0.7, 0.7)) -> bytes:
    affine = np.diag([*spacing, 1.0])
    return gzip.compress(nib.Nifti1Image(np.asarray(array, np.float32), affine).to_bytes())


def _volume(shape: tuple[int, ...] = (5, 80, 80)) -> np.ndarray[Any, Any]:
    return np.random.default_rng(1).uniform(0, 100, shape)


def _with(value: float) -> np.ndarray[Any, Any]:
    volume = _volume()
    volume[2, 3, 4] = value
    return volume


def _zip(members: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return out.getvalue()


def _knee() -> list[bytes]:
    with TemporaryDirectory() as folder:
        return [path.read_bytes() for path in write_dicom(make_non_spine(1), Path(folder))]


def _other_patient(datasets: list[Dataset]) -> None:
    datasets[2].PatientID = "OTHER"


def _other_frame(datasets: list[Dataset]) -> None:
    datasets[2].FrameOfReferenceUID = d.uid("other frame")


def _same_place(datasets: list[Dataset]) -> None:
    datasets[2].ImagePositionPatient = datasets[1].ImagePositionPatient


def _smaller(datasets: list[Dataset]) -> None:
    d.set_pixels(datasets[2], d.pixels(1, 20, 20)[0])


def _noise(size: int) -> bytes:
    return np.random.default_rng(0).bytes(size)


BAD_INPUTS: dict[str, tuple[Callable[[], list[bytes]], type[DiscgradeError]]] = {
    "no file": (list, errors.EmptyUpload),
    "empty files": (lambda: [b"", b""], errors.EmptyUpload),
    "a letter": (lambda: [b"Dear colleague,\n" * 20], errors.UnsupportedFormat),
    "a PNG picture": (lambda: [_picture()], errors.UnsupportedFormat),
    "noise": (lambda: [_noise(5000)], errors.UnsupportedFormat),
    "truncated DICOM": (lambda: [data[: len(data) // 2] for data in _series()], errors.UnreadableFile),
    "no pixel data": (_report, errors.NoPixelData),
    "CT": (lambda: _series(Modality="CT"), errors.WrongModality),
    "X-ray": (lambda: _series(Modality="DX"), errors.WrongModality),
    "axial only": (lambda: _series(orientation=d.AXIAL), errors.NoSagittalSeries),
    "coronal only": (lambda: _series(orientation=d.CORONAL), errors.NoSagittalSeries),
    "T1 only": (lambda: _series(**d.T1), errors.NoT2Series),
    "a knee": (_knee, errors.NoDiscsFound),
    "two patients": (lambda: _changed(_other_patient), errors.MixedStudy),
    "two frames of reference": (lambda: _changed(_other_frame), errors.MixedStudy),
    "no orientation": (lambda: _series(ImageOrientationPatient=None), errors.MissingGeometry),
    "no position": (lambda: _series(ImagePositionPatient=None), errors.MissingGeometry),
    "no pixel spacing": (lambda: _series(PixelSpacing=None), errors.MissingGeometry),
    "one position twice": (lambda: _changed(_same_place), errors.DuplicatePositions),
    "a gap": (lambda: _changed(lambda datasets: datasets.pop(2)), errors.SliceGap),
    "a smaller slice": (lambda: _changed(_smaller), errors.InconsistentSlices),
    "video syntax": (_video, errors.UnsupportedTransferSyntax),
    "4-D NIfTI": (lambda: [_nifti(_volume((5, 40, 40, 3)))], errors.UnsupportedDimensions),
    "NaN": (lambda: [_nifti(_with(np.nan))], errors.InvalidPixelValues),
    "infinite": (lambda: [_nifti(_with(np.inf))], errors.InvalidPixelValues),
    "blank": (lambda: [_nifti(np.ones((5, 80, 80)))], errors.InvalidPixelValues),
    "metres for millimetres": (lambda: [_nifti(_volume(), (0.004, 0.0007, 0.0007))], errors.ImplausibleSpacing),
    "axial NIfTI": (lambda: [_nifti(_volume((80, 80, 5)), (0.7, 0.7, 4.0))], errors.NoSagittalSeries),
    "two NIfTI": (lambda: [_nifti(_volume())] * 2, errors.MixedStudy),
    "truncated NIfTI": (lambda: [_nifti(_volume())[:-20_000]], errors.UnreadableFile),
    "zip with traversal": (lambda: [_zip({"../../evil": b"x" * 500})], errors.UnsafeArchive),
    "zip in a zip": (lambda: [_zip({"a": _zip({"b": b"x" * 500})})], errors.UnsafeArchive),
    "zip bomb": (lambda: [_zip({"a": bytes(10_000_000)})], errors.UnsafeArchive),
    "zip of too many files": (lambda: [_zip({f"{k}": b"x" for k in range(MAX_FILES + 1)})], errors.UploadTooLarge),
    "zip of too many bytes": (
        lambda: [_zip({f"{k}": _noise(20_000) * 50 for k in range(17)})],
        errors.UploadTooLarge,
    ),
    "damaged zip": (lambda: [_zip({"a": _noise(5000)})[:3000]], errors.UnreadableFile),
    "a zip and more": (lambda: [_zip({"a": b"x"}), b"more"], errors.UnsupportedFormat),
    "too many bytes": (lambda: [_noise(MAX_UPLOAD_BYTES + 1)], errors.UploadTooLarge),
    "too many files": (lambda: [b"x"] * (MAX_FILES + 1), errors.UploadTooLarge),
    "too many slices": (lambda: _series(image=d.pixels(MAX_SLICES + 1)), errors.UploadTooLarge),
    "too many slices in NIfTI": (lambda: [_nifti(_volume((MAX_SLICES + 1, 80, 80)))], errors.UploadTooLarge),
}
"""What it is: a function that makes the files, and the error it must give."""
