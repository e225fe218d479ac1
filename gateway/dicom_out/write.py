"""What all kinds of objects have in common, and their bytes."""

from __future__ import annotations

import io
import logging
from typing import TypedDict

from highdicom import ContentQualificationValues
from highdicom.base import SOPClass
from highdicom.coding_schemes import CodingSchemeIdentificationItem
from highdicom.sr import CodedConcept
from pydicom import Dataset
from pydicom.sr.coding import Code

import discgrade
from gateway.dicom_out.codes import coding_scheme
from gateway.dicom_out.content import Content
from gateway.dicom_out.source import LOSSY, attributes_of
from preprocess.source import SourceSeries

__all__ = ["MANUFACTURER", "Common", "common", "finish", "part10", "references", "software_versions"]

logging.getLogger("highdicom").setLevel(logging.CRITICAL + 1)  # it logs names that it complains about

MANUFACTURER = "discgrade"
_NO_DATE, _NO_TIME = "19000101", "000000"
_FIRST_SERIES_NUMBER = 9001
_OF_THE_SERIES = {"SeriesInstanceUID", "FrameOfReferenceUID", "PositionReferenceIndicator", *LOSSY}


class Common(TypedDict):
    """Arguments that highdicom takes for every kind of object."""

    series_instance_uid: str
    series_number: int
    sop_instance_uid: str
    instance_number: int
    series_description: str
    manufacturer: str
    manufacturer_model_name: str
    software_versions: str
    device_serial_number: str
    content_qualification: ContentQualificationValues
    coding_schemes: list[CodingSchemeIdentificationItem]
    specific_character_set: str


def software_versions(content: Content) -> list[str]:
    """Versions of discgrade and of its models."""
    models = (f"{model.name} {model.version} {model.engine}" for model in content.models)
    return [f"discgrade {discgrade.__version__}", *models]


def common(content: Content, role: str, number: int, description: str) -> Common:
    """Identification and equipment of an object.

    Args:
        content: What it says.
        role: Such as ``segmentation`` or ``report``.
        number: Of its series among ours, from 0.
        description: Of its series.
    """
    return Common(
        series_instance_uid=content.uid(f"{role} series"),
        series_number=_FIRST_SERIES_NUMBER + number,
        sop_instance_uid=content.uid(role),
        instance_number=1,
        series_description=f"{description}, research use only",
        manufacturer=MANUFACTURER,
        manufacturer_model_name="discgrade",
        software_versions=f"discgrade {discgrade.__version__}",
        device_serial_number=f"{content.models[0].name}-{content.models[0].version}",
        content_qualification=ContentQualificationValues.RESEARCH,
        coding_schemes=[coding_scheme()],
        specific_character_set="ISO_IR 192",
    )


def finish(made: SOPClass, content: Content) -> None:
    """Give an object patient and study of its source, all versions, and dates that do not depend on the clock.

    An object that is made anew has the UIDs that it had before, so it must not say another time: its content gets
    date and time of its study, and the time of its creation, which is optional, is left out.
    """
    dataset: Dataset = made
    attributes = attributes_of(content.source)
    for element in attributes:
        if element.keyword not in _OF_THE_SERIES:
            dataset.add(element)
    dataset.SoftwareVersions = software_versions(content)
    dataset.ContentDate = attributes.StudyDate or _NO_DATE
    dataset.ContentTime = attributes.StudyTime or _NO_TIME
    del dataset.InstanceCreationDate, dataset.InstanceCreationTime
    for equipment in dataset.get("ContributingEquipmentSequence", ()):  # highdicom's note of itself
        del equipment.ContributionDateTime


def part10(made: SOPClass) -> bytes:
    """The bytes of an object's file (PS3.10)."""
    file = io.BytesIO()
    made.save_as(file, enforce_file_format=True)
    return file.getvalue()


def references(source: SourceSeries, purpose: Code | None = None) -> list[Dataset]:
    """One item for each object of the series, whatever its number of frames.

    Args:
        source: The series.
        purpose: Why they are referred to, where an item says so.
    """
    items = []
    for image in {image.instance: image for image in source.images}.values():
        item = Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = image.sop_class, image.instance
        if purpose is not None:
            item.PurposeOfReferenceCodeSequence = [CodedConcept.from_code(purpose)]
        items.append(item)
    return items
