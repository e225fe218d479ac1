"""Jobs through the whole app, with a worker in this process and a database of its own."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from discgrade.errors import InferenceUnavailable, NoDiscsFound
from gateway.door import Scope
from gateway.door.keys import KeyFile
from tests.gateway.conftest import OpenClient, Parts
from tests.support.jobs import ended, in_state
from tests.support.truth import TruthGrader


@pytest.fixture
async def client(open_client: OpenClient) -> AsyncIterator[httpx.AsyncClient]:
    async with open_client(run_worker=True) as opened:
        yield opened


def kept_uploads(data_dir: Path) -> list[Path]:
    return list((data_dir / "uploads").iterdir())


async def submit(client: httpx.AsyncClient, study: Parts, **headers: str) -> dict[str, Any]:
    answer = await client.post("/v1/jobs", files=study, headers=headers)
    assert answer.status_code == 202, answer.text
    job: dict[str, Any] = answer.json()
    assert answer.headers["location"] == f"/v1/jobs/{job['job_id']}"
    return job


async def test_a_job_is_graded_like_a_request(client: httpx.AsyncClient, study: Parts, data_dir: Path) -> None:
    at_once = (await client.post("/v1/grade", files=study)).json()
    job = await ended(client, (await submit(client, study))["job_id"])
    assert job["state"] == "succeeded"
    assert job["problem"] is None
    assert job["created_at"] <= job["started_at"] <= job["ended_at"]
    result = (await client.get(job["result_url"])).json()
    assert result["result_id"] == job["result_id"]
    assert result["discs"] == at_once["discs"]
    assert (await client.get(f"{job['result_url']}/segmentation.nii.gz")).status_code == 200
    assert kept_uploads(data_dir) == []


async def test_a_study_that_cannot_be_graded_fails_for_good(
    client: httpx.AsyncClient, study: Parts, grader: TruthGrader, data_dir: Path
) -> None:
    grader.error = NoDiscsFound("No lumbar spine is seen.")
    job = await ended(client, (await submit(client, study))["job_id"])
    assert job["state"] == "failed"
    assert job["result_id"] is None
    assert job["problem"] == grader.error.problem()
    assert kept_uploads(data_dir) == []


async def test_what_is_no_study_fails_with_the_reader_s_problem(client: httpx.AsyncClient) -> None:
    job = await ended(client, (await submit(client, [("files", ("a", b"no image"))]))["job_id"])
    assert job["problem"]["type"] == "urn:discgrade:problem:unsupported-format"


async def test_a_server_that_comes_back_is_waited_for(
    client: httpx.AsyncClient, study: Parts, grader: TruthGrader
) -> None:
    grader.error = InferenceUnavailable("It is being restarted.")
    job = await submit(client, study)
    await grader.started.wait()
    grader.error = None
    assert (await ended(client, job["job_id"]))["state"] == "succeeded"


async def test_attempts_are_bounded(open_client: OpenClient, study: Parts, grader: TruthGrader) -> None:
    grader.error = InferenceUnavailable("It never comes back.")
    async with open_client(run_worker=True, job_attempts=2) as client:
        job = await ended(client, (await submit(client, study))["job_id"])
    assert job["state"] == "failed"
    assert job["problem"] == grader.error.problem()


async def test_a_key_makes_the_request_safe_to_repeat(client: httpx.AsyncClient, study: Parts, data_dir: Path) -> None:
    first = await submit(client, study, **{"Idempotency-Key": "abc"})
    again = await submit(client, study, **{"Idempotency-Key": "abc"})
    other = await submit(client, study, **{"Idempotency-Key": "abd"})
    assert first["job_id"] == again["job_id"] != other["job_id"]
    for job in (first, other):
        await ended(client, job["job_id"])
    late = await submit(client, study, **{"Idempotency-Key": "abc"})
    assert late["state"] == "succeeded"
    assert len((await client.get("/v1/jobs")).json()["jobs"]) == 2
    assert kept_uploads(data_dir) == []


async def test_one_of_many_repetitions_at_once_makes_the_job(
    open_client: OpenClient, study: Parts, data_dir: Path
) -> None:
    async with open_client() as client:  # nothing takes the job from the queue
        jobs = await asyncio.gather(*(submit(client, study, **{"Idempotency-Key": "abc"}) for _ in range(5)))
        assert len({job["job_id"] for job in jobs}) == 1
        assert len(kept_uploads(data_dir)) == 1


async def test_a_key_for_another_study_is_a_conflict(client: httpx.AsyncClient, study: Parts) -> None:
    await submit(client, study, **{"Idempotency-Key": "abc"})
    answer = await client.post("/v1/jobs", files=study[:-1], headers={"Idempotency-Key": "abc"})
    assert (answer.status_code, answer.json()["type"]) == (409, "urn:discgrade:problem:conflict")


@pytest.mark.parametrize("key", ["", "a" * 256, "with space", "tab\t"])
async def test_a_malformed_key_is_refused(client: httpx.AsyncClient, study: Parts, key: str) -> None:
    answer = await client.post("/v1/jobs", files=study, headers={"Idempotency-Key": key})
    assert answer.status_code == 400


async def test_a_waiting_job_is_cancelled(open_client: OpenClient, study: Parts, data_dir: Path) -> None:
    async with open_client() as client:
        job = await submit(client, study)
        assert job["state"] == "queued"
        answer = await client.delete(f"/v1/jobs/{job['job_id']}")
        assert (answer.status_code, answer.json()["state"]) == (200, "cancelled")
        again = await client.delete(f"/v1/jobs/{job['job_id']}")
        assert (again.status_code, again.json()["state"]) == (200, "cancelled")
        assert kept_uploads(data_dir) == []


async def test_a_running_job_is_cancelled_in_triton_too(
    client: httpx.AsyncClient, study: Parts, grader: TruthGrader, data_dir: Path
) -> None:
    grader.hold = asyncio.Event()
    job = await submit(client, study)
    await grader.started.wait()
    running = await in_state(client, job["job_id"], "running", lambda job: job["progress"] is not None)
    assert running["progress"] == {"stage": "inference", "done": 2, "of": 4}
    assert (await client.delete(f"/v1/jobs/{job['job_id']}")).json()["state"] == "cancelled"
    async with asyncio.timeout(20):
        while not grader.cancelled:
            await asyncio.sleep(0.05)
    assert kept_uploads(data_dir) == []
    assert list((data_dir / "results").iterdir()) == []


async def test_a_job_that_ended_is_not_cancelled(client: httpx.AsyncClient, study: Parts) -> None:
    job = await ended(client, (await submit(client, study))["job_id"])
    answer = await client.delete(f"/v1/jobs/{job['job_id']}")
    assert (answer.status_code, answer.json()["type"]) == (409, "urn:discgrade:problem:conflict")
    assert (await client.get(job["result_url"])).status_code == 200


@pytest.mark.parametrize("method", ["GET", "DELETE"])
async def test_an_unknown_job_is_not_found(client: httpx.AsyncClient, method: str) -> None:
    assert (await client.request(method, f"/v1/jobs/{'0' * 32}")).status_code == 404


async def test_pages_hold_each_job_once_the_newest_first(open_client: OpenClient) -> None:
    async with open_client() as client:
        submitted = [(await submit(client, [("files", ("a", bytes([n])))]))["job_id"] for n in range(1, 8)]
        await client.delete(f"/v1/jobs/{submitted[3]}")
        listed: list[dict[str, Any]] = []
        query: dict[str, str | int] = {"limit": 2}
        pages = 0
        while True:
            page = (await client.get("/v1/jobs", params=query)).json()
            listed += page["jobs"]
            pages += 1
            if page["next_cursor"] is None:
                break
            query["cursor"] = page["next_cursor"]
        assert pages == 4
        assert sorted(job["job_id"] for job in listed) == sorted(submitted)
        created = [job["created_at"] for job in listed]
        assert created == sorted(created, reverse=True)
        cancelled = (await client.get("/v1/jobs", params={"state": "cancelled"})).json()
        assert [job["job_id"] for job in cancelled["jobs"]] == [submitted[3]]
        assert (await client.get("/v1/jobs", params={"state": "running"})).json() == {"jobs": [], "next_cursor": None}


@pytest.mark.parametrize(
    "query", [{"cursor": "x"}, {"cursor": "?"}, {"cursor": "/" * 11}, {"state": "lost"}, {"limit": "0"}]
)
async def test_a_malformed_query_is_refused(client: httpx.AsyncClient, query: dict[str, str]) -> None:
    assert (await client.get("/v1/jobs", params=query)).status_code == 400


async def test_a_full_queue_takes_repetitions_only(open_client: OpenClient, study: Parts) -> None:
    async with open_client(max_queued_jobs=1) as client:
        await submit(client, study, **{"Idempotency-Key": "abc"})
        refused = await client.post("/v1/jobs", files=study, headers={"Idempotency-Key": "abd"})
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "30")
        await submit(client, study, **{"Idempotency-Key": "abc"})


async def test_a_job_outlives_the_process(open_client: OpenClient, study: Parts) -> None:
    async with open_client() as client:
        job = await submit(client, study)
    async with open_client(run_worker=True) as client:
        assert (await ended(client, job["job_id"]))["state"] == "succeeded"


async def test_a_stopping_worker_leaves_what_takes_too_long_to_the_next(
    open_client: OpenClient, study: Parts, grader: TruthGrader
) -> None:
    grader.hold = asyncio.Event()
    async with open_client(run_worker=True, shutdown_seconds=0) as client:
        job = await submit(client, study)
        await grader.started.wait()
    assert grader.cancelled
    grader.hold = None
    async with open_client(run_worker=True) as client:
        assert (await ended(client, job["job_id"]))["state"] == "succeeded"


async def test_a_job_belongs_to_whoever_submitted_it(open_client: OpenClient, study: Parts, data_dir: Path) -> None:
    keys = KeyFile(data_dir / "keys.json")

    def bearer(name: str, *scopes: Scope) -> dict[str, str]:
        return {"Authorization": f"Bearer {keys.create(name, frozenset(scopes))}"}

    ward, clinic = bearer("ward", Scope.JOBS), bearer("clinic", Scope.JOBS)
    operator, viewer = bearer("operator", Scope.JOBS, Scope.ADMIN), bearer("viewer", Scope.READ)
    async with open_client(door="on") as client:
        job = await submit(client, study, **ward, **{"Idempotency-Key": "abc"})
        other = await submit(client, study[:-1], **clinic, **{"Idempotency-Key": "abc"})  # keys are each caller's own
        address = f"/v1/jobs/{job['job_id']}"
        for caller, status, listed in ((ward, 200, {job["job_id"]}), (clinic, 404, {other["job_id"]})):
            assert (await client.get(address, headers=caller)).status_code == status
            page = (await client.get("/v1/jobs", headers=caller)).json()
            assert {entry["job_id"] for entry in page["jobs"]} == listed
        assert (await client.delete(address, headers=clinic)).status_code == 404
        assert (await client.get(address, headers=viewer)).status_code == 403
        assert (await client.delete(address, headers=operator)).json()["state"] == "cancelled"
        assert len((await client.get("/v1/jobs", headers=operator)).json()["jobs"]) == 2
        assert (await client.delete(f"/v1/results/{'0' * 32}", headers=ward)).status_code == 403
    lines = [json.loads(line) for line in (data_dir / "audit" / "log.jsonl").read_bytes().splitlines()]
    assert {(line["who"], line["action"]) for line in lines if line.get("job") == job["job_id"]} >= {
        ("key:ward", "submit job"),
        ("key:operator", "cancel job"),
    }


@pytest.mark.parametrize("patience", [60.0, 0.3], ids=["until they are done", "for a while"])
async def test_jobs_give_way_to_senders_who_wait(
    open_client: OpenClient, study: Parts, grader: TruthGrader, monkeypatch: pytest.MonkeyPatch, patience: float
) -> None:
    monkeypatch.setattr("gateway.jobs.worker._GIVE_WAY_SECONDS", patience)
    async with open_client(run_worker=True, admission_ahead_seconds=1e-6) as client:
        for _ in range(2):  # it is known now how fast slices leave
            assert (await client.post("/v1/grade", files=study)).status_code == 201
        grader.hold, grader.started = asyncio.Event(), asyncio.Event()
        sender = asyncio.create_task(client.post("/v1/grade", files=study))
        await grader.started.wait()
        grader.started = asyncio.Event()
        job = await submit(client, study)
        if patience < 1:
            await asyncio.wait_for(grader.started.wait(), 60)
            assert not sender.done()
        else:
            await in_state(client, job["job_id"], "running")
            await asyncio.sleep(1.0)
            assert not grader.started.is_set()
        grader.hold.set()
        assert (await sender).status_code == 201
        assert (await ended(client, job["job_id"]))["state"] == "succeeded"
