"""The same content has the same UIDs and bytes, other content has others."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from typing import Any

import pytest

from gateway.dicom_out import build_dicom
from tests.support.dicom_results import DicomResult, grade_source, parsed

Kept = dict[str, bytes]


def uids_of(made: dict[str, bytes]) -> set[str]:
    """Every UID that we made; those of the source and of the standard have other roots."""
    found = set()
    for content in made.values():
        for element in parsed(content).iterall():
            if element.VR == "UI":
                found |= {str(uid) for uid in ([element.value] if element.VM == 1 else element.value or [])}
    return {uid for uid in found if uid.startswith("2.25.")}


def test_what_is_made_again_is_the_same_to_the_last_byte(
    graded: DicomResult, tmp_path_factory: pytest.TempPathFactory
) -> None:
    again = grade_source(graded.name, tmp_path_factory.mktemp("again"))
    assert again.result.result_id != graded.result.result_id
    assert again.segmentation == graded.segmentation
    assert again.report == graded.report


def in_result(change: Callable[[dict[str, Any]], None]) -> Callable[[Kept], Kept]:
    def changed(kept: Kept) -> Kept:
        result = json.loads(kept["result.json"])
        change(result)
        return {**kept, "result.json": json.dumps(result).encode()}

    return changed


def in_source(change: Callable[[dict[str, Any]], None]) -> Callable[[Kept], Kept]:
    def changed(kept: Kept) -> Kept:
        source = json.loads(kept["source.json"])
        change(source)
        return {**kept, "source.json": json.dumps(source).encode()}

    return changed


def another_voxel(kept: Kept) -> Kept:
    image = bytearray(gzip.decompress(kept["segmentation.nii.gz"]))
    image[-1] = 1
    return {**kept, "segmentation.nii.gz": gzip.compress(bytes(image))}


CHANGES: dict[str, Callable[[Kept], Kept]] = {
    "a voxel": another_voxel,
    "a grade": in_result(lambda result: result["discs"][0].update(pfirrmann="II", severity="mild")),
    "a level": in_result(lambda result: result["discs"][0].update(level="unknown")),
    "a measure": in_result(lambda result: result["discs"][0].update(height_mm=1.23)),
    "a model": in_result(lambda result: result["models"][0].update(version="2")),
    "a warning": in_result(lambda result: result["warnings"].append({"code": "x", "message": "Another."})),
    "an image": in_source(lambda source: source["images"][0].update(instance="1.2.3.4.5")),
    "a place": in_source(lambda source: source["images"][0].update(position=[1.0, 2.0, 3.0])),
    "the patient": in_source(lambda source: source["attributes"]["00100020"].update(Value=["OTHER"])),
}


@pytest.mark.parametrize("change", CHANGES)
def test_no_uid_is_used_for_other_content(classic: DicomResult, change: str) -> None:
    before = {"seg": classic.segmentation, "sr": classic.report}
    after = build_dicom(CHANGES[change](classic.artefacts))
    assert all(one != other for one, other in zip(before.values(), after.values(), strict=True))
    assert len(uids_of(before)) > 10
    scheme = {item.CodingSchemeUID for item in parsed(classic.report).CodingSchemeIdentificationSequence}
    device = {str(element.value) for element in parsed(classic.report).iterall() if element.keyword == "UID"}
    assert uids_of(before) & uids_of(after) <= scheme | device
    tracked = {segment.TrackingUID for segment in parsed(classic.segmentation).SegmentSequence}
    assert not tracked & uids_of(after)


def test_what_is_not_said_does_not_matter(classic: DicomResult) -> None:
    changed = in_result(lambda result: result.update(result_id="f" * 32, timings_ms={}))(classic.artefacts)
    assert build_dicom(changed) == {"segmentation.dcm": classic.segmentation, "report.sr.dcm": classic.report}
