"""The process is killed at each step of a job; whatever the step, the job is graded once."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from tests.gateway.conftest import OpenClient
from tests.support.crashing import HEADERS, MOMENTS, phantom_and_study
from tests.support.jobs import ended
from tests.support.truth import TruthGrader

ROOT = Path(__file__).parents[2]
PHANTOM, STUDY = phantom_and_study()


@pytest.fixture
def grader() -> TruthGrader:
    return TruthGrader(PHANTOM)


@pytest.mark.parametrize("moment", MOMENTS)
async def test_a_job_survives_a_kill(moment: str, open_client: OpenClient, data_dir: Path) -> None:
    command = [sys.executable, "-m", "tests.support.crashing", str(data_dir), moment]
    done = await asyncio.to_thread(subprocess.run, command, cwd=ROOT, timeout=120, capture_output=True)
    assert done.returncode == -9, done.stderr.decode()
    uploads = list((data_dir / "uploads").iterdir())
    async with open_client(run_worker=True) as client:
        if moment in {"before the upload is kept", "after the upload is kept"}:  # never answered with 202
            assert (await client.get("/v1/jobs")).json()["jobs"] == []
            orphans = len(uploads)
        else:
            (accepted,) = (await client.get("/v1/jobs")).json()["jobs"]
            assert (await ended(client, accepted["job_id"]))["state"] == "succeeded"
            orphans = 0
        again = await client.post("/v1/jobs", files=STUDY, headers=HEADERS)  # as a client does that saw no answer
        job = await ended(client, again.json()["job_id"])
        assert job["state"] == "succeeded"
        assert len((await client.get("/v1/jobs")).json()["jobs"]) == 1
    assert [path.name for path in (data_dir / "results").iterdir()] == [job["result_id"]]
    assert len(list((data_dir / "uploads").iterdir())) == orphans  # for the sweep
