"""The codes that are used (docs/dicom.md lists them): standard ones where there are, else discgrade's own scheme."""

from __future__ import annotations

from highdicom.coding_schemes import CodingSchemeIdentificationItem
from highdicom.sr import CodedConcept
from pydicom.sr.codedict import codes
from pydicom.uid import UID

from discgrade.result import Pfirrmann, Severity
from preprocess.levels import LEVEL_NAMES

__all__ = [
    "AREA_METHOD",
    "DISC",
    "DISC_OF_LEVEL",
    "HEIGHT_METHOD",
    "LUMBAR_SPINE",
    "PFIRRMANN",
    "PFIRRMANN_GRADES",
    "QUALITATIVE_EVALUATIONS",
    "SCHEME",
    "SCHEME_UID",
    "SCHEME_VERSION",
    "SEVERITIES",
    "SEVERITY",
    "coding_scheme",
    "disc_code",
    "site_code",
]

SCHEME = "99DISCGRADE"
SCHEME_VERSION = "1"
SCHEME_UID = UID("2.25.2234797482710338996774534896870472851")


def _own(value: str, meaning: str) -> CodedConcept:
    return CodedConcept(value, SCHEME, meaning, SCHEME_VERSION)


DISC = _own("DISC", "Intervertebral disc")
"""A disc whose level is unknown: the standard has codes for discs of known levels alone."""
PFIRRMANN = _own("PFIRRMANN", "Pfirrmann grade")
PFIRRMANN_GRADES = {
    grade: _own(f"PFIRRMANN-{number}", f"Pfirrmann grade {grade.value}") for number, grade in enumerate(Pfirrmann, 1)
}
HEIGHT_METHOD = _own("MIDSAG-HEIGHT", "Mean across the disc's axis on its middle sagittal slice")
AREA_METHOD = _own("MIDSAG-AREA", "Area on the disc's middle sagittal slice")

SEVERITIES = {
    Severity.MILD: CodedConcept.from_code(codes.SCT.Mild),
    Severity.MODERATE: CodedConcept.from_code(codes.SCT.Moderate),
    Severity.SEVERE: CodedConcept.from_code(codes.SCT.Severe),
}
SEVERITY = CodedConcept("246112005", "SCT", "Severity")
LUMBAR_SPINE = CodedConcept.from_code(codes.SCT.LumbarSpine)
QUALITATIVE_EVALUATIONS = CodedConcept("C0034375", "UMLS", "Qualitative Evaluations")

DISC_OF_LEVEL = {
    level: CodedConcept.from_code(getattr(codes.cid7604, f"{level.replace('/', '')}Disc")) for level in LEVEL_NAMES
}
"""Discs of CID 7604, which are in the context groups of segmented property types (CID 7192), too."""


def disc_code(level: str) -> CodedConcept:
    """What a disc is."""
    return DISC_OF_LEVEL.get(level, DISC)


def site_code(level: str) -> CodedConcept:
    """Where a disc is, as far as that is known."""
    return DISC_OF_LEVEL.get(level, LUMBAR_SPINE)


def coding_scheme() -> CodingSchemeIdentificationItem:
    """What objects say about discgrade's own scheme (PS3.3 C.12.1.1.1)."""
    item = CodingSchemeIdentificationItem(
        designator=SCHEME,
        name="discgrade's grades and methods of measurement",
        version=SCHEME_VERSION,
        responsible_organization="discgrade",
    )
    item.CodingSchemeUID = SCHEME_UID
    return item
