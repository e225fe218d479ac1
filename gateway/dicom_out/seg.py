"""The discs as a DICOM segmentation (PS3.3 A.51): a segment each, in the geometry of the graded series."""

from __future__ import annotations

from highdicom import AlgorithmIdentificationSequence
from highdicom.color import CIELabColor
from highdicom.seg import SegmentAlgorithmTypeValues, Segmentation, SegmentationTypeValues, SegmentDescription
from pydicom.sr.codedict import codes

from discgrade.result import Disc
from gateway.dicom_out.codes import disc_code, site_code
from gateway.dicom_out.content import Content
from gateway.dicom_out.source import image_behind, plane_datasets
from gateway.dicom_out.write import MANUFACTURER, common, finish, references, software_versions
from preprocess.levels import UNKNOWN
from preprocess.source import SourceSeries

__all__ = ["segmentation", "tracking_id"]

# Neighbours differ for colour-blind readers, too (Okabe and Ito, Color Universal Design, 2008).
_COLOURS = ((230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (0, 114, 178), (213, 94, 0), (204, 121, 167))


def segmentation(content: Content) -> Segmentation:
    """Make the segmentation.

    Every segment has a frame for each slice, empty ones too: viewers show a segmentation without them flipped or
    shifted. Each frame names the image it lies on, and of a multi-frame object the frame.
    """
    made = Segmentation(
        source_images=plane_datasets(content.source),
        pixel_array=content.labels,
        segmentation_type=SegmentationTypeValues.BINARY,
        segment_descriptions=[_segment(content, disc) for disc in content.discs],
        content_label="DISCS",
        content_description="Intervertebral discs, for research use only",
        omit_empty_frames=False,
        **common(content, "segmentation", 0, "discgrade discs"),
    )
    made.ContentCreatorName = None  # of type 2, so there even where there is none
    _point_at_source(made, content.source)
    dimensions = content.uid("dimensions")
    for item in (*made.DimensionOrganizationSequence, *made.DimensionIndexSequence):
        item.DimensionOrganizationUID = dimensions
    finish(made, content)
    return made


def tracking_id(disc: Disc) -> str:
    """Names a disc in the segmentation and in the report."""
    return f"disc {disc.label}" if disc.level == UNKNOWN else f"disc {disc.level}"


def _label(disc: Disc) -> str:
    return f"Disc {disc.label}, level unknown" if disc.level == UNKNOWN else disc.level


def _segment(content: Content, disc: Disc) -> SegmentDescription:
    ensemble = content.models[0]
    algorithm = AlgorithmIdentificationSequence(
        name=f"discgrade {ensemble.name}",
        family=codes.cid7162.ArtificialIntelligence,
        version=ensemble.version,
        source=MANUFACTURER,
        parameters={"software": "; ".join(software_versions(content))},
    )
    return SegmentDescription(
        segment_number=disc.label,
        segment_label=_label(disc),
        segmented_property_category=codes.cid7150.AnatomicalStructure,
        segmented_property_type=disc_code(disc.level),
        anatomic_regions=[site_code(disc.level)],
        algorithm_type=SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=algorithm,
        tracking_id=tracking_id(disc),
        tracking_uid=content.uid(f"disc {disc.label}"),
        display_color=CIELabColor.from_rgb(*_COLOURS[disc.label % len(_COLOURS)]),
    )


def _point_at_source(made: Segmentation, source: SourceSeries) -> None:
    """Replace the stand-ins of the planes by the images, and frames, that they stand for."""
    items = [
        item
        for groups in made.PerFrameFunctionalGroupsSequence
        for derivation in groups.DerivationImageSequence
        for item in derivation.SourceImageSequence
    ]
    for item in {id(item): item for item in items}.values():  # the segments' frames on one plane share its item
        image = image_behind(source, item.ReferencedSOPInstanceUID)
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = image.sop_class, image.instance
        if image.frame is not None:
            item.ReferencedFrameNumber = image.frame
    objects = references(source)
    made.SourceImageSequence = objects
    made.ReferencedSeriesSequence[0].ReferencedInstanceSequence = objects
