"""Write phantoms as DICOM: what is common to both kinds of MR object, and classic single-frame MR Image Storage."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import UID, EnhancedMRImageStorage, ExplicitVRLittleEndian, MRImageStorage, generate_uid

from preprocess.volume import Volume
from training.phantom.enhanced import fill_enhanced, item
from training.phantom.phantom import Phantom

__all__ = ["PATIENT_ID", "PATIENT_NAME", "write_dicom", "write_zip"]

PATIENT_NAME = "Phantom^Lumbar"
PATIENT_ID = "PHANTOM-0001"

ECHO_MS, REPETITION_MS, FLIP_DEG, ECHO_TRAIN = 100.0, 3500.0, 150.0, 17


class _Identity:
    """UIDs that depend on content and patient alone, so that no UID ever names two different images."""

    def __init__(self, volume: Volume, patient: tuple[str, str]) -> None:
        self.patient = patient
        content = hashlib.sha256(volume.array.tobytes() + volume.affine.tobytes()).hexdigest()
        self._entropy = [content, *patient]

    def uid(self, role: str) -> str:
        return str(generate_uid(entropy_srcs=[*self._entropy, role]))


def _decimal(value: float) -> float:
    """The nearest number that a decimal string of 16 characters can hold (PS3.5 6.2)."""
    text = next(t for t in (f"{value:.{digits}g}" for digits in range(15, 0, -1)) if len(t) <= 16)
    return float(text)


def _decimals(values: Any) -> list[float]:
    return [_decimal(float(v)) for v in values]


def _new(uid: str, sop_class: str) -> FileDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = UID(sop_class)
    meta.MediaStorageSOPInstanceUID = UID(uid)
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    ds.SOPClassUID = sop_class
    ds.SOPInstanceUID = uid
    return ds


def _fill_common(ds: Dataset, identity: _Identity, description: str) -> None:
    """Patient, study, series, frame of reference and equipment: alike in classic and enhanced objects."""
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.PatientName, ds.PatientID = identity.patient
    ds.PatientBirthDate, ds.PatientSex = "19700101", "O"
    ds.StudyInstanceUID, ds.SeriesInstanceUID = identity.uid("study"), identity.uid("series")
    ds.FrameOfReferenceUID, ds.PositionReferenceIndicator = identity.uid("frame of reference"), ""
    ds.StudyDate = ds.SeriesDate = ds.ContentDate = "20200101"
    ds.StudyTime = ds.SeriesTime = ds.ContentTime = "120000"
    ds.StudyID, ds.AccessionNumber, ds.ReferringPhysicianName = "1", "", ""
    ds.SeriesNumber, ds.AcquisitionNumber = 3, 1
    ds.Modality, ds.BodyPartExamined, ds.PatientPosition = "MR", "LSPINE", "HFS"
    ds.StudyDescription, ds.SeriesDescription, ds.ProtocolName = "MR lumbar spine (phantom)", description, description
    ds.Manufacturer, ds.ManufacturerModelName = "discgrade", "phantom"
    ds.DeviceSerialNumber, ds.SoftwareVersions = "0", "1"
    ds.MagneticFieldStrength = 1.5


def _fill_pixels(ds: Dataset, frames: NDArray[np.float32]) -> None:
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.Rows, ds.Columns = frames.shape[-2:]
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0
    ds.PixelData = frames.astype("<u2").tobytes()


def _positions(volume: Volume) -> list[list[float]]:
    """Image Position (Patient) of every slice (PS3.3 C.7.6.2.1.1)."""
    return [_decimals(volume.affine[:3, 3] + k * volume.affine[:3, 0]) for k in range(len(volume.array))]


def _plane(volume: Volume) -> dict[str, dict[str, Any]]:
    """Orientation and measures, by the functional group they belong to."""
    between, rows, columns = volume.spacing
    # The first direction is that of rising columns within a row.
    orientation = [*(volume.affine[:3, 2] / columns), *(volume.affine[:3, 1] / rows)]
    return {
        "PlaneOrientationSequence": {"ImageOrientationPatient": _decimals(orientation)},
        "PixelMeasuresSequence": {
            "PixelSpacing": _decimals((rows, columns)),
            "SliceThickness": _decimal(0.9 * between),
            "SpacingBetweenSlices": _decimal(between),
        },
        "FrameVOILUTSequence": _window(volume),
    }


def _window(volume: Volume) -> dict[str, Any]:
    width = max(2.0, float(np.percentile(volume.array, 99)))
    return {"WindowCenter": f"{width / 2:.0f}", "WindowWidth": f"{width:.0f}"}


def _classic(volume: Volume, identity: _Identity, description: str) -> list[FileDataset]:
    instances = []
    groups = _plane(volume)
    for k, position in enumerate(_positions(volume)):
        ds = _new(identity.uid(f"slice {k}"), MRImageStorage)
        _fill_common(ds, identity, description)
        ds.ImageType = ["ORIGINAL", "PRIMARY", "OTHER"]
        ds.ScanningSequence, ds.SequenceVariant, ds.ScanOptions, ds.MRAcquisitionType = "SE", "SK", "", "2D"
        ds.EchoTime, ds.RepetitionTime, ds.FlipAngle = ECHO_MS, REPETITION_MS, FLIP_DEG
        ds.EchoTrainLength = ECHO_TRAIN
        ds.AcquisitionDate, ds.AcquisitionTime = ds.StudyDate, ds.StudyTime
        ds.InstanceNumber = k + 1
        ds.ImagePositionPatient = position
        for group in groups.values():
            for keyword, value in group.items():
                setattr(ds, keyword, value)
        _fill_pixels(ds, volume.array[k])
        instances.append(ds)
    return instances


def _multiframe(volume: Volume, identity: _Identity, description: str) -> FileDataset:
    ds = _new(identity.uid("multi-frame"), EnhancedMRImageStorage)
    _fill_common(ds, identity, description)
    ds.InstanceNumber, ds.NumberOfFrames = 1, len(volume.array)
    timing = {"RepetitionTime": REPETITION_MS, "FlipAngle": FLIP_DEG, "EchoTrainLength": ECHO_TRAIN}
    fill_enhanced(ds, timing, ECHO_MS, identity.uid("dimensions"), _positions(volume))
    for keyword, values in _plane(volume).items():
        setattr(ds.SharedFunctionalGroupsSequence[0], keyword, Sequence([item(**values)]))
    _fill_pixels(ds, volume.array)
    return ds


def write_dicom(
    phantom: Phantom | Volume,
    folder: Path,
    *,
    patient: tuple[str, str] = (PATIENT_NAME, PATIENT_ID),
    description: str = "T2 TSE sag",
    enhanced: bool = False,
) -> list[Path]:
    """Write a series as DICOM, explicit little endian.

    UIDs depend on nothing but content and patient: writing the same phantom twice gives the same files.

    Args:
        phantom: Phantom, or any volume of shape (slices, rows, columns) with whole numbers 0 to 4095.
        folder: Made if missing.
        patient: Patient's name and ID.
        description: Series description.
        enhanced: One Enhanced MR multi-frame file instead of one MR Image file a slice.

    Returns:
        The files, in order of slices.
    """
    volume = phantom.volume if isinstance(phantom, Phantom) else phantom
    identity = _Identity(volume, patient)
    instances = [_multiframe(volume, identity, description)] if enhanced else _classic(volume, identity, description)
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for number, ds in enumerate(instances, start=1):
        files.append(folder / f"IM{number:04d}.dcm")
        ds.save_as(files[-1], enforce_file_format=True)
    return files


def write_zip(files: list[Path], path: Path) -> Path:
    """Pack `files` into a deflated zip at `path`, under the folder ``DICOM``; returns `path`."""
    with zipfile.ZipFile(path, "w") as archive:
        for file in files:
            # A fixed date keeps the archive the same from run to run.
            entry = zipfile.ZipInfo(f"DICOM/{file.name}", date_time=(2020, 1, 1, 12, 0, 0))
            archive.writestr(entry, file.read_bytes(), zipfile.ZIP_DEFLATED, compresslevel=1)
    return path
