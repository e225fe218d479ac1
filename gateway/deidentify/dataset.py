"""Applies a profile to a data set, at every depth."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta

from pydicom import Dataset
from pydicom.datadict import dictionary_has_tag, dictionary_VR
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence
from pydicom.tag import BaseTag

from gateway.deidentify.keyed import Keyed
from gateway.deidentify.options import Option
from gateway.deidentify.profile import Action, Profile, is_registered
from gateway.deidentify.words import clean

__all__ = ["DUMMY", "deidentify"]

DUMMY = "DEIDENTIFIED"
_DUMMIES: dict[str, object] = {
    "AS": "000Y",
    "DA": "19000101",
    "DS": "0",
    "DT": "19000101000000",
    "IS": "0",
    "TM": "000000",
    "UR": "urn:deidentified",
    **dict.fromkeys(("FD", "FL"), 0.0),
    **dict.fromkeys(("SL", "SS", "SV", "UL", "US", "UV"), 0),
    **dict.fromkeys(("OB", "OD", "OF", "OL", "OV", "OW", "UN"), b"\0" * 8),
}
_PROFILE_CODE = ("113100", "Basic Application Confidentiality Profile")

Learn = Callable[[str, str, str], None]
"""Told of each pseudonym: what it stands for, the original, the pseudonym."""


def deidentify(dataset: Dataset, profile: Profile, keyed: Keyed, learn: Learn) -> None:
    """De-identify a data set in place, and say in it what was done (PS3.15, section E.1.1).

    Args:
        dataset: The attributes before the pixels.
        profile: What becomes of each.
        keyed: Makes pseudonyms.
        learn: Told of those of the patient, the study, the series and the instance.

    Raises:
        Exception: Almost any, where a sequence is damaged.
    """
    patient = str(dataset.get("PatientID") or "").strip() or str(dataset.get("StudyInstanceUID") or "")
    work = _Work(profile, keyed, keyed.shift_days(patient.casefold()), learn)
    work.walk(dataset)
    dataset.PatientIdentityRemoved = "YES"
    dataset.DeidentificationMethod = "discgrade"
    options = sorted(profile.options)
    dataset.DeidentificationMethodCodeSequence = Sequence(
        _code(*code) for code in (_PROFILE_CODE, *(option.code for option in options))
    )
    modified = {Option.RETAIN_DATES: "UNMODIFIED", Option.SHIFT_DATES: "MODIFIED"}
    dataset.LongitudinalTemporalInformationModified = next(
        (modified[option] for option in options if option in modified), "REMOVED"
    )


def _code(value: str, meaning: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, "DCM", meaning
    return item


class _Work:
    """One data set's."""

    def __init__(self, profile: Profile, keyed: Keyed, shift_days: int, learn: Learn) -> None:
        self._profile = profile
        self._keyed = keyed
        self._shift = timedelta(days=shift_days)
        self._learn = learn

    def walk(self, dataset: Dataset) -> None:
        for tag in list(dataset.keys()):
            known, told = _representations(dataset, tag)
            if (known == "SQ") != (told == "SQ") and told is not None:
                del dataset[tag]  # one says a sequence, the other a value
                continue
            action = self._profile.action(tag, known or told or "UN")
            if action is Action.REMOVE:
                del dataset[tag]
            elif known == "SQ":
                self._sequence(dataset, tag, action)
            elif action is not Action.KEEP:
                self._change(dataset, tag, action)

    def _sequence(self, dataset: Dataset, tag: BaseTag, action: Action) -> None:
        if action is Action.KEEP:
            for item in dataset[tag].value:
                self.walk(item)
        else:
            dataset[tag] = DataElement(tag, "SQ", Sequence([Dataset()] if action is Action.DUMMY else []))

    def _change(self, dataset: Dataset, tag: BaseTag, action: Action) -> None:
        try:
            element = dataset[tag]
        except Exception:  # what cannot be read cannot be replaced either
            del dataset[tag]
            return
        vr = element.VR
        values = element.value if isinstance(element.value, MultiValue) else [element.value]
        texts = ["" if value is None else str(value).strip(" \0") for value in values]
        new: object = None
        if action is Action.UID:
            new = [self._uid(element.keyword, text) for text in texts if text]
        elif action is Action.PSEUDONYM:
            new = self._pseudonym(dataset, element.keyword)
        elif action is Action.SHIFT:
            new = [shifted for text in texts if (shifted := self._shifted(text))]
        elif action is Action.CLEAN:
            new = [cleaned for text in texts if (cleaned := clean(text))]
        elif action is Action.DUMMY:
            new = _DUMMIES.get(vr, DUMMY) if vr != "UI" else self._uid(element.keyword, texts[0] if texts else "")
        dataset[tag] = DataElement(tag, vr, new if new != [] else None)

    def _uid(self, keyword: str, original: str) -> str:
        if is_registered(original):
            return original
        pseudonym = self._keyed.uid(original)
        if keyword in {"StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"}:
            self._learn(keyword, original, pseudonym)
        return pseudonym

    def _pseudonym(self, dataset: Dataset, keyword: str) -> str | None:
        original = str(dataset[keyword].value or "")
        compared = _compared(original)
        if not compared:
            return None
        pseudonym = self._keyed.name(keyword, compared)
        self._learn(keyword, original, pseudonym)
        return pseudonym

    def _shifted(self, text: str) -> str | None:
        """A date, or date and time, moved by whole days; None where it is neither."""
        try:
            day = date(int(text[:4]), int(text[4:6]), int(text[6:8])) + self._shift
        except (ValueError, OverflowError):
            return None
        return f"{day:%Y%m%d}".rjust(8, "0") + text[8:]


def _representations(dataset: Dataset, tag: BaseTag) -> tuple[str | None, str | None]:
    """An attribute's value representation by the data dictionary, and as it says itself; None where unknown."""
    known = dictionary_VR(tag).split(" or ")[0] if dictionary_has_tag(tag) else None
    element: DataElement | RawDataElement = dataset.get_item(tag)
    told = element.VR
    return known, None if told in (None, "UN") else told


def _compared(original: str) -> str:
    """A name or identifier as the readers compare it (:func:`preprocess.dicom_header.patient_of`)."""
    alphabetic = original.partition("=")[0].strip(" \0")
    return "^".join(part.strip().casefold() for part in alphabetic.split("^")).rstrip("^")
