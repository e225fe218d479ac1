"""What becomes of an attribute: Table E.1-1 of PS3.15, and stricter rules for what is not in it."""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum

from dicomanonymizer.dicom_anonymization_databases import dicomfields_2026c as table
from pydicom.datadict import dictionary_has_tag, dictionary_keyword
from pydicom.tag import BaseTag, Tag
from pydicom.uid import UID

from gateway.deidentify.options import DESCRIPTORS, NO_EVENTS, RETAINED, Option

__all__ = ["EDITION", "Action", "Profile", "is_registered", "table_tags"]

EDITION = "2026c"
"""Edition of the standard that the table is of; data of the package dicom-anonymizer, made from the standard's text."""

_DATES = frozenset({"DA", "DT", "TM"})
_UNSAFE = frozenset({"AE", "AS", "LT", "PN", "ST", "UC", "UN", "UR", "UT"})
"""Value representations of names and free text: attributes that the table does not know are removed if of these."""
_PSEUDONYMS = frozenset({Tag("PatientID"), Tag("PatientName")})
_CLASS_UIDS = ("SOPClassUID", "TransferSyntaxUID")


class Action(Enum):
    """What to do with an attribute (PS3.15, Table E.1-1a)."""

    KEEP = "K"
    """Sequences are kept with their items, whose attributes are looked at in turn."""
    REMOVE = "X"
    EMPTY = "Z"
    DUMMY = "D"
    UID = "U"
    PSEUDONYM = "D, the same for the same patient"
    SHIFT = "C of a date"
    CLEAN = "C of a descriptor"


_OF_TABLE = {
    "X_TAGS": Action.REMOVE,
    "Z_TAGS": Action.EMPTY,
    "D_TAGS": Action.DUMMY,
    "U_TAGS": Action.UID,
    # Of two or three, the one that conforms whatever the attribute's type in its module is
    "X_Z_TAGS": Action.EMPTY,
    "Z_D_TAGS": Action.DUMMY,
    "X_D_TAGS": Action.DUMMY,
    "X_Z_D_TAGS": Action.DUMMY,
    "X_Z_U_STAR_TAGS": Action.KEEP,  # sequences, whose UIDs are replaced
}


def _table() -> Iterator[tuple[int, Action]]:
    for name, action in _OF_TABLE.items():
        for tag in getattr(table, name):
            if len(tag) == 2:  # curves and overlays are given with masks; all of their groups goes
                yield Tag(tag), action


_ACTIONS = dict(_table())


def table_tags() -> frozenset[int]:
    """Every attribute of the table; curves and overlays, which repeat, are none of them."""
    return frozenset(_ACTIONS)


def is_registered(uid: str) -> bool:
    """Whether a UID is one of the standard's (PS3.6, annex A), and so names no instance."""
    return UID(uid).name != uid


class Profile:
    """The basic profile with options.

    Args:
        options: Those chosen.
    """

    def __init__(self, options: frozenset[Option]) -> None:
        self.options = options
        self._retained = frozenset[int]().union(*(RETAINED.get(option, frozenset()) for option in options))

    def action(self, tag: BaseTag, vr: str) -> Action:
        """What becomes of an attribute, at any depth.

        Args:
            tag: Its tag.
            vr: Its value representation by the data dictionary, or else as it says itself.
        """
        if tag.is_private or tag.element == 0 or tag.group == 4 or tag.group >> 8 in (0x50, 0x60):
            # Private attributes, group lengths, directories with their file names, curves, overlays
            return Action.REMOVE
        if not dictionary_has_tag(tag):
            return Action.REMOVE
        if tag in _PSEUDONYMS:
            return Action.PSEUDONYM
        if tag in self._retained:
            return Action.KEEP
        if tag in DESCRIPTORS and Option.CLEAN_DESCRIPTORS in self.options:
            return Action.CLEAN
        if vr in _DATES and tag not in NO_EVENTS:
            if Option.RETAIN_DATES in self.options:
                return Action.KEEP
            if Option.SHIFT_DATES in self.options:
                return Action.KEEP if vr == "TM" else Action.SHIFT
        action = _ACTIONS.get(tag)
        if action is None:
            action = self._unlisted(tag, vr)
        if action is Action.UID and Option.RETAIN_UIDS in self.options:
            return Action.KEEP
        return action

    @staticmethod
    def _unlisted(tag: BaseTag, vr: str) -> Action:
        if vr == "UI" and not dictionary_keyword(tag).endswith(_CLASS_UIDS):
            return Action.UID  # those registered stay
        return Action.REMOVE if vr in _UNSAFE | _DATES else Action.KEEP
