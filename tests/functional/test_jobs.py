"""Jobs with real processes, killed for real."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.embedded import EmbeddedTriton
from tests.faults.run import run
from tests.support.jobs import ended, in_state
from tests.support.postgres import Postgres, running_postgres
from tests.support.processes import Command
from training.phantom import PhantomSpec, make_phantom, write_nifti

pytestmark = pytest.mark.functional

NOWHERE = "127.0.0.1:9"


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("study") / "phantom.nii.gz"
    return write_nifti(make_phantom(PhantomSpec(slices=3, matrix=(384, 384))), path).read_bytes()


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    with running_postgres() as server:
        yield server


@asynccontextmanager
async def connected(gateway: Command) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=await asyncio.to_thread(lambda: gateway.url), timeout=60) as client:
        yield client


async def submit(client: httpx.AsyncClient, study: bytes) -> str:
    answer = await client.post("/v1/jobs", files=[("files", ("study", study))])
    assert answer.status_code == 202, answer.text
    return str(answer.json()["job_id"])


def test_what_is_accepted_is_graded_once_whatever_is_killed() -> None:
    report = run(jobs=8, kills=4, seed=1)
    assert report.failures == []
    assert report.graded == report.accepted >= 8
    assert set(report.recoveries) == {"gateway", "worker-1", "worker-2", "tritonserver"}


async def test_a_server_that_is_killed_with_all_its_parts_goes_on_where_it_was(study: bytes, tmp_path: Path) -> None:
    first = Command("serve", "--port", "0", "--data-dir", str(tmp_path))
    try:
        async with connected(first) as client:
            jobs = [await submit(client, study) for _ in range(3)]
    finally:
        first.kill()
    second = Command("serve", "--port", "0", "--data-dir", str(tmp_path))
    try:
        async with connected(second) as client:
            assert {(await ended(client, job))["state"] for job in jobs} == {"succeeded"}
    finally:
        second.kill()
    assert len(list((tmp_path / "results").iterdir())) == 3
    assert list((tmp_path / "uploads").iterdir()) == []


async def test_workers_on_one_database_inherit_from_each_other(
    triton: EmbeddedTriton, postgres: Postgres, study: bytes, tmp_path: Path
) -> None:
    settings = {"DISCGRADE_JOBS_DATABASE": postgres.url, "DISCGRADE_DATA_DIR": str(tmp_path)}
    gateway = ["serve", "--no-worker", "--port", "0", "--triton-url", NOWHERE]
    commands = [
        Command(*gateway, environment=settings),
        Command("worker", "--triton-url", NOWHERE, environment=settings),
        Command(*gateway, environment=settings),
    ]
    try:
        async with connected(commands[0]) as client, connected(commands[2]) as other:
            jobs = [await submit(client, study) for _ in range(2)]
            for job in jobs:
                await in_state(client, job, "running")
            commands[1].kill()  # and nobody starts it again
            heir = Command("worker", "--triton-url", triton.url, environment=settings)
            commands.append(heir)
            for job in jobs:
                done = await ended(other, job)
                assert done["state"] == "succeeded"
                assert (await other.get(done["result_url"])).status_code == 200
            (taken,) = heir.entries("took over the jobs of a worker that died")
            assert taken["count"] == 2

            await _without_database(client, postgres, study)
            job = await submit(client, study)
            assert (await ended(client, job))["state"] == "succeeded"
            page: dict[str, Any] = (await client.get("/v1/jobs", params={"limit": 2})).json()
            rest = (await client.get("/v1/jobs", params={"cursor": page["next_cursor"]})).json()
            assert [entry["job_id"] for entry in page["jobs"] + rest["jobs"]] == [job, *reversed(jobs)]
            assert rest["next_cursor"] is None
        assert heir.stop() == 0
    finally:
        for command in commands:
            command.kill()


async def _without_database(client: httpx.AsyncClient, postgres: Postgres, study: bytes) -> None:
    await asyncio.to_thread(postgres.stop, "immediate")
    try:
        refused = await client.post("/v1/jobs", files=[("files", ("study", study))])
    finally:
        await asyncio.to_thread(postgres.start)
    assert (refused.status_code, refused.json()["type"]) == (503, "urn:discgrade:problem:storage-unavailable")
    assert refused.headers["retry-after"]
