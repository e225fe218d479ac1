"""Nothing that says who a patient is survives the door: not in what is kept, not in answers, not in logs."""

from __future__ import annotations

import gzip
import io
import json
import re
import sqlite3
import zipfile
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pydicom
import pytest
from pydicom import Dataset
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import DataElement
from pydicom.filebase import DicomBytesIO
from pydicom.sequence import Sequence
from pydicom.tag import BaseTag, Tag
from pydicom.uid import UID

from gateway.deidentify.profile import table_tags
from preprocess.quiet import quiet
from tests.gateway.conftest import OpenClient, Parts
from tests.gateway.grpc_app import batch_requests, grade_requests, serving_grpc
from tests.support import dicom_files
from tests.support.jobs import ended
from tests.support.studies import write_study
from tests.support.truth import TruthGrader
from training.phantom import Phantom

MARK = "QXZ"
"""In every value that must not survive; no word of ours has it."""
_DIGITS = "9871"
"""Likewise in what is made of digits: dates, numbers, UIDs."""


def marked(tag: BaseTag, vr: str) -> object:
    """A value for an attribute that can be found again; None where its representation holds no text."""
    mark = f"{MARK}{int(tag) % 10_000}"
    values: dict[str, object] = {
        "AE": mark,
        "AS": "098Y",
        "CS": mark,
        "DA": f"{_DIGITS}0203",
        "DS": f"{_DIGITS}.5",
        "DT": f"{_DIGITS}0203040506",
        "IS": f"{_DIGITS}",
        "PN": f"{mark}^{MARK}=={MARK}",
        "TM": "030405.987123",
        "UI": f"1.2.{_DIGITS}.{int(tag)}",
        "UR": f"https://{mark}",
        **dict.fromkeys(("OB", "OW", "UN"), f"{mark}{MARK}{MARK}"[:16].encode()),
        **dict.fromkeys(("LO", "LT", "SH", "ST", "UC", "UT"), mark),
        **dict.fromkeys(("FD", "FL"), 9871.5),
        **dict.fromkeys(("SL", "SS", "UL", "US"), 9871),
    }
    return values[vr]


def fill(dataset: Dataset, depth: int) -> None:
    """Set every attribute of the profile's table that is not set, and private ones; in sequences again, so deep."""
    for number in sorted(table_tags()):
        tag = Tag(number)
        try:
            vr = dictionary_VR(tag).split(" or ")[0]
        except KeyError:
            vr = "LO"  # newer than pydicom's dictionary
        if tag in dataset or tag.group in (0x0000, 0x0002, 0xFFFA, 0xFFFC):
            continue
        if vr == "SQ":
            item = Dataset()
            item.PatientName = item.ReasonForVisit = f"{MARK}nested"
            dataset[tag] = DataElement(tag, "SQ", Sequence([item]))
        else:
            dataset[tag] = DataElement(tag, vr, marked(tag, vr))
    block = dataset.private_block(0x0099, f"{MARK} PRIVATE", create=True)
    block.add_new(1, "LO", f"{MARK}private")
    inner = Dataset()
    inner.PatientComments = f"{MARK}private"
    block.add_new(2, "SQ", Sequence([inner]))
    for group in (0x5000, 0x6000, 0x6002):
        dataset[Tag(group, 0x3000)] = DataElement(Tag(group, 0x3000), "OW", MARK.encode() * 2)
        dataset[Tag(group, 0x0022)] = DataElement(Tag(group, 0x0022), "LO", f"{MARK}overlay")
        dataset[Tag(group, 0x4000)] = DataElement(Tag(group, 0x4000), "LT", f"{MARK}comment")
    for keyword in ("ReasonForVisit", "SelectorSTValue", "NameOfPhysiciansReadingStudy", "InstanceCoercionDateTime"):
        setattr(dataset, keyword, "98710203" if keyword.endswith("Time") else f"{MARK}other")
    if depth:  # sequences that stay, and whose items speak again
        for keyword in ("ReferencedImageSequence", "DerivationImageSequence", "VOILUTSequence"):
            item = Dataset()
            fill(item, depth - 1)
            setattr(dataset, keyword, [item])


