"""What keeps the house of jobs in order: cursors, locks of workers, the sweep, and what is never written down."""

from __future__ import annotations

import asyncio
import math
import os
import sqlite3
import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from discgrade.errors import StorageUnavailable
from gateway.app import Services, create_app
from gateway.jobs import cursor
from gateway.jobs.liveness import FileLocks
from gateway.jobs.worker import Worker
from gateway.jobs.workflows import MAX_BEGINNINGS
from gateway.settings import Settings
from tests.gateway.conftest import OpenClient, Parts
from tests.support.jobs import ended
from tests.support.studies import PATIENT_WORDS
from tests.support.truth import TruthGrader

ROOT = Path(__file__).parents[2]


@dataclass
class Row:
    workflow_id: str
    created_at: int | None


def time_of(row: Row) -> int:
    assert row.created_at is not None
    return row.created_at


def read_all(rows: list[Row], size: int) -> list[Row]:
    """Page through rows as a database would give them."""
    shown: list[Row] = []
    after: str | None = None
    while True:
        position = cursor.parse(after)
        end = position.milliseconds or math.inf
        newest = sorted((row for row in rows if time_of(row) <= end), key=time_of, reverse=True)
        fresh = position.skip(newest[: size + 1 + len(position.seen)])
        shown += fresh[:size]
        if len(fresh) <= size:
            return shown
        after = position.next(fresh[:size])


@pytest.mark.parametrize("ticks", [1, 3, 40])
@pytest.mark.parametrize("size", [1, 2, 7])
def test_every_row_is_shown_once_however_many_have_one_time(ticks: int, size: int) -> None:
    rows = [Row(f"{number:032x}"[::-1], 1_700_000_000_000 + number % ticks) for number in range(40)]
    shown = read_all(rows, size)
    assert sorted(row.workflow_id for row in shown) == sorted(row.workflow_id for row in rows)
    assert [time_of(row) for row in shown] == sorted(map(time_of, rows), reverse=True)


def test_a_cursor_s_time_survives_its_text() -> None:
    for milliseconds in range(1_700_000_000_000, 1_700_000_001_000):
        position = cursor.parse(cursor.Cursor().next([Row("0" * 32, milliseconds)]))
        assert position.milliseconds == milliseconds
        assert position.end_time is not None
        # As dbos reads it.
        assert int(datetime.fromisoformat(position.end_time).timestamp() * 1000) == milliseconds


