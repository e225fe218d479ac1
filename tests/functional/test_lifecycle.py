"""Releases under running clients, on a real tritonserver with a repository of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from discgrade.result import GradingResult
from export.errors import ReleaseProblem
from export.lifecycle import Lifecycle
from export.repository import Repository
from export.service import Service
from gateway.dataplane import Dataplane
from gateway.embedded import EmbeddedTriton
from gateway.triton_client import TritonClient
from gateway.workers import Workers
from preprocess.limits import Limits
from tests.lifecycle.run import run
from tests.support.repository import first_release, served_again
from training.phantom import PhantomSpec, make_phantom, write_nifti

pytestmark = pytest.mark.functional


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    return first_release(tmp_path_factory.mktemp("models") / "repository")


@pytest.fixture(scope="module")
def server(repository: Repository) -> Iterator[EmbeddedTriton]:
    with EmbeddedTriton(repository.root) as triton:
        yield triton


@pytest.fixture
async def client(server: EmbeddedTriton) -> AsyncIterator[TritonClient]:
    async with TritonClient(server.url) as connected:
        yield connected


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("study") / "phantom.nii.gz"
    write_nifti(make_phantom(PhantomSpec(slices=1, matrix=(288, 288))), path)
    return path


class _Clients:
    """Grades one study after the other, as the gateway does, until it is told to stop; no request may fail."""

    def __init__(self, grader: TritonClient, study: Path, workdir: Path) -> None:
        self._asked = 0
        self._answers: list[tuple[int, GradingResult]] = []
        self._grader, self._study, self._workdir = grader, study, workdir
        self._dataplane = Dataplane(Workers(1), Limits())
        self._stopping = False

    async def __aenter__(self) -> _Clients:
        self._tasks = [asyncio.create_task(self._loop()) for _ in range(2)]
        await self.more()
        return self

    @property
    def results(self) -> list[GradingResult]:
        return [result for _, result in self._answers]

    async def __aexit__(self, *_: object) -> None:
        self._stopping = True
        await asyncio.gather(*self._tasks)

    async def more(self, count: int = 3) -> list[GradingResult]:
        """Wait for so many results more, all of them of requests sent from now on."""
        self._asked += 1
        since = self._asked
        while len(new := [result for sent, result in self._answers if sent >= since]) < count:
            await asyncio.sleep(0.02)
            for task in self._tasks:
                if task.done():
                    task.result()
        return new

    async def _loop(self) -> None:
        while not self._stopping:
            assert await self._grader.ready()
            prepared = await self._dataplane.prepare([self._study], self._workdir)
            sent = self._asked
            self._answers.append((sent, (await self._dataplane.grade(prepared, self._grader)).result))


def _members(result: GradingResult) -> dict[str, str]:
    return {model.name: model.version for model in result.models}


def test_the_life_of_a_release_under_load() -> None:
    """Added, tried on a share, promoted, rolled back, and a broken one: ``make lifecycle`` at length."""
    report = run(studies=12, clients=1)
    assert report.failures == []
    assert [len(phase.answers) >= 12 for phase in report.phases] == [True] * 8


async def test_a_release_that_cannot_load_leaves_the_one_before_in_service(
    repository: Repository, server: EmbeddedTriton, client: TritonClient, study: Path, tmp_path: Path
) -> None:
    served_again(repository)
    broken = served_again(repository)
    (repository.root / "disc_grading" / str(broken.number) / "model.onnx").write_bytes(b"no network")
    lifecycle = Lifecycle(repository, [server.url])
    before = repository.service
    async with _Clients(client, study, tmp_path) as clients:
        with pytest.raises(ReleaseProblem, match="does not load disc_grading"):
            await asyncio.to_thread(lifecycle.promote, broken.number)
        assert repository.service == before
        results = await clients.more()
    assert {_members(result)["lumbar_grading"] for result in results} == {str(before.release)}


async def test_a_server_that_starts_later_answers_with_the_promoted_release(
    repository: Repository, study: Path, tmp_path: Path
) -> None:
    Lifecycle(repository, []).promote(2)
    try:
        with EmbeddedTriton(repository.root) as later:
            async with TritonClient(later.url) as client:
                models = await client.models()
        assert {model.name: model.version for model in models} == {
            "lumbar_grading": "2",
            "disc_segmentation": "2",
            "disc_crop": "1",
            "disc_grading": "2",
        }
    finally:
        Lifecycle(repository, []).promote(1)
    assert isinstance(repository.service, Service)