def filled(content: bytes) -> bytes:
    """A DICOM file with marks wherever they can be, and nothing changed of how it is graded."""
    dataset = pydicom.dcmread(DicomBytesIO(content))
    for keyword in ("PatientName", "PatientID", "PatientBirthDate", "StudyDate", "AccessionNumber"):
        if keyword in dataset:
            del dataset[keyword]
    with quiet():
        fill(dataset, 2)
        dataset.SeriesDescription = f"t2_tse_sag {MARK} lumbar"
        dataset.PatientBirthDate = f"{_DIGITS}0203"
        for number in table_tags() - set(dataset.file_meta.keys()):
            if (tag := Tag(number)).group == 2:
                vr = dictionary_VR(tag)
                dataset.file_meta[tag] = DataElement(tag, vr, marked(tag, vr))
        dataset.file_meta.PrivateInformationCreatorUID = UID(f"1.2.{_DIGITS}.1")
        dataset.file_meta.PrivateInformation = MARK.encode() * 2
        dataset.preamble = (MARK * 50).encode()[:128]
        signature = Dataset()
        signature.CertificateOfSigner = MARK.encode() * 2
        dataset.add(DataElement(0xFFFAFFFA, "SQ", Sequence([signature])))
        dataset.add(DataElement(0xFFFCFFFC, "OB", MARK.encode() * 4))
        missing = table_tags() - set(dataset.keys()) - set(dataset.file_meta.keys())
        assert {Tag(tag).group for tag in missing} <= {0x0000}  # of messages, not of objects
        stream = io.BytesIO()
        dataset.save_as(stream, enforce_file_format=False)
        return stream.getvalue()


# Four digits alone are also met by chance, in pseudonyms, times and probabilities.
FOUND = re.compile(rb"QXZ|Q\0X\0Z|98710203|1\.2\.9871\.|(?<![0-9a-z.])9871(?![0-9a-z])", re.IGNORECASE)


def betrayed(content: bytes) -> list[bytes]:
    """What of the patient is in some bytes, or in what they unpack to."""
    if content.startswith(b"\x1f\x8b"):
        content += gzip.decompress(content)
    return [match[0] for match in FOUND.finditer(content)]


@pytest.fixture(scope="module")
def told(study_files: list[bytes]) -> Parts:
    """The phantom's study full of marks, under names that are marks."""
    return [("files", (f"{MARK}/{number}", filled(content))) for number, content in enumerate(study_files)]


