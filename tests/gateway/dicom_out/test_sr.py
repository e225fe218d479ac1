"""The report, read back with highdicom."""

from __future__ import annotations

import io

import highdicom
import pydicom
from highdicom.sr import CodedConcept, MeasurementReport, VolumetricROIMeasurementsAndQualitativeEvaluations
from pydicom.sr.codedict import codes
from pydicom.uid import Comprehensive3DSRStorage, SegmentationStorage

from discgrade.result import DISCLAIMER, Disc, Pfirrmann, Severity
from gateway.dicom_out.codes import PFIRRMANN, SCHEME, SCHEME_VERSION
from tests.support.dicom_results import DicomResult, parsed

Group = VolumetricROIMeasurementsAndQualitativeEvaluations

SEVERITY = {
    Severity.MILD: codes.SCT.Mild,
    Severity.MODERATE: codes.SCT.Moderate,
    Severity.SEVERE: codes.SCT.Severe,
}


def groups_of(graded: DicomResult) -> list[tuple[Disc, Group]]:
    """Each disc with its measurement group, from top to bottom."""
    report = highdicom.sr.srread(io.BytesIO(graded.report))
    assert isinstance(report.content, MeasurementReport)
    groups = report.content.get_volumetric_roi_measurement_groups()
    return list(zip(graded.result.discs, groups, strict=True))


def test_each_disc_has_what_was_measured(graded: DicomResult) -> None:
    for disc, group in groups_of(graded):
        measured = {found.name: (found.value, found.unit) for found in group.get_measurements()}
        expected = {
            codes.DCM.Height: (disc.height_mm, codes.UCUM.Millimeter),
            codes.SCT.Area: (disc.area_mm2, codes.UCUM.SquareMillimeter),
        }
        if disc.volume_mm3 is not None:
            expected[codes.SCT.Volume] = (disc.volume_mm3, codes.UCUM.CubicMillimeter)
        assert measured == expected
    without_volume = {disc.volume_mm3 is None for disc in graded.result.discs}
    assert without_volume == {graded.name == "one-slice"}


def test_each_disc_has_its_grades(graded: DicomResult) -> None:
    for disc, group in groups_of(graded):
        evaluations = group.get_qualitative_evaluations()
        found = {item.name: CodedConcept.from_dataset(item[0].ConceptCodeSequence[0]) for item in evaluations}
        assert found[codes.SCT.Severity] == SEVERITY[disc.severity]
        grade = found[PFIRRMANN]
        number = list(Pfirrmann).index(disc.pfirrmann) + 1
        assert (grade.value, grade.scheme_designator) == (f"PFIRRMANN-{number}", SCHEME)
        assert grade.scheme_version == SCHEME_VERSION
        assert grade.meaning == f"Pfirrmann grade {disc.pfirrmann.value}"


def test_each_disc_is_the_one_of_its_segment(graded: DicomResult) -> None:
    segmentation = parsed(graded.segmentation)
    segments = {segment.SegmentNumber: segment for segment in segmentation.SegmentSequence}
    for disc, group in groups_of(graded):
        segment = segments[disc.label]
        assert (group.tracking_uid, group.tracking_identifier) == (segment.TrackingUID, segment.TrackingID)
        assert group.finding_type == segment.SegmentedPropertyTypeCodeSequence[0]
        assert [site.value for site in group.finding_sites] == [segment.AnatomicRegionSequence[0]]
        assert not group.finding_sites[0].laterality
        reference = group.referenced_segment
        assert reference is not None
        assert reference.referenced_sop_instance_uid == segmentation.SOPInstanceUID
        assert reference.referenced_sop_class_uid == SegmentationStorage
        assert reference.referenced_segment_numbers == [disc.label]
        source = pydicom.dcmread(graded.files[0], stop_before_pixels=True)
        assert reference.source_series_for_segmentation is not None
        assert reference.source_series_for_segmentation.value == source.SeriesInstanceUID


def test_it_says_who_made_it_and_that_it_is_for_research_alone(graded: DicomResult) -> None:
    dataset = parsed(graded.report)
    assert dataset.SOPClassUID == Comprehensive3DSRStorage
    assert dataset.ContentTemplateSequence[0].TemplateIdentifier == "1500"
    flags = dataset.CompletionFlag, dataset.PreliminaryFlag, dataset.VerificationFlag
    assert flags == ("COMPLETE", "PRELIMINARY", "UNVERIFIED")
    assert dataset.ContentQualification == "RESEARCH"
    texts = [element.value for element in dataset.iterall() if element.keyword == "TextValue"]
    assert DISCLAIMER in texts
    assert {warning.message for warning in graded.result.warnings} <= set(texts)
    for model in graded.result.models:
        assert f"{model.name} {model.version} {model.engine}" in texts
    (scheme,) = dataset.CodingSchemeIdentificationSequence
    assert (scheme.CodingSchemeDesignator, scheme.CodingSchemeVersion) == (SCHEME, SCHEME_VERSION)


def test_all_that_it_stands_on_is_listed_as_evidence(graded: DicomResult) -> None:
    dataset = parsed(graded.report)
    (study,) = dataset.CurrentRequestedProcedureEvidenceSequence
    found = {
        (series.SeriesInstanceUID, item.ReferencedSOPInstanceUID)
        for series in study.ReferencedSeriesSequence
        for item in series.ReferencedSOPSequence
    }
    objects = [pydicom.dcmread(path, stop_before_pixels=True) for path in graded.files] + [parsed(graded.segmentation)]
    assert found == {(each.SeriesInstanceUID, each.SOPInstanceUID) for each in objects}
    assert {each.StudyInstanceUID for each in objects} == {study.StudyInstanceUID}