def test_a_worker_is_dead_once_its_process_is(tmp_path: Path) -> None:
    locks = FileLocks(tmp_path, "me")
    locks.hold()
    code = (
        "import sys, pathlib\n"
        "from gateway.jobs.liveness import FileLocks\n"
        "FileLocks(pathlib.Path(sys.argv[1]), 'other').hold()\n"
        "print('held', flush=True)\n"
        "sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE, stdin=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        with locks.if_dead("other") as dead:
            assert not dead
        other.kill()
        other.wait()
        with locks.if_dead("other") as dead, locks.if_dead("other") as again:
            assert dead
            assert not again  # one inherits at a time
    with locks.if_dead("never seen") as dead:
        assert dead
    locks.close()
    assert list(tmp_path.iterdir()) == []


def database(data_dir: Path) -> sqlite3.Connection:
    return sqlite3.connect(data_dir / "jobs.sqlite")


async def test_the_sweep_removes_what_nobody_waits_for(
    study: Parts, grader: TruthGrader, data_dir: Path, phantom: Any
) -> None:
    settings = Settings(data_dir=data_dir, run_worker=False, keep_hours=1)
    app = create_app(settings, lambda: grader)
    async with app.router.lifespan_context(app) as state:
        assert state is not None
        services: Services = state["services"]
        transport = httpx.ASGITransport(app=_with_state(app, dict(state)))
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            waiting = (await client.post("/v1/jobs", files=study)).json()["job_id"]
            ended_long_ago = (await client.post("/v1/jobs", files=study)).json()["job_id"]
            await client.delete(f"/v1/jobs/{ended_long_ago}")
            (needed,) = (data_dir / "uploads").iterdir()
            for name, age in (("1" * 32, 3601), ("2" * 32, 60)):  # never got their jobs; one may be about to
                (data_dir / "uploads" / name).mkdir()
                _age(data_dir / "uploads" / name, age)
            _age(needed, 100_000)
            with database(data_dir) as connection:
                connection.execute(
                    "UPDATE workflow_status SET completed_at = completed_at - 3700000 WHERE workflow_uuid = ?",
                    [ended_long_ago],
                )
            connection.close()
            await services.jobs.sweep()
            assert {path.name for path in (data_dir / "uploads").iterdir()} == {needed.name, "2" * 32}
            assert (await client.get(f"/v1/jobs/{ended_long_ago}")).status_code == 404
            assert (await client.get(f"/v1/jobs/{waiting}")).json()["state"] == "queued"


def _age(path: Path, seconds: float) -> None:
    then = time.time() - seconds
    os.utime(path, (then, then))


def _with_state(app: Any, state: dict[str, Any]) -> Any:
    async def server(scope: Any, receive: Any, send: Any) -> None:
        scope["state"] = dict(state)
        await app(scope, receive, send)

    return server


async def test_a_study_that_ends_every_worker_is_given_up(
    open_client: OpenClient, study: Parts, data_dir: Path
) -> None:
    async with open_client() as client:
        job_id = (await client.post("/v1/jobs", files=study)).json()["job_id"]
    with database(data_dir) as connection:  # as after so many workers
        connection.execute("UPDATE workflow_status SET recovery_attempts = ?", [MAX_BEGINNINGS + 1])
    connection.close()
    async with open_client(run_worker=True) as client:
        job = await ended(client, job_id)
    assert job["state"] == "failed"
    assert job["problem"]["type"] == "urn:discgrade:problem:inference-failed"
    async with open_client(run_worker=True):  # sweeps as it begins
        async with asyncio.timeout(30):
            while list((data_dir / "uploads").iterdir()):
                await asyncio.sleep(0.05)


async def test_an_error_nobody_foresaw_leaves_no_text(
    open_client: OpenClient, study: Parts, grader: TruthGrader, data_dir: Path, logged: Any
) -> None:
    grader.error = RuntimeError(f"cannot read {PATIENT_WORDS[0]}")
    async with open_client(run_worker=True, job_attempts=2) as client:
        job_id = (await client.post("/v1/jobs", files=study)).json()["job_id"]
        job = await ended(client, job_id)
    assert job["problem"]["type"] == "urn:discgrade:problem:internal-error"
    for text in (str(job), str(logged), _dump(data_dir)):
        assert PATIENT_WORDS[0] not in text


async def test_the_database_holds_nothing_of_the_patient(open_client: OpenClient, study: Parts, data_dir: Path) -> None:
    async with open_client(run_worker=True) as client:
        answer = await client.post("/v1/jobs", files=study, headers={"Idempotency-Key": "ACC-2026-17"})
        job_id = answer.json()["job_id"]
        job = await ended(client, job_id)
        uid = (await client.get(job["result_url"])).json()["input"]["chosen_series"]
    dump = _dump(data_dir)
    assert job_id in dump
    assert not [word for word in (*PATIENT_WORDS, uid, "ACC-2026-17") if word in dump]


async def test_jobs_call_nobody(open_client: OpenClient, study: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[object] = []
    monkeypatch.setattr("socket.socket.connect", lambda _, address: called.append(address))
    monkeypatch.setattr("socket.getaddrinfo", lambda *address, **_: called.append(address))
    async with open_client(run_worker=True) as client:
        job_id = (await client.post("/v1/jobs", files=study)).json()["job_id"]
        assert (await ended(client, job_id))["state"] == "succeeded"
    assert called == []


def _dump(data_dir: Path) -> str:
    connection = database(data_dir)
    try:
        return "\n".join(connection.iterdump())
    finally:
        connection.close()


async def test_a_worker_without_its_database_says_so(grader: TruthGrader, data_dir: Path) -> None:
    settings = Settings.model_validate({"data_dir": data_dir, "jobs_database": "postgresql://127.0.0.1:9/none"})
    app = create_app(settings, lambda: grader, beside=lambda services: Worker(services, settings))
    with pytest.raises(StorageUnavailable):
        async with app.router.lifespan_context(app):
            await asyncio.sleep(0)


async def test_a_deleted_result_is_gone(open_client: OpenClient, study: Parts, data_dir: Path) -> None:
    async with open_client() as client:
        result_id = (await client.post("/v1/grade", files=study)).json()["result_id"]
        assert (await client.delete(f"/v1/results/{result_id}")).status_code == 204
        assert (await client.get(f"/v1/results/{result_id}")).status_code == 404
        assert (await client.delete(f"/v1/results/{result_id}")).status_code == 404
        assert list((data_dir / "results").iterdir()) == []
