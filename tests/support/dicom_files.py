"""Writes synthetic MR as DICOM files, in every encoding and variant the readers must take or refuse.

Nothing here is patient data: pixels are seeded noise over a smooth ramp, identifiers are generated.
"""

from __future__ import annotations

import io
import tempfile
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import gdcm
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom import Dataset, dcmread, dcmwrite
from pydicom.dataset import FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    JPEG2000,
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    MRImageStorage,
    RLELossless,
    generate_uid,
)

SAGITTAL = (0.0, 1.0, 0.0, 0.0, 0.0, -1.0)
"""Rows run posterior, columns run inferior: the normal points to the patient's right (-x)."""
AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
CORONAL = (1.0, 0.0, 0.0, 0.0, 0.0, -1.0)

T2: dict[str, Any] = {
    "EchoTime": 102.0,
    "RepetitionTime": 3500.0,
    "SeriesDescription": "T2_TSE_SAG",
    "ScanningSequence": "SE",
}
T1: dict[str, Any] = {
    "EchoTime": 11.0,
    "RepetitionTime": 600.0,
    "SeriesDescription": "T1_TSE_SAG",
    "ScanningSequence": "SE",
}
STIR: dict[str, Any] = {
    "EchoTime": 70.0,
    "RepetitionTime": 4000.0,
    "InversionTime": 160.0,
    "SeriesDescription": "TIRM_SAG",
    "ScanningSequence": ["SE", "IR"],
}
T2_FAT_SAT: dict[str, Any] = {**T2, "ScanOptions": "FS", "SeriesDescription": "T2_TSE_SAG_FS"}

STUDY = generate_uid(entropy_srcs=["discgrade", "study"])
FRAME_OF_REFERENCE = generate_uid(entropy_srcs=["discgrade", "frame of reference"])


def uid(*words: str) -> UID:
    """The same UID for the same words, in every run."""
    return generate_uid(entropy_srcs=["discgrade", *words])


def pixels(count: int = 5, rows: int = 40, columns: int = 36, *, signed: bool = False, bits: int = 12) -> NDArray[Any]:
    """Integer test image, shape (count, rows, columns), int16 or uint16, in the range of ``bits`` stored bits."""
    noise = np.random.default_rng(7).integers(0, 40, (count, rows, columns))
    ramp = np.arange(rows)[:, None] * 9 + np.arange(columns) * 5 + np.arange(count)[:, None, None] * 60
    image = (ramp + noise) % 2**bits
    result: NDArray[Any] = (image - 2 ** (bits - 1)).astype(np.int16) if signed else image.astype(np.uint16)
    return result


def normal(orientation: Sequence[float]) -> NDArray[np.float64]:
    """Unit normal of a plane from its six direction cosines (row × column)."""
    result: NDArray[np.float64] = np.cross(orientation[:3], orientation[3:])
    return result


def set_pixels(dataset: Dataset, image: NDArray[Any], bits: int = 12) -> None:
    """Put an image of shape (rows, columns) or (frames, rows, columns), 8 or 16 bits, into a data set."""
    dataset.Rows, dataset.Columns = image.shape[-2:]
    if image.ndim == 3:
        dataset.NumberOfFrames = image.shape[0]
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.BitsAllocated = 8 * image.dtype.itemsize
    dataset.BitsStored = min(bits, dataset.BitsAllocated)
    dataset.HighBit = dataset.BitsStored - 1
    dataset.PixelRepresentation = int(image.dtype.kind == "i")
    data = image.astype(image.dtype.newbyteorder("<")).tobytes()
    dataset.PixelData = data + b"\0" * (len(data) % 2)
    dataset["PixelData"].VR = "OW"


