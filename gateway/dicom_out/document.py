"""The report as an encapsulated PDF (PS3.3 A.45.1)."""

from __future__ import annotations

import hashlib

from highdicom.base import SOPClass
from highdicom.sc import ConversionTypeValues
from highdicom.sr import CodedConcept
from pydicom.sr.codedict import codes
from pydicom.uid import EncapsulatedPDFStorage, ExplicitVRLittleEndian

from gateway.dicom_out.content import Content
from gateway.dicom_out.source import attributes_of
from gateway.dicom_out.write import common, finish, references

__all__ = ["encapsulated_pdf"]


def encapsulated_pdf(content: Content, pdf: bytes, title: str) -> SOPClass:
    """Make the encapsulated PDF.

    The document itself names nobody: its patient is in the object's header, where an archive corrects it, if need be.
    The object's UID follows from the document, too.

    Args:
        content: Of the result.
        pdf: The document.
        title: Its title.
    """
    role = f"document {hashlib.sha256(pdf).hexdigest()}"
    made = SOPClass(
        study_instance_uid=attributes_of(content.source).StudyInstanceUID,
        sop_class_uid=EncapsulatedPDFStorage,
        transfer_syntax_uid=ExplicitVRLittleEndian,
        modality="DOC",
        **common(content, role, 3, "discgrade report"),
    )
    finish(made, content)
    del made.CodingSchemeIdentificationSequence  # it has no code of ours
    made.ConversionType = ConversionTypeValues.WSD.value
    made.AcquisitionDateTime = None
    made.BurnedInAnnotation = "NO"
    made.RecognizableVisualFeatures = "NO"
    made.DocumentTitle = title
    made.ConceptNameCodeSequence = [CodedConcept.from_code(codes.DCM.ImagingMeasurementReport)]
    made.VerificationFlag = "UNVERIFIED"
    made.SourceInstanceSequence = references(content.source)
    made.MIMETypeOfEncapsulatedDocument = "application/pdf"
    made.EncapsulatedDocumentLength = len(pdf)
    made.EncapsulatedDocument = pdf + b"\0" * (len(pdf) % 2)
    return made
