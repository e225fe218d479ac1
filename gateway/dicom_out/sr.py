"""The measurements and grades as a structured report: Comprehensive 3D SR, TID 1500 (PS3.16)."""

from __future__ import annotations

from highdicom.sr import (
    AlgorithmIdentification,
    Comprehensive3DSR,
    ContainerContentItem,
    ContentSequence,
    DeviceObserverIdentifyingAttributes,
    FindingSite,
    Measurement,
    MeasurementReport,
    ObservationContext,
    ObserverContext,
    QualitativeEvaluation,
    ReferencedSegment,
    RelationshipTypeValues,
    SourceSeriesForSegmentation,
    TextContentItem,
    TrackingIdentifier,
    VolumetricROIMeasurementsAndQualitativeEvaluations,
)
from pydicom import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import SegmentationStorage

import discgrade
from discgrade.result import DISCLAIMER, Disc
from gateway.dicom_out.codes import (
    AREA_METHOD,
    HEIGHT_METHOD,
    PFIRRMANN,
    PFIRRMANN_GRADES,
    QUALITATIVE_EVALUATIONS,
    SEVERITIES,
    SEVERITY,
    disc_code,
    site_code,
)
from gateway.dicom_out.content import Content
from gateway.dicom_out.seg import tracking_id
from gateway.dicom_out.source import plane_datasets
from gateway.dicom_out.write import MANUFACTURER, common, finish, software_versions

__all__ = ["report"]


def report(content: Content) -> Comprehensive3DSR:
    """Make the report: a measurement group (TID 1411) a disc, the lowest last, and the disclaimer.

    It is complete, but preliminary and verified by nobody.
    """
    context = ObservationContext(
        observer_device_context=ObserverContext(
            observer_type=codes.DCM.Device,
            observer_identifying_attributes=DeviceObserverIdentifyingAttributes(
                uid=content.device_uid(),
                name="discgrade",
                manufacturer_name=MANUFACTURER,
                model_name=f"discgrade {discgrade.__version__}",
                serial_number=f"{content.models[0].name}-{content.models[0].version}",
            ),
        )
    )
    tree = MeasurementReport(
        observation_context=context,
        procedure_reported=codes.cid100.MRIUnspecifiedBodyRegion,
        imaging_measurements=[_group(content, disc) for disc in reversed(content.discs)],
        title=codes.cid7021.ImagingMeasurementReport,
    )
    tree[0].ContentSequence.append(_comments(content))
    made = Comprehensive3DSR(
        evidence=_evidence(content), content=tree, is_complete=True, **common(content, "report", 1, "discgrade grades")
    )
    finish(made, content)
    return made


def _group(content: Content, disc: Disc) -> VolumetricROIMeasurementsAndQualitativeEvaluations:
    ensemble = content.models[0]
    return VolumetricROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(uid=content.uid(f"disc {disc.label}"), identifier=tracking_id(disc)),
        referenced_segment=ReferencedSegment(
            sop_class_uid=SegmentationStorage,
            sop_instance_uid=content.uid("segmentation"),
            segment_number=disc.label,
            source_series=SourceSeriesForSegmentation(plane_datasets(content.source)[0].SeriesInstanceUID),
        ),
        finding_category=codes.cid7150.AnatomicalStructure,
        finding_type=disc_code(disc.level),
        finding_sites=[FindingSite(site_code(disc.level))],
        algorithm_id=AlgorithmIdentification(
            name=f"discgrade {ensemble.name}",
            version=ensemble.version,
            parameters=software_versions(content),
            manufacturer=MANUFACTURER,
            family=codes.cid7162.ArtificialIntelligence,
        ),
        measurements=_measurements(disc),
        qualitative_evaluations=[
            QualitativeEvaluation(SEVERITY, SEVERITIES[disc.severity]),
            QualitativeEvaluation(PFIRRMANN, PFIRRMANN_GRADES[disc.pfirrmann]),
        ],
    )


def _measurements(disc: Disc) -> list[Measurement]:
    found = [
        Measurement(
            codes.DCM.Height, disc.height_mm, codes.UCUM.Millimeter, derivation=codes.SCT.Mean, method=HEIGHT_METHOD
        ),
        Measurement(codes.SCT.Area, disc.area_mm2, codes.UCUM.SquareMillimeter, method=AREA_METHOD),
    ]
    if disc.volume_mm3 is not None:
        found.append(Measurement(codes.SCT.Volume, disc.volume_mm3, codes.UCUM.CubicMillimeter))
    return found


def _comments(content: Content) -> ContainerContentItem:
    """The disclaimer and the warnings as text (TID 1500, rows 12 and 14)."""
    container = ContainerContentItem(QUALITATIVE_EVALUATIONS, relationship_type=RelationshipTypeValues.CONTAINS)
    texts = (DISCLAIMER, *(warning.message for warning in content.warnings))
    container.ContentSequence = ContentSequence(
        [TextContentItem(codes.DCM.Comment, text, RelationshipTypeValues.CONTAINS) for text in texts]
    )
    return container


def _evidence(content: Content) -> list[Dataset]:
    """The segmentation and the objects of the series, as far as they are referred to."""
    planes = plane_datasets(content.source)
    for plane, image in zip(planes, content.source.images, strict=True):
        plane.SOPClassUID, plane.SOPInstanceUID = image.sop_class, image.instance
    referred = Dataset()
    referred.StudyInstanceUID = planes[0].StudyInstanceUID
    referred.SeriesInstanceUID = content.uid("segmentation series")
    referred.SOPClassUID, referred.SOPInstanceUID = SegmentationStorage, content.uid("segmentation")
    return [*planes, referred]
