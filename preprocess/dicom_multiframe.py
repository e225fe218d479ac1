"""Functional groups of enhanced multi-frame objects (PS3.3 C.7.6.16)."""

from __future__ import annotations

from pydicom import Dataset

from discgrade.errors import UnreadableFile

__all__ = ["frame_sources"]


def frame_sources(dataset: Dataset, label: str) -> list[list[Dataset]]:
    """Where to look up an attribute of each frame: the frame's own groups, the shared groups, the object.

    Legacy converted objects keep what has no functional group in ``Unassigned … Converted Attributes``; these are
    groups like the others here.

    Args:
        dataset: An object with Per-Frame Functional Groups Sequence.
        label: Which file of the upload this is.

    Returns:
        For each frame, the data sets to search, first one first.

    Raises:
        UnreadableFile: The groups do not describe as many frames as the object states.
    """
    per_frame = list(dataset.PerFrameFunctionalGroupsSequence)
    if len(per_frame) != int(dataset.get("NumberOfFrames") or 1):
        raise UnreadableFile(f"The functional groups of {label} do not match its number of frames.")
    shared = list(dataset.get("SharedFunctionalGroupsSequence") or [])
    common = [*(_items(shared[0]) if shared else []), dataset]
    return [_items(groups) + common for groups in per_frame]


def _items(groups: Dataset) -> list[Dataset]:
    """The items of the groups that have exactly one; those with more (references, derivations) place no frame."""
    return [element.value[0] for element in groups if element.VR == "SQ" and len(element.value) == 1]
