"""The picture and the document as DICOM objects."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from dicom_validator.validator.dicom_info import DicomInfo
from PIL import Image
from pypdf import PdfReader

from discgrade.result import DISCLAIMER
from gateway.made import make_all
from tests.support.dicom_results import DicomResult, grade_source, parsed
from tests.support.dicom_standard import errors_of, standard

OBJECTS = ("overlay.dcm", "report.pdf.dcm")
OF_THE_STUDY = (
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyInstanceUID",
    "StudyDate",
    "StudyID",
)
Made = dict[str, bytes]


@pytest.fixture(scope="module")
def made(graded: DicomResult) -> Made:
    return make_all(graded.artefacts)


@pytest.fixture(scope="module")
def dicom_standard() -> DicomInfo:
    return standard()


def document(content: bytes) -> bytes:
    dataset = parsed(content)
    return bytes(dataset.EncapsulatedDocument[: dataset.EncapsulatedDocumentLength])


def test_the_picture_is_the_overlay(graded: DicomResult, made: Made) -> None:
    dataset = parsed(made["overlay.dcm"])
    assert (dataset.Modality, dataset.PhotometricInterpretation) == ("OT", "RGB")
    np.testing.assert_array_equal(dataset.pixel_array, np.asarray(Image.open(io.BytesIO(made["overlay.png"]))))
    assert list(dataset.PatientOrientation) == ["P", "F"]
    assert dataset.BurnedInAnnotation == "NO"
    assert dataset.ConversionType == "WSD"
    sources = {pydicom.dcmread(path, stop_before_pixels=True).SOPInstanceUID for path in graded.files}
    assert {item.ReferencedSOPInstanceUID for item in dataset.SourceImageSequence} == sources


def test_the_document_is_the_report_under_another_name(graded: DicomResult, made: Made) -> None:
    dataset = parsed(made["report.pdf.dcm"])
    assert (dataset.Modality, dataset.MIMETypeOfEncapsulatedDocument) == ("DOC", "application/pdf")
    assert dataset.BurnedInAnnotation == "NO"
    assert dataset.VerificationFlag == "UNVERIFIED"
    text, plain = (
        PdfReader(io.BytesIO(content)).pages[0].extract_text()
        for content in (document(made["report.pdf.dcm"]), made["report.pdf"])
    )
    assert graded.result.result_id in plain
    assert graded.result.result_id not in text
    assert parsed(graded.report).SOPInstanceUID in text
    assert DISCLAIMER in text
    sources = {pydicom.dcmread(path, stop_before_pixels=True).SOPInstanceUID for path in graded.files}
    assert {item.ReferencedSOPInstanceUID for item in dataset.SourceInstanceSequence} == sources


@pytest.mark.parametrize("name", OBJECTS)
def test_they_belong_to_patient_and_study(graded: DicomResult, made: Made, name: str) -> None:
    dataset, source = parsed(made[name]), pydicom.dcmread(graded.files[0], stop_before_pixels=True)
    for keyword in OF_THE_STUDY:
        assert dataset.get(keyword, "") == source.get(keyword, ""), keyword
    series = {parsed(content).SeriesInstanceUID for key, content in made.items() if key.endswith(".dcm")}
    assert len(series) == 4
    assert source.SeriesInstanceUID not in series
    assert {parsed(made[key]).SeriesNumber for key in OBJECTS} == {9003, 9004}
    assert dataset.ContentQualification == "RESEARCH"
    if graded.name == "compressed":
        assert dataset.get("LossyImageCompression") in (None, "00")


def test_loss_in_the_source_is_not_forgotten(classic: DicomResult) -> None:
    source = json.loads(classic.artefacts["source.json"])
    source["attributes"]["00282110"] = {"vr": "CS", "Value": ["01"]}
    source["attributes"]["00282112"] = {"vr": "DS", "Value": [12.5]}
    lossy = make_all({**classic.artefacts, "source.json": json.dumps(source).encode()})
    dataset = parsed(lossy["overlay.dcm"])
    assert (dataset.LossyImageCompression, dataset.LossyImageCompressionRatio) == ("01", 12.5)


def test_nothing_in_them_but_the_header_names_the_patient(made: Made, graded: DicomResult) -> None:
    source = pydicom.dcmread(graded.files[0], stop_before_pixels=True)
    words = [str(source.PatientName).split("^")[0], str(source.PatientID), source.StudyInstanceUID]
    for pdf in (made["report.pdf"], document(made["report.pdf.dcm"])):
        reader = PdfReader(io.BytesIO(pdf))
        text = reader.pages[0].extract_text() + str(reader.metadata)
        assert not [word for word in words if word and word in text]


@pytest.mark.parametrize("name", OBJECTS)
def test_dicom_validator_has_no_error(made: Made, dicom_standard: DicomInfo, name: str) -> None:
    assert errors_of(parsed(made[name]), dicom_standard) == []


@pytest.mark.parametrize("name", OBJECTS)
def test_dciodvfy_has_neither_error_nor_warning(made: Made, tmp_path: Path, name: str) -> None:
    program = shutil.which("dciodvfy")
    if program is None:
        pytest.skip("dciodvfy is not here: install Debian's dicom3tools")
    (tmp_path / name).write_bytes(made[name])
    said = subprocess.run([program, str(tmp_path / name)], capture_output=True, text=True, timeout=60).stderr
    assert said.split() == [{"overlay.dcm": "SCImage", "report.pdf.dcm": "EncapsulatedPDF"}[name]]


def test_dcmtk_takes_the_document_out(made: Made, tmp_path: Path) -> None:
    program = shutil.which("dcm2pdf")
    if program is None:
        pytest.skip("dcm2pdf is not here: install Debian's dcmtk")
    (tmp_path / "in.dcm").write_bytes(made["report.pdf.dcm"])
    subprocess.run([program, str(tmp_path / "in.dcm"), str(tmp_path / "out.pdf")], check=True, timeout=60)
    assert (tmp_path / "out.pdf").read_bytes().rstrip(b"\0") == document(made["report.pdf.dcm"])


def test_what_is_made_again_is_the_same_to_the_last_byte(
    classic: DicomResult, tmp_path_factory: pytest.TempPathFactory
) -> None:
    again = grade_source(classic.name, tmp_path_factory.mktemp("again"))
    assert again.result.result_id != classic.result.result_id
    one, other = make_all(classic.artefacts), make_all(again.artefacts)
    assert [one[name] for name in OBJECTS] == [other[name] for name in OBJECTS]


def changed(kept: Made, change: Callable[[dict[str, Any]], None]) -> Made:
    result = json.loads(kept["result.json"])
    change(result)
    return {**kept, "result.json": json.dumps(result).encode()}


CHANGES: dict[str, Callable[[dict[str, Any]], None]] = {
    "a probability": lambda result: result["discs"][0]["severity_probabilities"].update(mild=0.01),
    "a version": lambda result: result["models"][0].update(version="2"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_no_uid_is_used_for_other_content(classic: DicomResult, change: str) -> None:
    """A probability is neither in the segmentation nor in the structured report, but it is in both of these."""
    before, after = make_all(classic.artefacts), make_all(changed(classic.artefacts, CHANGES[change]))
    for name in OBJECTS:
        one, other = parsed(before[name]), parsed(after[name])
        assert before[name] != after[name]
        assert one.SOPInstanceUID != other.SOPInstanceUID
        assert one.SeriesInstanceUID != other.SeriesInstanceUID
