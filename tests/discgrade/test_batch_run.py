"""What becomes of a study, whatever the server answers; the server is a table of jobs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from discgrade._batch.find import Found, files_below
from discgrade._batch.journal import Journal, State
from discgrade._batch.run import run
from discgrade.client import NO_RETRY, AsyncClient
from discgrade.errors import Conflict, DiscgradeError, Forbidden, InferenceUnavailable, Overloaded, UnreadableFile
from tests.discgrade.test_result import result

JOB = {"created_at": "2026-01-01T00:00:00Z"}


class Server:
    """Jobs by idempotency key; each ends at once, as it was told."""

    def __init__(self) -> None:
        self.jobs: dict[str, str] = {}
        self.refuse: DiscgradeError | None = None
        self.ends: Callable[[], dict[str, Any]] = lambda: {"state": "succeeded", "result_id": "0" * 32}

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if self.refuse is not None:
            return self.problem(self.refuse)
        if request.method == "POST":
            job_id = self.jobs.setdefault(request.headers["idempotency-key"], f"{len(self.jobs):032x}")
            return httpx.Response(202, json={"job_id": job_id, "state": "queued", **JOB})
        *_, kind, name = request.url.path.split("/")
        if kind == "results":
            return httpx.Response(200, json=result(result_id=name))
        if name not in self.jobs.values():
            return httpx.Response(404, json={"type": "urn:discgrade:problem:not-found", "detail": "", "advice": ""})
        return httpx.Response(200, json={"job_id": name, **JOB, **self.ends()})

    def problem(self, error: DiscgradeError) -> httpx.Response:
        return httpx.Response(error.status, json=error.problem())


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "root").mkdir()
    for name in "abc":
        (tmp_path / "root" / name).write_bytes(b"x")
    return tmp_path / "root"


@pytest.fixture
def journal(root: Path, tmp_path: Path) -> Iterator[Journal]:
    with Journal(tmp_path / "journal", root) as opened:
        look(opened, root)
        yield opened


def look(journal: Journal, root: Path) -> tuple[int, int]:
    return journal.scan(files_below(root, frozenset()), lambda name: Found("nifti", f"file:{name}"))


async def grade(journal: Journal, server: Server, at_once: int = 2) -> list[State]:
    ends: list[State] = []
    transport = httpx.MockTransport(server)
    async with AsyncClient("http://test", transport=transport, retry=NO_RETRY) as client:
        await run(journal, client, at_once, ends.append)
    return ends


def states(journal: Journal) -> set[State]:
    return {state for state, count in journal.counts().items() if count}


async def test_each_study_is_one_job(journal: Journal, server: Server) -> None:
    assert await grade(journal, server) == [State.GRADED] * 3
    assert len(server.jobs) == 3
    assert await grade(journal, server) == []


async def test_an_earlier_runs_job_is_followed(journal: Journal, server: Server) -> None:
    study = journal.open_studies()[0]
    server.jobs[journal.idempotency_key(study)] = "f" * 32
    journal.submitted(study, "f" * 32)
    await grade(journal, server)
    assert states(journal) == {State.GRADED}
    assert len(server.jobs) == 3


async def test_a_job_that_was_accepted_but_not_noted_is_the_same_job(journal: Journal, server: Server) -> None:
    for study in journal.open_studies():  # the batch was killed before it could note them
        server.jobs[journal.idempotency_key(study)] = study.rjust(32, "0")
    await grade(journal, server)
    assert len(server.jobs) == 3


async def test_a_job_the_server_forgot_is_submitted_anew(journal: Journal, server: Server) -> None:
    study = journal.open_studies()[0]
    key = journal.idempotency_key(study)
    journal.submitted(study, "f" * 32)
    await grade(journal, server)
    assert states(journal) == {State.GRADED}
    assert key not in server.jobs


async def test_a_job_that_failed_is_tried_again_under_another_key(journal: Journal, server: Server) -> None:
    problem = UnreadableFile("cut off").problem()
    server.ends = lambda: {"state": "failed", "problem": problem}
    assert await grade(journal, server) == [State.FAILED] * 3
    assert {json.loads(study.problem or "")["type"] for study in journal.studies()} == {problem["type"]}
    journal.again(lambda text: json.loads(text)["status"] >= 500)
    assert await grade(journal, server) == []
    journal.again(lambda _: True)
    server.ends = lambda: {"state": "succeeded", "result_id": "0" * 32}
    assert await grade(journal, server) == [State.GRADED] * 3
    assert len(server.jobs) == 6


async def test_a_job_that_somebody_cancelled(journal: Journal, server: Server) -> None:
    server.ends = lambda: {"state": "cancelled"}
    assert await grade(journal, server) == [State.FAILED] * 3
    assert all("cancelled" in (study.problem or "") for study in journal.studies())


@pytest.mark.parametrize("error", [Forbidden("no"), Overloaded("full"), InferenceUnavailable("away")])
async def test_what_would_meet_all_studies_stops_the_batch(
    journal: Journal, server: Server, error: DiscgradeError
) -> None:
    server.refuse = error
    with pytest.raises(type(error)):
        await grade(journal, server)
    assert states(journal) == {State.WAITING}
    server.refuse = None
    assert await grade(journal, server) == [State.GRADED] * 3


async def test_what_meets_one_study_is_noted(journal: Journal, server: Server, root: Path) -> None:
    server.refuse = Conflict("Other files under this key.")
    assert await grade(journal, server) == [State.FAILED] * 3


async def test_a_file_that_vanished(journal: Journal, server: Server, root: Path) -> None:
    (root / "b").unlink()
    assert sorted(await grade(journal, server)) == [State.FAILED, State.GRADED, State.GRADED]
    [problem] = [study.problem for study in journal.studies() if study.problem]
    assert json.loads(problem)["type"] == UnreadableFile.problem_type()
    assert str(root) not in problem


def test_a_study_whose_files_change_has_another_key(journal: Journal, root: Path) -> None:
    before = {study: journal.idempotency_key(study) for study in journal.open_studies()}
    (root / "b").write_bytes(b"longer")
    assert look(journal, root) == (3, 0)
    changed = [study for study, key in before.items() if journal.idempotency_key(study) != key]
    assert len(changed) == 1


def test_files_that_did_not_change_are_not_opened(journal: Journal, root: Path) -> None:
    (root / "d").write_bytes(b"x")
    opened: list[str] = []

    def identify(name: str) -> Found | None:
        opened.append(name)
        return None

    assert journal.scan(files_below(root, frozenset()), identify) == (3, 1)
    assert opened == ["d"]


def test_one_batch_at_a_time(journal: Journal, root: Path, tmp_path: Path) -> None:
    with pytest.raises(Conflict, match="Another batch"):
        Journal(tmp_path / "journal", root)


def test_a_journal_that_is_none(root: Path, tmp_path: Path) -> None:
    (tmp_path / "other").write_bytes(b"no database" * 100)
    with pytest.raises(Conflict, match="damaged"):
        Journal(tmp_path / "other", root)
