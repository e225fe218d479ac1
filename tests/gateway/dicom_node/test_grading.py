"""A whole node between a device, a gateway and an archive."""

from __future__ import annotations

from pathlib import Path

from pydicom import dcmread
from pydicom.uid import MRImageStorage, SegmentationStorage

from tests.support.dicom_files import AXIAL, series_datasets, write
from tests.support.node_house import House
from tests.support.pacs import association, until

NATIVE = ["1.2.840.10008.1.2.1"]
SENT = ["Comprehensive 3D SR Storage", "Segmentation Storage"]


def test_a_study_comes_back_graded(house: House, gateway: str, study_files: list[Path]) -> None:
    with house.node(gateway_url=gateway) as node:
        assert node.push(study_files) == [0x0000] * len(study_files)
        until(lambda: node.metric("revisions", state="done") == 1)
        until(lambda: node.metric("outbox", state="waiting") == 0)
        assert node.metric("graded", outcome="ok") == 1
    assert [name for name in house.classes() if name in SENT] == SENT
    source = dcmread(study_files[0])
    assert {item.StudyInstanceUID for item in house.archive.stored} == {source.StudyInstanceUID}
    assert {item.PatientID for item in house.archive.stored} == {source.PatientID}


def test_a_late_image_is_graded_with_the_others(house: House, gateway: str, study_files: list[Path]) -> None:
    with house.node(gateway_url=gateway) as node:
        node.push(study_files[:-1])
        until(lambda: node.metric("revisions", state="done") == 1)
        node.push(study_files[-1:])
        until(lambda: node.metric("revisions", state="done") == 2)
        assert node.metric("studies", event="late") == 1
        until(lambda: node.metric("outbox", state="waiting") == 0)
    segmentations = [item for item in house.archive.stored if item.SOPClassUID == SegmentationStorage]
    assert len({item.SOPInstanceUID for item in segmentations}) == 2
    frames = [item.NumberOfFrames // len(item.SegmentSequence) for item in segmentations]
    assert frames == [len(study_files) - 1, len(study_files)]


def test_a_late_image_that_changes_nothing_sends_nothing(
    house: House, gateway: str, study_files: list[Path], tmp_path: Path
) -> None:
    with house.node(gateway_url=gateway) as node:
        node.push(study_files)
        until(lambda: node.metric("revisions", state="done") == 1)
        until(lambda: node.metric("outbox", state="waiting") == 0)
        before = len(house.archive.stored)
        first = dcmread(study_files[0])
        axial = series_datasets(orientation=AXIAL, series="axial", StudyInstanceUID=first.StudyInstanceUID)
        for item in axial:
            item.PatientID, item.PatientName = first.PatientID, first.PatientName
        node.push(write(axial, tmp_path / "axial"))
        until(lambda: node.metric("revisions", state="done") == 2)
        assert node.metric("outbox") == 0
    assert len(house.archive.stored) == before


def test_what_cannot_be_graded_is_seen_and_nothing_is_sent(house: House, gateway: str, tmp_path: Path) -> None:
    with house.node(gateway_url=gateway) as node:
        node.push(write(series_datasets(orientation=AXIAL), tmp_path / "axial"))
        until(lambda: node.metric("graded", outcome="no-sagittal-series") == 1)
        assert node.metric("revisions", state="failed") == 1
        assert node.metric("outbox") == 0
    assert house.archive.stored == []


def test_a_study_of_two_patients_is_never_mixed(
    house: House, gateway: str, study_files: list[Path], tmp_path: Path
) -> None:
    foreign = series_datasets(orientation=AXIAL, StudyInstanceUID=dcmread(study_files[0]).StudyInstanceUID)
    with house.node(gateway_url=gateway) as node:
        node.push([*study_files, *write(foreign, tmp_path / "foreign")])
        until(lambda: node.metric("revisions", state="done") == node.metric("revisions", state="failed") == 1)
        until(lambda: node.metric("outbox", state="waiting") == 0)
        assert node.metric("studies", event="two-patients") == 1
        assert node.metric("graded", outcome="mixed-study") == 0
    assert {item.PatientID for item in house.archive.stored} == {dcmread(study_files[0]).PatientID}


def test_half_a_study_is_held_and_graded_with_the_rest(house: House, gateway: str, study_files: list[Path]) -> None:
    with house.node(gateway_url=gateway) as node:
        with association(node.settings.port, [(MRImageStorage, NATIVE)]) as made:
            assert made.send_c_store(study_files[0]).Status == 0x0000
            made.abort()
        until(lambda: node.metric("revisions", state="held") == 1)
        assert node.metric("studies", event="held") == 1
        assert node.metric("revisions", state="failed") == 0
        node.push(study_files)
        until(lambda: node.metric("revisions", state="done") == 1)
        assert node.metric("graded") == 1


def test_routes_decide_who_gets_what(house: House, gateway: str, study_files: list[Path]) -> None:
    away = {"kind": "stow-rs", "url": "http://127.0.0.1:9", "objects": ["report.sr.dcm"]}
    here = {"kind": "c-store", "ae_title": "ARCHIVE", "host": "127.0.0.1", "port": house.archive.port}
    here["objects"] = ["segmentation.dcm"]
    destinations = {"here": here, "away": away}
    callers = {"SCANNER": {"destinations": ["here"]}, "OTHER": {}}
    with house.node(gateway_url=gateway, destinations=destinations, callers=callers) as node:
        node.push(study_files)
        until(lambda: node.metric("deliveries", destination="here", outcome="delivered") == 1)
        assert node.metric("outbox", destination="away") == 0
    assert house.classes() == ["Segmentation Storage"]
