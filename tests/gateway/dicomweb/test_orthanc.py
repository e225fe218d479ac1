"""Studies named by reference, fetched from a real Orthanc."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pydicom
import pytest
from pydicom.filebase import DicomBytesIO
from pydicom.uid import (
    JPEG2000Lossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from tests.gateway.conftest import OpenClient, Parts
from tests.gateway.dicomweb.conftest import WriteServers
from tests.support import dicom_files
from tests.support.jobs import ended, in_state
from tests.support.orthanc import Orthanc, running_orthanc
from tests.support.truth import TruthGrader

Reference = dict[str, dict[str, str]]


@pytest.fixture(scope="module")
def orthanc() -> Iterator[Orthanc]:
    with running_orthanc(users={"discgrade": "geheimes-passwort"}) as server:
        yield server


@pytest.fixture
def servers(orthanc: Orthanc, write_servers: WriteServers, tmp_path: Path) -> Path:
    assert orthanc.auth is not None
    password = tmp_path / "password"
    password.write_text(orthanc.auth[1] + "\n")
    return write_servers(pacs={"url": orthanc.dicomweb, "user": "discgrade", "password_file": str(password)})


@pytest.fixture
def stored(orthanc: Orthanc, study: Parts, uids: tuple[str, str]) -> Reference:
    """The study at Orthanc, among objects that are not graded; the reference to it."""
    for _, (_, content) in study:
        orthanc.store(content)
    first = pydicom.dcmread(DicomBytesIO(study[0][1][1]))
    for number, (modality, description) in enumerate([("SR", "report"), ("MR", "Localizer 3-plane")]):
        first.SeriesInstanceUID = dicom_files.uid("other series", str(number))
        first.SOPInstanceUID = first.file_meta.MediaStorageSOPInstanceUID = dicom_files.uid("other", str(number))
        first.Modality, first.SeriesDescription = modality, description
        orthanc.store(dicom_files.encode(first, first.file_meta.TransferSyntaxUID))
    return {"dicomweb": {"server": "pacs", "study_uid": uids[0]}}


def comparable(result: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in result.items() if key not in {"result_id", "timings_ms"}}


async def test_a_study_by_reference_is_graded_as_one_that_was_sent(
    open_client: OpenClient, servers: Path, stored: Reference, study: Parts, uids: tuple[str, str], data_dir: Path
) -> None:
    async with open_client(dicomweb_file=servers, run_worker=True) as client:
        sent = (await client.post("/v1/grade", files=study)).json()
        answer = await client.post("/v1/grade", json=stored)
        assert answer.status_code == 201, answer.text
        assert comparable(answer.json()) == comparable(sent)
        one_series = {"dicomweb": {**stored["dicomweb"], "series_uid": uids[1]}}
        assert comparable((await client.post("/v1/grade", json=one_series)).json()) == comparable(sent)
        submitted = await client.post("/v1/jobs", json=stored)
        assert submitted.status_code == 202, submitted.text
        job = await ended(client, submitted.json()["job_id"])
        assert job["state"] == "succeeded", job
        assert comparable((await client.get(job["result_url"])).json()) == comparable(sent)
        metrics = (await client.get("/metrics")).text
    assert 'discgrade_dicomweb_fetches_total{outcome="ok",server="pacs"} 3.0' in metrics
    size = sum(len(content) for _, (_, content) in study)
    fetched = float(metrics.split('discgrade_dicomweb_bytes_total{server="pacs"} ')[1].split("\n")[0])
    assert fetched == pytest.approx(3 * size, rel=0.02)  # the localizer was left; Orthanc rewrites meta information
    assert list((data_dir / "uploads").iterdir()) == []


async def test_what_is_not_there_is_said_of_study_and_series(
    open_client: OpenClient, servers: Path, stored: Reference
) -> None:
    unknown = [{"study_uid": "1.2.3"}, {"series_uid": "1.2.3"}]
    async with open_client(dicomweb_file=servers) as client:
        for change in unknown:
            answer = await client.post("/v1/grade", json={"dicomweb": {**stored["dicomweb"], **change}})
            assert (answer.status_code, answer.json()["type"]) == (422, "urn:discgrade:problem:study-not-found")


async def test_refused_credentials_are_the_operator_s(
    open_client: OpenClient, orthanc: Orthanc, write_servers: WriteServers, stored: Reference
) -> None:
    async with open_client(dicomweb_file=write_servers(pacs={"url": orthanc.dicomweb})) as client:
        answer = await client.post("/v1/grade", json=stored)
    assert (answer.status_code, answer.json()["type"]) == (502, "urn:discgrade:problem:pacs-refused")


@pytest.mark.parametrize("syntax", [JPEGLosslessSV1, JPEGLSLossless, JPEG2000Lossless, RLELossless])
async def test_instances_come_as_they_are_stored(
    open_client: OpenClient, orthanc: Orthanc, servers: Path, study: Parts, syntax: pydicom.uid.UID
) -> None:
    study_uid = dicom_files.uid("study in", syntax)
    for _, (_, content) in study:
        dataset = pydicom.dcmread(DicomBytesIO(content))
        dataset.StudyInstanceUID = study_uid
        dataset.SeriesInstanceUID = dicom_files.uid("series in", syntax)
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = dicom_files.uid(
            "instance in", syntax, str(dataset.InstanceNumber)
        )
        orthanc.store(dicom_files.encode(dataset, syntax))
    async with open_client(dicomweb_file=servers) as client:
        sent = (await client.post("/v1/grade", files=study)).json()
        answer = await client.post("/v1/grade", json={"dicomweb": {"server": "pacs", "study_uid": study_uid}})
    assert answer.status_code == 201, answer.text
    assert answer.json()["discs"] == sent["discs"]


async def test_a_job_waits_for_a_server_that_was_killed(
    open_client: OpenClient, orthanc: Orthanc, servers: Path, stored: Reference, uids: tuple[str, str], data_dir: Path
) -> None:
    orthanc.kill()
    try:
        async with open_client(dicomweb_file=servers, run_worker=True) as client:
            at_once = await client.post("/v1/grade", json=stored)
            assert (at_once.status_code, at_once.json()["type"]) == (503, "urn:discgrade:problem:pacs-unavailable")
            assert int(at_once.headers["retry-after"]) > 0
            job_id = (await client.post("/v1/jobs", json=stored)).json()["job_id"]
            running = await in_state(client, job_id, "running", lambda job: job["progress"] is not None)
            assert running["progress"] == {"stage": "fetch", "done": 0, "of": 5}
        async with open_client(dicomweb_file=servers, run_worker=True) as client:  # the gateway is restarted, too
            await in_state(client, job_id, "running")
            with sqlite3.connect(data_dir / "jobs.sqlite") as database:
                assert not any(uid in line for line in database.iterdump() for uid in uids)
            orthanc.start()
            assert (await ended(client, job_id))["state"] == "succeeded"
    finally:
        orthanc.kill()
        orthanc.start()


async def test_a_killed_server_in_the_middle_of_a_study_costs_nothing(
    open_client: OpenClient, orthanc: Orthanc, servers: Path, stored: Reference, grader: TruthGrader
) -> None:
    async with open_client(dicomweb_file=servers, run_worker=True) as client:
        ids = [(await client.post("/v1/jobs", json=stored)).json()["job_id"] for _ in range(4)]
        await grader.started.wait()
        orthanc.kill()
        orthanc.start()
        jobs = await asyncio.gather(*(ended(client, job_id) for job_id in ids))
    assert {job["state"] for job in jobs} == {"succeeded"}


async def test_a_key_makes_a_reference_safe_to_repeat(
    open_client: OpenClient, servers: Path, stored: Reference, uids: tuple[str, str], study: Parts
) -> None:
    key = {"Idempotency-Key": "abc"}

    async def submit(client: httpx.AsyncClient, **body: Any) -> httpx.Response:
        return await client.post("/v1/jobs", headers=key, **body)

    async with open_client(dicomweb_file=servers, run_worker=True) as client:
        first = await submit(client, json=stored)
        again = await submit(client, json={"dicomweb": dict(reversed(stored["dicomweb"].items()))})
        assert first.json()["job_id"] == again.json()["job_id"]
        await ended(client, first.json()["job_id"])
        assert (await submit(client, json=stored)).json()["state"] == "succeeded"
        other = {"dicomweb": {**stored["dicomweb"], "series_uid": uids[1]}}
        for contradiction in ({"json": other}, {"files": study}):
            answer = await submit(client, **contradiction)
            assert answer.status_code == 409, answer.text


async def test_a_cancelled_job_stops_waiting(
    open_client: OpenClient, orthanc: Orthanc, servers: Path, stored: Reference, data_dir: Path
) -> None:
    orthanc.kill()
    try:
        async with open_client(dicomweb_file=servers, run_worker=True) as client:
            job_id = (await client.post("/v1/jobs", json=stored)).json()["job_id"]
            await in_state(client, job_id, "running")
            assert (await client.delete(f"/v1/jobs/{job_id}")).json()["state"] == "cancelled"
            assert list((data_dir / "uploads").iterdir()) == []
    finally:
        orthanc.start()


async def test_a_job_does_not_wait_longer_than_the_operator_says(
    open_client: OpenClient, write_servers: WriteServers
) -> None:
    nowhere = write_servers(pacs={"url": "http://127.0.0.1:9/dicom-web"})
    async with open_client(dicomweb_file=nowhere, run_worker=True, dicomweb_wait_hours=0) as client:
        body = {"dicomweb": {"server": "pacs", "study_uid": "1.2.3"}}
        job = await ended(client, (await client.post("/v1/jobs", json=body)).json()["job_id"])
    assert job["problem"]["type"] == "urn:discgrade:problem:pacs-unavailable"


async def test_what_is_fetched_is_de_identified_before_it_is_kept(
    open_client: OpenClient,
    servers: Path,
    stored: Reference,
    uids: tuple[str, str],
    data_dir: Path,
    grader: TruthGrader,
) -> None:
    grader.hold = asyncio.Event()
    async with open_client(dicomweb_file=servers, run_worker=True, deidentify="basic") as client:
        job_id = (await client.post("/v1/jobs", json=stored)).json()["job_id"]
        await grader.started.wait()
        kept = [path for path in (data_dir / "uploads").glob("*/*") if path.name != "reference.json"]
        assert len(kept) == 5
        assert not any(uid.encode() in path.read_bytes() for path in kept for uid in uids)
        grader.hold.set()
        job = await ended(client, job_id)
        result = (await client.get(job["result_url"])).json()
    assert result["input"]["chosen_series"].startswith("2.25.")
    assert result["input"]["chosen_series"] not in uids
