"""The graded series as it is kept with a result, and as the data sets that highdicom builds upon."""

from __future__ import annotations

import re

from pydantic import TypeAdapter
from pydicom import DataElement, Dataset
from pydicom.config import IGNORE, RAISE
from pydicom.datadict import dictionary_VM
from pydicom.uid import MRImageStorage
from pydicom.valuerep import DSfloat, validate_value

from discgrade.errors import NotFound
from preprocess.source import SourceImage, SourceSeries

__all__ = ["LOSSY", "attributes_of", "check_uids", "image_behind", "pack_source", "plane_datasets", "unpack_source"]

_ADAPTER = TypeAdapter(SourceSeries)
_UIDS = ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID")
_TYPE_2 = (
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyDate",
    "StudyTime",
    "ReferringPhysicianName",
    "StudyID",
    "AccessionNumber",
)
LOSSY = ("LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod")
"""What a segmentation says about the compression of the images it was made of."""

_BLANKED_WHERE_INVALID = ("DA", "TM", "CS", "DS")
# Zeros in front of a component are not valid (PS3.5 9.1), but there are scanners that write them.
_USABLE_UID = re.compile(r"[0-9]+(\.[0-9]+)+")
_PLACEHOLDER = "2.25."


def pack_source(source: SourceSeries) -> bytes:
    """The series as JSON."""
    return _ADAPTER.dump_json(source)


def unpack_source(packed: bytes) -> SourceSeries:
    """The series that :func:`pack_source` packed."""
    return _ADAPTER.validate_json(packed)


def attributes_of(source: SourceSeries) -> Dataset:
    """Attributes of patient, study, frame of reference and compression, as the series has them.

    Dates, times and codes that are not valid in DICOM say nothing, and are emptied. Names and identifiers stay as
    they are, because that is how an archive knows the patient. Those of type 2 are there even where they are empty.
    """
    found = Dataset()
    for element in Dataset.from_json(source.attributes):
        value = None if element.VR in _BLANKED_WHERE_INVALID and not _is_valid(element) else element.value
        found.add(DataElement(element.tag, element.VR, value, validation_mode=IGNORE))
    for keyword in _TYPE_2:
        if keyword not in found:
            setattr(found, keyword, None)
    return found


def _is_valid(element: DataElement) -> bool:
    if element.VM > 1 and dictionary_VM(element.tag) == "1":
        return False
    try:
        for value in element.value if element.VM > 1 else [element.value]:
            validate_value(element.VR, str(value), RAISE)  # numbers are checked as they are written
    except ValueError:
        return False
    return True


def check_uids(source: SourceSeries) -> None:
    """Look whether an object can refer to the series and its images.

    Raises:
        NotFound: A UID is missing, or is none.
    """
    attributes = attributes_of(source)
    uids = [str(attributes.get(keyword, "")) for keyword in _UIDS]
    for image in source.images:
        uids += image.sop_class, image.instance
    if not all(_USABLE_UID.fullmatch(uid) and len(uid) <= 64 for uid in uids):
        raise NotFound(
            "The objects that were sent lack UIDs of study, series, frame of reference or image, "
            "so that no other object can refer to them.",
            "Grade the series as the scanner made it; segmentation.nii.gz and the result as JSON are there.",
        )


def plane_datasets(source: SourceSeries) -> list[Dataset]:
    """One classic MR object a slice, without patient and pixels, whatever the series was made of.

    highdicom takes classic objects, or a single multi-frame one whose frames are all used in their order. A graded
    stack may be some frames of one, or frames of several. So highdicom gets each plane as an object of its own, under
    a UID that :func:`image_behind` resolves.
    """
    attributes = attributes_of(source)
    planes = []
    for number, image in enumerate(source.images):
        plane = Dataset()
        for keyword in _TYPE_2:
            setattr(plane, keyword, None)  # highdicom would check and log them; they are filled in afterwards
        for keyword in _UIDS:
            setattr(plane, keyword, attributes[keyword].value)
        plane.PositionReferenceIndicator = attributes.get("PositionReferenceIndicator")
        for keyword in LOSSY:
            if keyword in attributes:
                plane.add(attributes[keyword])
        plane.SOPClassUID, plane.SOPInstanceUID = MRImageStorage, f"{_PLACEHOLDER}{number + 1}"
        plane.Modality = "MR"
        plane.Rows, plane.Columns = source.rows, source.columns
        plane.ImageOrientationPatient = _decimals(source.orientation)
        plane.ImagePositionPatient = _decimals(image.position)
        plane.PixelSpacing = _decimals(source.spacing)
        plane.SpacingBetweenSlices = _decimals([source.between])[0]
        plane.SliceThickness = _decimals([source.thickness or source.between])[0]
        planes.append(plane)
    return planes


def _decimals(values: tuple[float, ...] | list[float]) -> list[DSfloat]:
    return [DSfloat(value, auto_format=True) for value in values]


def image_behind(source: SourceSeries, uid: str) -> SourceImage:
    """The image that a UID of :func:`plane_datasets` stands for."""
    return source.images[int(uid.removeprefix(_PLACEHOLDER)) - 1]
