"""Write phantoms the way scanners and archives do: classic and enhanced MR DICOM, zip, NIfTI."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path

import nibabel as nib
import numpy as np
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import EnhancedMRImageStorage, ExplicitVRLittleEndian, MRImageStorage, generate_uid

from preprocess.volume import Volume
from training.phantom.phantom import Phantom

__all__ = ["PATIENT_ID", "PATIENT_NAME", "write_dicom", "write_nifti", "write_zip"]

PATIENT_NAME = "Phantom^Lumbar"
PATIENT_ID = "PHANTOM-0001"

_ECHO_MS, _REPETITION_MS, _FLIP_DEG, _TESLA = 100.0, 3500.0, 150.0, 1.5


def _volume_of(phantom: Phantom | Volume) -> Volume:
    return phantom.volume if isinstance(phantom, Phantom) else phantom


def _uids(volume: Volume, patient: tuple[str, str]) -> tuple[str, ...]:
    """Seed of the UIDs: the content itself, so that no UID ever names two different images."""
    digest = hashlib.sha256(volume.array.tobytes() + volume.affine.tobytes()).hexdigest()
    return (digest, *patient)


def _uid(entropy: tuple[str, ...], role: str) -> str:
    return str(generate_uid(entropy_srcs=[*entropy, role]))


def _file(uid: str, sop_class: str) -> FileDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = sop_class
    meta.MediaStorageSOPInstanceUID = uid
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = "2.25.261384737109328574320487155820947361"
    ds = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    ds.SOPClassUID = sop_class
    ds.SOPInstanceUID = uid
    return ds


def _fill_common(ds: Dataset, entropy: tuple[str, ...], patient: tuple[str, str], description: str) -> None:
    """Patient, study, series, frame of reference and equipment: alike in classic and enhanced objects."""
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.PatientName, ds.PatientID = patient
    ds.PatientBirthDate, ds.PatientSex = "19700101", "O"
    ds.StudyInstanceUID, ds.SeriesInstanceUID = _uid(entropy, "study"), _uid(entropy, "series")
    ds.FrameOfReferenceUID, ds.PositionReferenceIndicator = _uid(entropy, "frame"), ""
    ds.StudyDate = ds.SeriesDate = ds.AcquisitionDate = ds.ContentDate = "20200101"
    ds.StudyTime = ds.SeriesTime = ds.ContentTime = "120000"
    ds.StudyID, ds.AccessionNumber, ds.ReferringPhysicianName = "1", "", ""
    ds.SeriesNumber = 3
    ds.Modality, ds.BodyPartExamined, ds.PatientPosition = "MR", "LSPINE", "HFS"
    ds.StudyDescription, ds.SeriesDescription, ds.ProtocolName = "MR lumbar spine (phantom)", description, description
    ds.Manufacturer, ds.ManufacturerModelName = "discgrade", "phantom"
    ds.DeviceSerialNumber, ds.SoftwareVersions = "0", "1"
    ds.MagneticFieldStrength = _TESLA


def _fill_pixels(ds: Dataset, frames: np.ndarray) -> None:
    stored = frames.astype("<u2")
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.Rows, ds.Columns = stored.shape[-2:]
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0
    ds.PixelData = stored.tobytes()


def _window(array: np.ndarray) -> tuple[str, str]:
    width = max(2.0, float(np.percentile(array, 99)))
    return f"{width / 2:.0f}", f"{width:.0f}"


def _plane(volume: Volume, k: int) -> tuple[list[float], list[float], list[float], float]:
    """Position, orientation, pixel spacing, slice spacing (PS3.3 C.7.6.2); the first index (slice) is k."""
    affine = volume.affine
    between, rows, columns = volume.spacing
    position = affine[:3, 3] + k * affine[:3, 0]
    # The first direction is that of rising columns within a row.
    orientation = [*(affine[:3, 2] / columns), *(affine[:3, 1] / rows)]
    return [_ds(v) for v in position], [_ds(v) for v in orientation], [_ds(rows), _ds(columns)], _ds(between)


def _ds(value: float) -> float:
    """The nearest number that a decimal string of 16 characters can hold (PS3.5 6.2)."""
    text = next(t for t in (f"{value:.{digits}g}" for digits in range(15, 0, -1)) if len(t) <= 16)
    return float(text)


def _write_classic(volume: Volume, folder: Path, entropy: tuple[str, ...], patient: tuple[str, str], title: str) -> None:
    centre, width = _window(volume.array)
    for k, pixels in enumerate(volume.array):
        ds = _file(_uid(entropy, f"instance {k}"), MRImageStorage)
        _fill_common(ds, entropy, patient, title)
        ds.ImageType = ["ORIGINAL", "PRIMARY", "M", "SE"]
        ds.ScanningSequence, ds.SequenceVariant, ds.ScanOptions, ds.MRAcquisitionType = "SE", "SK", "", "2D"
        ds.EchoTime, ds.RepetitionTime, ds.EchoTrainLength, ds.FlipAngle = _ECHO_MS, _REPETITION_MS, 17, _FLIP_DEG
        ds.InstanceNumber = ds.AcquisitionNumber = k + 1
        ds.AcquisitionNumber = 1
        position, orientation, spacing, between = _plane(volume, k)
        ds.ImagePositionPatient, ds.ImageOrientationPatient, ds.PixelSpacing = position, orientation, spacing
        ds.SpacingBetweenSlices, ds.SliceThickness = between, _ds(0.9 * between)
        ds.WindowCenter, ds.WindowWidth = centre, width
        _fill_pixels(ds, pixels)
        ds.save_as(folder / f"IM{k + 1:04d}.dcm", enforce_file_format=True)


def _item(**values: object) -> Sequence:
    item = Dataset()
    for keyword, value in values.items():
        setattr(item, keyword, value)
    return Sequence([item])


def _write_enhanced(
    volume: Volume, folder: Path, entropy: tuple[str, ...], patient: tuple[str, str], title: str
) -> None:
    centre, width = _window(volume.array)
    ds = _file(_uid(entropy, "enhanced"), EnhancedMRImageStorage)
    _fill_common(ds, entropy, patient, title)
    ds.ImageType = ["ORIGINAL", "PRIMARY", "T2", "NONE"]
    ds.InstanceNumber, ds.NumberOfFrames = 1, len(volume.array)
    ds.AcquisitionDateTime, ds.AcquisitionDuration = "20200101120000", 180.0
    ds.ContentQualification, ds.ResonantNucleus, ds.KSpaceFiltering = "RESEARCH", "1H", "COSINE"
    ds.PixelPresentation, ds.VolumetricProperties, ds.VolumeBasedCalculationTechnique = "MONOCHROME", "VOLUME", "NONE"
    ds.ComplexImageComponent, ds.AcquisitionContrast = "MAGNITUDE", "T2"
    ds.PulseSequenceName, ds.MRAcquisitionType, ds.EchoPulseSequence = "tse2d", "TWO_DIMENSIONAL", "SPIN"
    ds.MultipleSpinEcho, ds.MultiplanarExcitation, ds.PhaseContrast = "YES", "NO", "NO"
    ds.BurnedInAnnotation, ds.LossyImageCompression, ds.PresentationLUTShape = "NO", "00", "IDENTITY"
    _, orientation, spacing, between = _plane(volume, 0)
    stack = _uid(entropy, "dimensions")
    ds.DimensionOrganizationSequence = _item(DimensionOrganizationUID=stack)
    ds.DimensionIndexSequence = Sequence(
        [
            _item(DimensionOrganizationUID=stack, DimensionIndexPointer=pointer, FunctionalGroupPointer=0x00209111)[0]
            for pointer in (0x00209056, 0x00209057)
        ]
    )
    shared = Dataset()
    shared.MRTimingAndRelatedParametersSequence = _item(
        RepetitionTime=_REPETITION_MS, FlipAngle=_FLIP_DEG, EchoTrainLength=17, RFEchoTrainLength=17,
        GradientEchoTrainLength=0, 
    )  # fmt: skip
    shared.MREchoSequence = _item(EffectiveEchoTime=_ECHO_MS)
    shared.PlaneOrientationSequence = _item(ImageOrientationPatient=orientation)
    shared.PixelMeasuresSequence = _item(
        PixelSpacing=spacing, SliceThickness=_ds(0.9 * between), SpacingBetweenSlices=between
    )
    shared.FrameVOILUTSequence = _item(WindowCenter=centre, WindowWidth=width)
    shared.PixelValueTransformationSequence = _item(RescaleIntercept=0, RescaleSlope=1, RescaleType="US")
    shared.MRImageFrameTypeSequence = _item(
        FrameType=["ORIGINAL", "PRIMARY", "T2", "NONE"], PixelPresentation="MONOCHROME",
        VolumetricProperties="VOLUME", VolumeBasedCalculationTechnique="NONE",
        ComplexImageComponent="MAGNITUDE", AcquisitionContrast="T2",
    )  # fmt: skip
    ds.SharedFunctionalGroupsSequence = Sequence([shared])
    frames = []
    for k in range(len(volume.array)):
        frame = Dataset()
        frame.FrameContentSequence = _item(
            StackID="1", InStackPositionNumber=k + 1, DimensionIndexValues=[1, k + 1], FrameAcquisitionNumber=1
        )
        frame.PlanePositionSequence = _item(ImagePositionPatient=_plane(volume, k)[0])
        frames.append(frame)
    ds.PerFrameFunctionalGroupsSequence = Sequence(frames)
    _fill_pixels(ds, volume.array)
    ds.save_as(folder / "IM0001.dcm", enforce_file_format=True)


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
    volume = _volume_of(phantom)
    folder.mkdir(parents=True, exist_ok=True)
    write = _write_enhanced if enhanced else _write_classic
    write(volume, folder, _uids(volume, patient), patient, description)
    names = ["IM0001.dcm"] if enhanced else [f"IM{k + 1:04d}.dcm" for k in range(len(volume.array))]
    return [folder / name for name in names]


def write_zip(files: list[Path], path: Path) -> Path:
    """Pack `files` into a deflated zip at `path`, under the folder ``DICOM``; returns `path`."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for file in files:
            # A fixed date keeps the archive the same from run to run.
            entry = zipfile.ZipInfo(f"DICOM/{file.name}", date_time=(2020, 1, 1, 12, 0, 0))
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, file.read_bytes())
    return path


def write_nifti(phantom: Phantom | Volume, path: Path, *, labels: bool = False) -> Path:
    """Write a NIfTI image (RAS+, sform and qform, int16), axes in the volume's order (slices, rows, columns).

    Args:
        phantom: Phantom, or any volume with whole numbers.
        path: Ends in ``.nii`` or ``.nii.gz``.
        labels: Write the disc numbers (`Phantom.instances`) instead of the image; needs a `Phantom`.

    Returns:
        `path`.

    Raises:
        TypeError: Labels of a mere volume were asked for.
    """
    volume = _volume_of(phantom)
    array = volume.array.astype(np.int16)
    if labels:
        if not isinstance(phantom, Phantom):
            raise TypeError("only a Phantom has labels")
        array = phantom.instances.astype(np.int16)
    ras = np.diag([-1.0, -1.0, 1.0, 1.0]) @ volume.affine
    image = nib.Nifti1Image(array, ras)
    image.header.set_xyzt_units("mm")
    image.set_sform(ras, code=1)
    image.set_qform(ras, code=1)
    nib.save(image, path)
    return path
