"""The overlay as a secondary capture (PS3.3 A.8.1): for archives and viewers that show no segmentations."""

from __future__ import annotations

import hashlib
import io

import numpy as np
from highdicom import PhotometricInterpretationValues
from highdicom.enum import CoordinateSystemNames
from highdicom.sc import ConversionTypeValues, SCImage
from highdicom.sr import CodedConcept
from PIL import Image
from pydicom.sr.codedict import codes

from gateway.dicom_out.content import Content
from gateway.dicom_out.source import LOSSY, attributes_of
from gateway.dicom_out.write import common, finish, references

__all__ = ["secondary_capture"]


def secondary_capture(content: Content, overlay: bytes) -> SCImage:
    """Make the secondary capture.

    Its pixels are those of the overlay, which names nobody. Its UID follows from them, too: the same discs drawn by
    another version are another image.

    Args:
        content: Of the result.
        overlay: The overlay as PNG.
    """
    pixels = np.asarray(Image.open(io.BytesIO(overlay)).convert("RGB"))
    drawn = hashlib.sha256(pixels.tobytes()).hexdigest()
    made = SCImage(
        pixel_array=pixels,
        photometric_interpretation=PhotometricInterpretationValues.RGB,
        bits_allocated=8,
        coordinate_system=CoordinateSystemNames.PATIENT,
        patient_orientation=("P", "F"),
        study_instance_uid=attributes_of(content.source).StudyInstanceUID,
        **common(content, f"overlay {drawn}", 2, "discgrade overlay"),
    )
    finish(made, content)
    del made.DateOfSecondaryCapture, made.TimeOfSecondaryCapture  # optional, and of the clock
    del made.CodingSchemeIdentificationSequence  # it has no code of ours
    for element in attributes_of(content.source):
        if element.keyword in LOSSY:
            made.add(element)
    made.BodyPartExamined = "LSPINE"
    made.ConversionType = ConversionTypeValues.WSD.value
    made.BurnedInAnnotation = "NO"
    made.RecognizableVisualFeatures = "NO"
    made.DerivationDescription = "Intervertebral discs outlined, named and graded, for research use only"
    made.DerivationCodeSequence = [CodedConcept.from_code(codes.cid7203.SegmentationImageDerivation)]
    made.SourceImageSequence = references(content.source, codes.cid7202.SourceImageForImageProcessingOperation)
    return made