def file_meta(sop_class: str, sop_instance: str, syntax: str = ExplicitVRLittleEndian) -> FileMetaDataset:
    """File meta information for one object."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = UID(sop_class)
    meta.MediaStorageSOPInstanceUID = UID(sop_instance)
    meta.TransferSyntaxUID = UID(syntax)
    return meta


def common(series: str, instance: int, modality: str = "MR", sop_class: str = MRImageStorage) -> Dataset:
    """Patient, study, series and object identification shared by every object written here."""
    dataset = Dataset()
    dataset.SOPClassUID = sop_class
    dataset.SOPInstanceUID = uid(series, str(instance), sop_class)
    dataset.PatientID = "SYNTHETIC"
    dataset.PatientName = "Synthetic^Spine"
    dataset.PatientBirthDate = "19700101"
    dataset.StudyInstanceUID = STUDY
    dataset.SeriesInstanceUID = uid(series)
    dataset.SeriesNumber = 1
    dataset.InstanceNumber = instance
    dataset.Modality = modality
    dataset.file_meta = file_meta(sop_class, dataset.SOPInstanceUID)
    return dataset


def slice_dataset(
    image: NDArray[Any],
    position: Sequence[float],
    orientation: Sequence[float] = SAGITTAL,
    *,
    series: str = "t2",
    instance: int = 1,
    bits: int = 12,
    **attributes: Any,
) -> Dataset:
    """One classic MR Image Storage object.

    Args:
        image: Shape (rows, columns).
        position: Centre of the first pixel, mm LPS.
        orientation: Six direction cosines.
        series: Any word; the same word gives the same Series Instance UID.
        instance: Instance Number.
        bits: Bits Stored.
        attributes: Further attributes by keyword; None removes one.
    """
    dataset = common(series, instance)
    dataset.FrameOfReferenceUID = FRAME_OF_REFERENCE
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "M", "NORM"]
    dataset.ImageOrientationPatient = [round(value, 9) for value in orientation]
    dataset.ImagePositionPatient = [round(float(value), 6) for value in position]
    dataset.PixelSpacing = [0.75, 0.625]
    dataset.SliceThickness = 4.0
    dataset.SpacingBetweenSlices = 4.4
    set_pixels(dataset, image, bits)
    for keyword, value in attributes.items():
        if value is None:
            if keyword in dataset:
                del dataset[keyword]
        else:
            setattr(dataset, keyword, value)
    return dataset


def series_datasets(
    image: NDArray[Any] | None = None,
    orientation: Sequence[float] = SAGITTAL,
    *,
    step: float = 4.4,
    origin: Sequence[float] = (30.0, -40.0, 120.0),
    series: str = "t2",
    bits: int = 12,
    **attributes: Any,
) -> list[Dataset]:
    """A series of classic objects, ``step`` mm apart along the normal; T2-weighted unless ``attributes`` say else."""
    image = pixels() if image is None else image
    direction = normal(orientation)
    return [
        slice_dataset(
            plane,
            np.asarray(origin) + k * step * direction,
            orientation,
            series=series,
            instance=k + 1,
            bits=bits,
            **{**T2, **attributes},
        )
        for k, plane in enumerate(image)
    ]


def group(**attributes: Any) -> list[Dataset]:
    """A functional group sequence with its single item."""
    item = Dataset()
    for keyword, value in attributes.items():
        setattr(item, keyword, value)
    return [item]


def enhanced_dataset(
    image: NDArray[Any] | None = None,
    orientation: Sequence[float] = SAGITTAL,
    *,
    step: float = 4.4,
    origin: Sequence[float] = (30.0, -40.0, 120.0),
    series: str = "enhanced",
    order: Sequence[int] | None = None,
    echo_times: Sequence[float] = (102.0,),
    shared_geometry: bool = True,
    instance: int = 1,
) -> Dataset:
    """One Enhanced MR Image Storage object (PS3.3 A.36.2).

    Args:
        image: Shape (slices, rows, columns); each echo time repeats every slice, brightness divided by its number.
        orientation: Six direction cosines.
        step: mm between slices.
        origin: Position of slice 0, mm LPS.
        series: Names the series.
        order: In which order slices are stored as frames.
        echo_times: ms, one stack of frames each.
        shared_geometry: Orientation and pixel measures in the shared groups, or else in every frame's.
        instance: Instance Number.
    """
    image = pixels() if image is None else image
    order = range(len(image)) if order is None else order
    dataset = common(series, instance, sop_class="1.2.840.10008.5.1.4.1.1.4.1")
    dataset.FrameOfReferenceUID = FRAME_OF_REFERENCE
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
    dataset.SeriesDescription = "T2W_TSE"
    orientation_group = group(ImageOrientationPatient=list(orientation))
    measures = group(PixelSpacing=[0.75, 0.625], SliceThickness=4.0, SpacingBetweenSlices=4.4)
    shared = Dataset()
    shared.MRTimingAndRelatedParametersSequence = group(RepetitionTime=3500.0)
    shared.MRModifierSequence = group(SpectrallySelectedSuppression="NONE", InversionRecovery="NO")
    if shared_geometry:
        shared.PlaneOrientationSequence = orientation_group
        shared.PixelMeasuresSequence = measures
    frames, per_frame = [], []
    for echo, echo_time in enumerate(echo_times):
        for k in order:
            frame = Dataset()
            frame.FrameContentSequence = group(
                StackID="1", InStackPositionNumber=k + 1, DimensionIndexValues=[1, k + 1, echo + 1]
            )
            frame.PlanePositionSequence = group(
                ImagePositionPatient=list(np.asarray(origin) + k * step * normal(orientation))
            )
            if not shared_geometry:
                frame.PlaneOrientationSequence = orientation_group
                frame.PixelMeasuresSequence = measures
            frame.MREchoSequence = group(EffectiveEchoTime=echo_time)
            frame.PixelValueTransformationSequence = group(
                RescaleSlope=2.0 + k, RescaleIntercept=-3.0, RescaleType="US"
            )
            per_frame.append(frame)
            frames.append(image[k] // (echo + 1))
    dataset.SharedFunctionalGroupsSequence = [shared]
    dataset.PerFrameFunctionalGroupsSequence = per_frame
    set_pixels(dataset, np.stack(frames))
    return dataset


def encode(dataset: Dataset, syntax: str) -> bytes:
    """The object as the bytes of a Part 10 file, its pixels really compressed in ``syntax``."""
    if syntax == JPEGLosslessSV1:
        _jpeg_lossless(dataset)
    elif syntax in (RLELossless, JPEGLSLossless, JPEG2000Lossless):
        dataset.compress(syntax, generate_instance_uid=False)
    elif syntax == JPEGLSNearLossless:
        dataset.compress(syntax, jls_error=2, generate_instance_uid=False)
    elif syntax == JPEG2000:
        dataset.compress(syntax, j2k_cr=[2], generate_instance_uid=False)
    elif syntax == ExplicitVRBigEndian:
        dataset.PixelData = np.frombuffer(dataset.PixelData, np.uint16).byteswap().tobytes()
    dataset.file_meta.TransferSyntaxUID = UID(syntax)
    stream = io.BytesIO()
    dcmwrite(stream, dataset, enforce_file_format=True)
    return stream.getvalue()


def _jpeg_lossless(dataset: Dataset) -> None:
    """Compress native pixels to JPEG Lossless, first-order prediction, with GDCM.

    Only the pixels of what GDCM writes are used: it rewrites functional groups.
    """
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "in.dcm"), Path(folder, "out.dcm")
        source.write_bytes(encode(dataset, ExplicitVRLittleEndian))
        reader = gdcm.ImageReader()
        reader.SetFileName(str(source))
        assert reader.Read()
        change = gdcm.ImageChangeTransferSyntax()
        change.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.JPEGLosslessProcess14_1))
        change.SetInput(reader.GetImage())
        assert change.Change()
        writer = gdcm.ImageWriter()
        writer.SetFileName(str(target))
        writer.SetFile(reader.GetFile())
        writer.SetImage(change.GetOutput())
        assert writer.Write()
        _put_encapsulated(dataset, dcmread(target).PixelData)


def jpeg_baseline(dataset: Dataset) -> Dataset:
    """Replace 8-bit native pixels by lossy JPEG; :func:`encode` then writes the object as it is."""
    stream = io.BytesIO()
    Image.fromarray(dataset.pixel_array).save(stream, "JPEG", quality=95)
    _put_encapsulated(dataset, encapsulate([stream.getvalue()]))
    return dataset


def _put_encapsulated(dataset: Dataset, data: bytes) -> None:
    dataset.PixelData = data
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True


def write(datasets: Iterable[Dataset], folder: Path, syntax: str = ExplicitVRLittleEndian) -> list[Path]:
    """Write objects as files whose names say nothing about their order or format; returns the paths in that order."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for dataset in datasets:
        path = folder / f"{len(list(folder.iterdir())):04d}"
        path.write_bytes(encode(dataset, syntax))
        paths.append(path)
    return paths


def write_zip(members: dict[str, bytes], path: Path, method: int = zipfile.ZIP_DEFLATED) -> Path:
    """Write a zip archive of named members."""
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


__all__ = [
    "AXIAL",
    "CORONAL",
    "FRAME_OF_REFERENCE",
    "SAGITTAL",
    "STIR",
    "STUDY",
    "T1",
    "T2",
    "T2_FAT_SAT",
    "DeflatedExplicitVRLittleEndian",
    "ImplicitVRLittleEndian",
    "common",
    "encode",
    "enhanced_dataset",
    "file_meta",
    "group",
    "jpeg_baseline",
    "normal",
    "pixels",
    "series_datasets",
    "set_pixels",
    "slice_dataset",
    "uid",
    "write",
    "write_zip",
]