@pytest.fixture(scope="module")
def study_files(phantom: Phantom, tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    return [path.read_bytes() for path in write_study(phantom, tmp_path_factory.mktemp("study"), "dicom")]


def zipped(parts: Parts) -> Parts:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for _, (name, content) in parts:
            archive.writestr(name, content)
    return [("files", ("a.zip", stream.getvalue()))]


def kept(data_dir: Path) -> dict[str, bytes]:
    """Every file of the data folder, but the key; of the database, what it says."""
    files = {str(path.relative_to(data_dir)): path.read_bytes() for path in data_dir.rglob("*") if path.is_file()}
    if (data_dir / "jobs.sqlite").exists():
        with closing(sqlite3.connect(data_dir / "jobs.sqlite")) as database:
            files["jobs.sqlite"] = "\n".join(database.iterdump()).encode()
    return {name: content for name, content in files.items() if not name.startswith(("audit/key", "deidentify/key"))}


async def outcome_of(client: httpx.AsyncClient, parts: Parts, way: str) -> dict[str, Any]:
    if way == "job":
        submitted = await client.post("/v1/jobs", files=parts)
        assert submitted.status_code == 202, submitted.text
        job = await ended(client, submitted.json()["job_id"])
        assert job["state"] == "succeeded", job
        answer = await client.get(job["result_url"])
    else:
        answer = await client.post("/v1/grade", files=zipped(parts) if way == "zip" else parts)
        assert answer.status_code == 201, answer.text
    result: dict[str, Any] = answer.json()
    return result


def graded(result: dict[str, Any]) -> dict[str, Any]:
    """A result without its names."""
    told_input = {key: value for key, value in result["input"].items() if key != "chosen_series"}
    return {"discs": result["discs"], "warnings": result["warnings"], "input": told_input}


@pytest.mark.parametrize("way", ["files", "zip", "job"])
async def test_no_mark_survives_and_the_grades_are_the_same(
    open_client: OpenClient, told: Parts, data_dir: Path, logged: list[dict[str, Any]], way: str
) -> None:
    assert all(len(betrayed(content)) > 1000 for _, (_, content) in told)
    async with open_client() as client:
        plain = await outcome_of(client, told, "files")
        assert (await client.delete(f"/v1/results/{plain['result_id']}")).status_code == 204
    async with open_client(deidentify="basic", run_worker=way == "job") as client:
        result = await outcome_of(client, told, way)
        assert graded(result) == graded(plain)
        path = f"/v1/results/{result['result_id']}"
        objects = ("segmentation.dcm", "report.sr.dcm", "overlay.dcm", "report.pdf.dcm")
        names = (*objects, "segmentation.nii.gz", "overlay.png")
        files = {name: (await client.get(f"{path}/{name}")).content for name in names}
        found = {name: betrayed(content) for name, content in {**kept(data_dir), **files}.items()}
        assert not any(found.values()), found
        assert betrayed(json.dumps([result, logged]).encode()) == []
        for name in objects:
            dataset = pydicom.dcmread(DicomBytesIO(files[name]))
            assert dataset.PatientIdentityRemoved == "YES"
            assert [code.CodeValue for code in dataset.DeidentificationMethodCodeSequence] == ["113100", "113105"]
            assert re.fullmatch("[0-9A-F]{20}", str(dataset.PatientName))
            assert str(dataset.StudyInstanceUID).startswith("2.25.")


async def test_a_job_that_waits_is_kept_without_marks(open_client: OpenClient, told: Parts, data_dir: Path) -> None:
    async with open_client(deidentify="basic") as client:  # nothing takes it from the queue
        first = await client.post("/v1/jobs", files=told, headers={"Idempotency-Key": "abc"})
        again = await client.post("/v1/jobs", files=zipped(told), headers={"Idempotency-Key": "abc"})
        assert first.json()["job_id"] == again.json()["job_id"]
        found = {name: betrayed(content) for name, content in kept(data_dir).items()}
    assert len(found) > len(told)
    assert not any(found.values()), found


async def test_what_cannot_be_read_is_refused_before_a_job_is_made(open_client: OpenClient, data_dir: Path) -> None:
    damaged = [("files", ("a", b"PK\x03\x04" + MARK.encode() * 100))]
    async with open_client(deidentify="basic") as client:
        answer = await client.post("/v1/jobs", files=damaged)
        assert (answer.status_code, answer.json()["type"]) == (422, "urn:discgrade:problem:unreadable-file")
        assert (await client.get("/v1/jobs")).json()["jobs"] == []
    assert not any(betrayed(content) for content in kept(data_dir).values())


async def test_burnt_in_text_is_refused(open_client: OpenClient, study_files: list[bytes]) -> None:
    parts = []
    for content in study_files:
        dataset = pydicom.dcmread(DicomBytesIO(content))
        dataset.BurnedInAnnotation = "YES"
        parts.append(("files", ("a", dicom_files.encode(dataset, dataset.file_meta.TransferSyntaxUID))))
    async with open_client(deidentify="basic") as client:
        answer = await client.post("/v1/grade", files=parts)
    assert (answer.status_code, answer.json()["type"]) == (422, "urn:discgrade:problem:identity-in-pixels")


async def test_two_patients_are_still_told_apart(open_client: OpenClient, study_files: list[bytes]) -> None:
    other = pydicom.dcmread(DicomBytesIO(study_files[-1]))
    other.PatientBirthDate = "19330303"
    contents = [*study_files[:-1], dicom_files.encode(other, other.file_meta.TransferSyntaxUID)]
    first = pydicom.dcmread(DicomBytesIO(study_files[0]))
    first.PatientBirthDate = "19320202"
    contents[0] = dicom_files.encode(first, first.file_meta.TransferSyntaxUID)
    async with open_client(deidentify="basic") as client:
        answer = await client.post("/v1/grade", files=[("files", ("a", content)) for content in contents])
    assert (answer.status_code, answer.json()["type"]) == (422, "urn:discgrade:problem:mixed-study")


async def test_grpc_passes_the_same_door(grader: TruthGrader, told: Parts, data_dir: Path) -> None:
    contents = [content for _, (_, content) in told]
    async with serving_grpc(grader, data_dir, deidentify="basic") as server:
        one = await server.stub.Grade(iter(grade_requests(contents)))
        [many] = [answer async for answer in server.stub.GradeBatch(iter(batch_requests("a", contents)))]
    assert one.result.input.chosen_series == many.result.input.chosen_series
    assert one.result.input.chosen_series.startswith("2.25.")
    found = {name: betrayed(content) for name, content in kept(data_dir).items()}
    assert not any(found.values()), found
