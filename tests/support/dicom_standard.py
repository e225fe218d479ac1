"""What dicom-validator checks against.

It reads the standard's own documents, which it fetches from the internet. Where a machine has them (by default in
``~/dicom-validator``), they are used. Elsewhere: the standard's tables as the package dicom-standard carries them, of
the edition of early 2020, with their conditions, which dicom-validator's own parser reads. What these lack are lists
of enumerated values, and which of the macros of a content item its value type asks for (PS3.3 C.17.3.2).
"""

from __future__ import annotations

import html
import json
import logging
import re
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.metadata import files
from pathlib import Path
from typing import Any

from dicom_validator.spec_reader.condition_parser import ConditionParser
from dicom_validator.spec_reader.edition_reader import EditionReader
from dicom_validator.validator.dicom_info import DicomInfo
from dicom_validator.validator.iod_validator import IODValidator
from pydicom import Dataset
from pydicom._dicom_dict import DicomDictionary
from pydicom.uid import (
    Comprehensive3DSRStorage,
    EncapsulatedPDFStorage,
    SecondaryCaptureImageStorage,
    SegmentationStorage,
)

__all__ = ["errors_of", "has_documents", "standard"]

_CLASSES = (SegmentationStorage, Comprehensive3DSRStorage, SecondaryCaptureImageStorage, EncapsulatedPDFStorage)
_REPEATED = {"overlay-plane"}  # its attributes have many tags each; nothing of ours has it
_DOCUMENTS = Path.home() / "dicom-validator"
_CONTENT = "(0040,A730)"
_VALUE_TYPE = "(0040,A040)"
_MACRO_OF_VALUE = {
    "NUM": "numeric-measurement",
    "CODE": "code",
    "COMPOSITE": "composite-object-reference",
    "IMAGE": "image-reference",
    "WAVEFORM": "waveform-reference",
    "SCOORD": "spatial-coordinates",
    "SCOORD3D": "3d-spatial-coordinates",
    "TCOORD": "temporal-coordinates",
    "CONTAINER": "container",
}
Row = dict[str, Any]
Module = dict[str, Any]


def has_documents() -> bool:
    """Whether the standard's documents are here."""
    return any(_DOCUMENTS.glob("*/docbook/part03.xml"))


@cache
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
    names = {_tag(f"{tag:08X}"): {"name": entry[2], "vr": entry[0]} for tag, entry in DicomDictionary.items()}
    conditions = _Conditions(names)
    iod_of = {row["id"]: row["ciod"] for row in _table("sops")}
    key_of = {row["name"]: row["id"] for row in _table("ciods")}
    attributes, macros = (_grouped(_table(f"{kind}_to_attributes"), f"{kind}Id") for kind in ("module", "macro"))
    iods: dict[str, dict[str, Any]] = {}
    modules: dict[str, Module] = {}
    for uid in _CLASSES:
        title = iod_of[uid]
        uses = [list(_uses(key_of[title], kind, conditions)) for kind in ("module", "macro")]
        iods[uid] = {"title": title, "modules": dict(uses[0]), "group_macros": dict(uses[1])}
        for used, rows in zip(uses, (attributes, macros), strict=True):
            modules |= {key: _module(rows[key], conditions) for key, _ in used}
    for groups in ("(5200,9229)", "(5200,9230)"):
        modules["multi-frame-functional-groups"][groups]["items"] = {"include": [{"ref": "FuncGroup"}]}
    modules |= {key: _module(macros[key], conditions) for key in _MACRO_OF_VALUE.values()}
    modules["sr-document-content"] = _content(modules)
    return DicomInfo(names, iods, modules)


def _table(name: str) -> list[Row]:
    (path,) = [path for path in files("dicom-standard") or () if path.parts[-2:] == ("standard", f"{name}.json")]
    rows: list[Row] = json.loads(Path(str(path.locate())).read_text())
    return rows


class _Conditions:
    """Conditions as dicom-validator keeps them, from the sentences that say them."""

    def __init__(self, names: dict[str, dict[str, str]]) -> None:
        self._parser = ConditionParser(names)

    def of(self, text: str) -> Module:
        """The condition as an entry of a description; none where the text has none."""
        condition = self._parser.parse(text)
        return {} if condition.type == "U" else {"cond": json.loads(json.dumps(condition.result_dict()))}


def _grouped(rows: Iterable[Row], key: str) -> dict[str, list[Row]]:
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row[key], []).append(row)
    return groups


def _uses(iod: str, kind: str, conditions: _Conditions) -> Iterator[tuple[str, Module]]:
    """Modules, or macros of functional groups, of an IOD, with whether they must be there."""
    for row in _table(f"ciod_to_{'modules' if kind == 'module' else 'fg_macros'}"):
        key = row[f"{kind}Id"]
        if row["ciodId"] == iod and key not in _REPEATED:
            yield key, {"ref": key, "use": row["usage"], **conditions.of(row["conditionalStatement"] or "")}


def _module(rows: Iterable[Row], conditions: _Conditions) -> Module:
    """Attributes by tag, with those of a sequence's items below it."""
    module: Module = {}
    for row in sorted(rows, key=lambda row: row["path"].count(":")):
        level = module
        *above, last = row["path"].split(":")[1:]
        for tag in above:
            level = level[_tag(tag)].setdefault("items", {})
        said = re.sub(r"<[^>]+>", " ", row["description"])
        attribute = {"type": row["type"]}
        if row["type"] in ("1C", "2C", "3"):
            attribute |= conditions.of(re.sub(r"\s+", " ", html.unescape(said)).strip())
        level.setdefault(_tag(last), attribute)
    return module


def _content(modules: dict[str, Module]) -> Module:
    """The content tree: items within items, each with the macro of its value type and without the others."""
    document = modules["sr-document-content"]
    of_values = {tag for macro in _MACRO_OF_VALUE.values() for tag in modules[macro]}
    node = {tag: attribute for tag, attribute in document.items() if tag not in of_values}
    is_type = {"type": "MN", "op": "=", "tag": _VALUE_TYPE, "index": 0}
    node["include"] = [
        {"ref": macro, "cond": {**is_type, "values": [value]}} for value, macro in _MACRO_OF_VALUE.items()
    ]
    own = {tag: attribute for tag, attribute in document[_CONTENT]["items"].items() if tag not in of_values}
    item = own | node
    item[_CONTENT] = node[_CONTENT] = {"type": "1C", "items": item}
    return node


def _tag(digits: str) -> str:
    return f"({digits[:4].upper()},{digits[4:].upper()})"
