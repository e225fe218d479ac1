"""What dicom-validator checks against.

It reads the standard's own documents, which it fetches from the internet. Where a machine has them (by default in
``~/dicom-validator``), they are used. Elsewhere: the standard's tables of modules and attributes that highdicom
carries as JSON. They hold everything but conditions. So what is required only under one is then not checked:
attributes of types 1C and 2C, which functional groups there are, and the items of a report's content tree, whose
attributes depend on its value type.
"""

from __future__ import annotations

import json
import logging
from importlib.resources import files
from pathlib import Path
from typing import Any

from dicom_validator.spec_reader.edition_reader import EditionReader
from dicom_validator.validator.dicom_info import DicomInfo
from dicom_validator.validator.iod_validator import IODValidator
from pydicom import Dataset
from pydicom.datadict import tag_for_keyword
from pydicom.uid import (
    UID,
    Comprehensive3DSRStorage,
    EncapsulatedPDFStorage,
    SecondaryCaptureImageStorage,
    SegmentationStorage,
)

__all__ = ["errors_of", "has_documents", "standard"]

_GROUPS = (["SharedFunctionalGroupsSequence"], ["PerFrameFunctionalGroupsSequence"])
_CLASSES = (SegmentationStorage, Comprehensive3DSRStorage, SecondaryCaptureImageStorage, EncapsulatedPDFStorage)
_REPEATED = {"overlay-plane"}  # its attributes have many tags each; nothing of ours has it
_DOCUMENTS = Path.home() / "dicom-validator"


def has_documents() -> bool:
    """Whether the standard's documents are here."""
    return any(_DOCUMENTS.glob("*/docbook/part03.xml"))


def standard() -> DicomInfo:
    """The standard's documents where they are here, else the tables."""
    if has_documents():
        return EditionReader(_DOCUMENTS).dicom_info_for_edition("local")
    return _from_tables()


def errors_of(dataset: Dataset, info: DicomInfo) -> list[str]:
    """What dicom-validator finds wrong, a line each."""
    result = IODValidator(dataset, info, log_level=logging.CRITICAL + 1).validate()
    found = [
        f"{module}: {tag} {error.code}"
        for module, errors in result.module_errors.items()
        for tag, error in errors.items()
    ]
    return found or [f"status {result.status}"] * bool(result.errors)


def _from_tables() -> DicomInfo:
    tables = {
        name: json.loads((files("highdicom._standard") / f"{name}.json").read_text())
        for name in ("sop_class_iod_map", "iod_module_map", "module_attribute_map")
    }
    iods: dict[str, dict[str, Any]] = {}
    modules: dict[str, dict[str, Any]] = {}
    for uid in _CLASSES:
        rows = tables["iod_module_map"][tables["sop_class_iod_map"][uid]]
        used = {row["key"]: {"ref": row["key"], "use": row["usage"]} for row in rows if row["key"] not in _REPEATED}
        iods[uid] = {"title": UID(uid).name, "modules": used, "group_macros": {}}
        modules |= {key: _module(tables["module_attribute_map"][key]) for key in used}
    modules["sr-document-content"] = {tag: {"type": "3"} for tag in modules["sr-document-content"]}
    return DicomInfo({}, iods, modules)


def _module(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Attributes by tag, with those of a sequence's items below it."""
    module: dict[str, Any] = {}
    for row in sorted(rows, key=lambda row: len(row["path"])):
        level = module
        for keyword in row["path"]:
            level = level.setdefault(_tag(keyword), {"type": "3"}).setdefault("items", {})
        optional = row["path"][-1:] in _GROUPS
        level.setdefault(_tag(row["keyword"]), {"type": "3" if optional else row["type"]})
    return module


def _tag(keyword: str) -> str:
    tag = tag_for_keyword(keyword)
    assert tag is not None, keyword
    return f"({tag >> 16:04X},{tag & 0xFFFF:04X})"
