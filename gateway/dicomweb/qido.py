"""Which series of a study are fetched, from what QIDO-RS says of them (PS3.18, section 10.6)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter

from discgrade.dicomweb import Uid
from discgrade.errors import PacsFailed, StudyNotFound, WrongModality
from preprocess.contrast import describes, is_localizer
from preprocess.dicom_slice import Acquisition

__all__ = ["QUERY", "FoundSeries", "read_series", "wanted"]

QUERY = {
    # What Table 10.6.1-5 does not promise by itself: Body Part Examined, Protocol Name
    "includefield": "00180015,00181030",
}
_UID = TypeAdapter(Uid)
_SPACES = re.compile(r"\s+")
_LONGEST = 256


@dataclass(frozen=True)
class FoundSeries:
    """One series of the study.

    Attributes:
        uid: Series Instance UID.
        modality: Modality.
        instances: Number of Series Related Instances; None where the server does not say.
        told: What its description, protocol and body part say.
    """

    uid: str
    modality: str
    instances: int | None
    told: Acquisition


def read_series(answer: Any) -> list[FoundSeries]:
    """Read the answer to a search for series: a JSON array of data sets (PS3.18, annex F).

    Raises:
        PacsFailed: It is something else.
    """
    if not isinstance(answer, list) or not all(isinstance(one, dict) for one in answer):
        raise PacsFailed("The DICOMweb server answered the search for series with something else than their list.")
    return [_series(one) for one in answer]


def _series(found: dict[str, Any]) -> FoundSeries:
    try:
        uid = _UID.validate_python(_first(found, "0020000E"))
    except ValueError:
        raise PacsFailed("The DICOMweb server lists a series without a valid Series Instance UID.") from None
    count = str(_first(found, "00201209"))  # an IS: a number, and with some servers a string
    description = " ".join(_text(found, tag) for tag in ("0008103E", "00181030"))
    return FoundSeries(
        uid=uid,
        modality=_text(found, "00080060").upper(),
        instances=int(count) if count.isdecimal() else None,
        told=Acquisition(description=description, body_part=_text(found, "00180015")),
    )


def _first(found: dict[str, Any], tag: str) -> Any:
    element = found.get(tag)
    values = element.get("Value") if isinstance(element, dict) else None
    return values[0] if isinstance(values, list) and values else None


def _text(found: dict[str, Any], tag: str) -> str:
    value = _first(found, tag)
    return _SPACES.sub(" ", value[:_LONGEST]).strip().lower() if isinstance(value, str) else ""


def wanted(series: Sequence[FoundSeries]) -> list[FoundSeries]:
    """The series to fetch of a study of which no series was named.

    MR only, so no SEG, SR, presentation states and secondary captures. Of these, what the choice among series that were
    read (:func:`preprocess.series.choose`) never takes, whatever their headers say: localizers, diffusion, angiography
    and the like, by their description. All else is fetched, for descriptions alone do not tell T2 from T1. Where
    nothing is left, all MR is fetched, so that the sender learns what was found.

    Args:
        series: All of the study.

    Raises:
        StudyNotFound: There is none.
        WrongModality: None is MR.
    """
    if not series:
        raise StudyNotFound("The DICOMweb server knows no series of this study.")
    mr = [one for one in series if one.modality == "MR" and one.instances != 0]
    if not mr:
        raise WrongModality(f"None of the {len(series)} series of the study is MR.")
    return [one for one in mr if not _never_graded(one.told)] or mr


def _never_graded(told: Acquisition) -> bool:
    return is_localizer(told) or describes(told, "other") or describes(told, "fat image")
