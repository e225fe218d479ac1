"""The segmentation, read back with pydicom and highdicom."""

from __future__ import annotations

import io

import highdicom
import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.sr.codedict import codes
from pydicom.uid import SegmentationStorage

from gateway.dicom_out.codes import DISC
from tests.support.dicom_results import DicomResult, lps_of_nifti, lps_of_seg, parsed, same_places
from tests.support.random_series import random_result

REPEATED = (
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex"),
    *("StudyInstanceUID", "StudyDate", "StudyTime", "StudyID", "AccessionNumber", "StudyDescription"),
    *("ReferringPhysicianName", "FrameOfReferenceUID", "Rows", "Columns"),
)


def test_every_voxel_lies_where_the_label_image_has_it(graded: DicomResult) -> None:
    expected, found = lps_of_nifti(graded.artefacts["segmentation.nii.gz"]), lps_of_seg(graded.segmentation)
    assert len(found) == len(graded.result.discs) >= 5
    assert found.keys() == expected.keys()
    for segment, places in found.items():
        assert same_places(places, expected[segment]), segment


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), multiframe=st.booleans(), slices=st.integers(1, 6))
def test_so_they_do_in_any_geometry(
    seed: int, multiframe: bool, slices: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    kept, segmentation = random_result(seed, tmp_path_factory.mktemp("series"), slices=slices, multiframe=multiframe)
    expected, found = lps_of_nifti(kept["segmentation.nii.gz"]), lps_of_seg(segmentation)
    for segment, places in expected.items():
        assert same_places(places, found[segment])


def test_each_frame_lies_on_the_image_that_it_names(graded: DicomResult) -> None:
    dataset = parsed(graded.segmentation)
    positions: dict[tuple[str, int | None], list[float]] = {}
    for path in graded.files:
        source = pydicom.dcmread(path, stop_before_pixels=True)
        if "PerFrameFunctionalGroupsSequence" in source:
            for number, groups in enumerate(source.PerFrameFunctionalGroupsSequence, start=1):
                positions[source.SOPInstanceUID, number] = groups.PlanePositionSequence[0].ImagePositionPatient
        else:
            positions[source.SOPInstanceUID, None] = source.ImagePositionPatient
    slices = len(positions)
    named = []
    for groups in dataset.PerFrameFunctionalGroupsSequence:
        (item,) = groups.DerivationImageSequence[0].SourceImageSequence
        name = item.ReferencedSOPInstanceUID, item.get("ReferencedFrameNumber")
        assert groups.PlanePositionSequence[0].ImagePositionPatient == pytest.approx(positions[name])
        named.append(name)
    segments = len(graded.result.discs)
    assert dataset.NumberOfFrames == len(named) == slices * segments  # empty ones, too
    assert {name: named.count(name) for name in positions} == dict.fromkeys(positions, segments)


def test_it_belongs_to_study_and_series_of_its_source(graded: DicomResult) -> None:
    dataset = parsed(graded.segmentation)
    source = pydicom.dcmread(graded.files[0], stop_before_pixels=True)
    for keyword in REPEATED:
        assert dataset[keyword].value == source[keyword].value, keyword
    assert dataset.SeriesInstanceUID != source.SeriesInstanceUID
    assert dataset.SOPClassUID == SegmentationStorage
    (series,) = dataset.ReferencedSeriesSequence
    assert series.SeriesInstanceUID == source.SeriesInstanceUID
    assert {item.ReferencedSOPInstanceUID for item in series.ReferencedInstanceSequence} == {
        pydicom.dcmread(path, stop_before_pixels=True).SOPInstanceUID for path in graded.files
    }
    assert dataset.ContentQualification == "RESEARCH"


def test_highdicom_reads_it_as_a_volume_with_the_same_labels(graded: DicomResult) -> None:
    segmentation = highdicom.seg.segread(io.BytesIO(graded.segmentation))
    discs = {disc.label: disc for disc in graded.result.discs}
    assert list(segmentation.segment_numbers) == sorted(discs)
    for number, disc in discs.items():
        segment = segmentation.get_segment_description(number)
        assert segment.segmented_property_category == codes.cid7150.AnatomicalStructure
        assert segment.algorithm_type.value == "AUTOMATIC"
        assert segment.SegmentationAlgorithmIdentificationSequence[0].AlgorithmVersion == "1"
        if disc.level == "unknown":
            assert segment.segment_label == f"Disc {number}, level unknown"
            assert segment.tracking_id == f"disc {number}"
            assert segment.segmented_property_type == DISC
            assert segment.anatomic_regions == [codes.SCT.LumbarSpine]
        else:
            assert segment.segment_label == disc.level
            assert segment.tracking_id == f"disc {disc.level}"
            assert segment.segmented_property_type == getattr(codes.cid7604, f"{disc.level.replace('/', '')}Disc")
            assert segment.anatomic_regions == [segment.segmented_property_type]
    places = lps_of_nifti(graded.artefacts["segmentation.nii.gz"])
    if graded.name == "one-slice":
        return
    volume = segmentation.get_volume(combine_segments=True)
    for number in discs:
        index = np.argwhere(volume.array == number)
        assert same_places(volume.map_indices_to_reference(index), places[number])
