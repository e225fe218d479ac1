"""All four clients against the real server: HTTP and gRPC, with and without an event loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from discgrade import errors
from discgrade.client import NO_RETRY, AsyncClient, Client
from discgrade.errors import DiscgradeError
from discgrade.grpc_client import AsyncGrpcClient, GrpcClient, Tls
from discgrade.job import JobState
from gateway.app import Services, create_app
from gateway.grpc_server import grpc_server
from gateway.jobs.worker import Worker
from gateway.settings import Settings
from tests.support.certificates import make_authority, make_certificate
from tests.support.server import running_server
from tests.support.studies import write_study
from tests.support.truth import TruthGrader
from training.phantom import Phantom, PhantomSpec, make_phantom

NOWHERE = "127.0.0.1:9"


class Server:
    """Addresses of a running server."""

    url: str
    target: str

    def __init__(self, grader: TruthGrader, authority: Path) -> None:
        self.grader = grader
        self.authority = authority


@pytest.fixture(scope="module")
def spine() -> Phantom:
    return make_phantom(PhantomSpec(grades=(4, 3, 2), slices=3, pixel_mm=1.0, matrix=(256, 200)))


@pytest.fixture(scope="module")
def files(spine: Phantom, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return write_study(spine, tmp_path_factory.mktemp("study"), "dicom")


@pytest.fixture(scope="module")
def server(spine: Phantom, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("server")
    cert, key = make_certificate(make_authority(folder / "ca.pem"), folder, "localhost")
    settings = Settings(data_dir=folder / "data", cpu_workers=2, shutdown_seconds=1, tls_cert=cert, tls_key=key)
    running = Server(TruthGrader(spine), folder / "ca.pem")

    @asynccontextmanager
    async def beside(services: Services) -> AsyncIterator[None]:
        async with Worker(services, settings), grpc_server(services, settings, "127.0.0.1", 0) as target:
            running.target = f"localhost:{target.rpartition(':')[2]}"
            yield

    with running_server(create_app(settings, lambda: running.grader, beside=beside)) as running.url:
        yield running


@pytest.fixture(params=["http", "grpc"])
def client(server: Server, request: pytest.FixtureRequest) -> Iterator[Client | GrpcClient]:
    if request.param == "http":
        with Client(server.url, retry=NO_RETRY) as http:
            yield http
    else:
        with GrpcClient(server.target, tls=Tls(server.authority), retry=NO_RETRY) as grpc:
            yield grpc


@pytest.fixture(params=["http", "grpc"])
async def asynchronous(server: Server, request: pytest.FixtureRequest) -> AsyncIterator[AsyncClient | AsyncGrpcClient]:
    if request.param == "http":
        async with AsyncClient(server.url, retry=NO_RETRY) as http:
            yield http
    else:
        async with AsyncGrpcClient(server.target, tls=Tls(server.authority), retry=NO_RETRY) as grpc:
            yield grpc


def test_a_study_and_all_of_its_result(client: Client | GrpcClient, files: list[Path], spine: Phantom) -> None:
    assert client.ready()
    result = client.grade(files)
    assert [disc.level for disc in result.discs] == list(reversed(spine.levels))
    assert client.result(result.result_id) == result
    assert client.segmentation(result.result_id).startswith(b"\x1f\x8b")
    assert client.image(result.result_id).startswith(b"\x1f\x8b")
    assert client.overlay(result.result_id).startswith(b"\x89PNG")
    assert client.report(result.result_id).startswith(b"%PDF")
    for fetch in (client.dicom_segmentation, client.dicom_report, client.dicom_overlay, client.dicom_pdf):
        assert fetch(result.result_id)[128:132] == b"DICM"


async def test_the_same_from_an_event_loop(
    asynchronous: AsyncClient | AsyncGrpcClient, files: list[Path], spine: Phantom
) -> None:
    client = asynchronous
    assert await client.ready()
    results = await asyncio.gather(client.grade(files), client.grade(files))
    for result in results:
        assert [disc.level for disc in result.discs] == list(reversed(spine.levels))
        assert await client.result(result.result_id) == result
        assert (await client.segmentation(result.result_id)).startswith(b"\x1f\x8b")
        assert (await client.image(result.result_id)).startswith(b"\x1f\x8b")
        assert (await client.overlay(result.result_id)).startswith(b"\x89PNG")
        assert (await client.report(result.result_id)).startswith(b"%PDF")
        for fetch in (client.dicom_segmentation, client.dicom_report, client.dicom_overlay, client.dicom_pdf):
            assert (await fetch(result.result_id))[128:132] == b"DICM"


def bad_studies(files: list[Path], tmp_path: Path) -> dict[type[DiscgradeError], list[Path]]:
    text, empty = tmp_path / "letter", tmp_path / "empty"
    text.write_bytes(b"Dear colleague,\n" * 20)
    empty.write_bytes(b"")
    return {
        errors.UnsupportedFormat: [text],
        errors.EmptyUpload: [empty],
        errors.DuplicatePositions: [*files, files[0]],
    }


def test_the_servers_errors_are_raised_here(client: Client | GrpcClient, files: list[Path], tmp_path: Path) -> None:
    for kind, study in bad_studies(files, tmp_path).items():
        with pytest.raises(DiscgradeError) as caught:
            client.grade(study)
        assert type(caught.value) is kind
        assert caught.value.advice
    with pytest.raises(errors.NotFound):
        client.result("0" * 32)


async def test_the_servers_errors_are_raised_in_an_event_loop(
    asynchronous: AsyncClient | AsyncGrpcClient, files: list[Path], tmp_path: Path
) -> None:
    for kind, study in bad_studies(files, tmp_path).items():
        with pytest.raises(DiscgradeError) as caught:
            await asynchronous.grade(study)
        assert type(caught.value) is kind
    with pytest.raises(errors.NotFound):
        await asynchronous.overlay("0" * 32)


def test_retry_after_comes_along(client: Client | GrpcClient, server: Server, files: list[Path]) -> None:
    server.grader.error = errors.Overloaded("Full.", retry_after_seconds=7)
    try:
        with pytest.raises(errors.Overloaded) as caught:
            client.grade(files)
    finally:
        server.grader.error = None
    assert caught.value.retry_after_seconds == 7


def test_a_file_that_is_not_there(client: Client | GrpcClient, files: list[Path], tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        client.grade([*files, tmp_path / "missing"])


async def test_a_file_that_is_not_there_in_an_event_loop(
    asynchronous: AsyncClient | AsyncGrpcClient, files: list[Path], tmp_path: Path
) -> None:
    with pytest.raises(FileNotFoundError):
        await asynchronous.grade([*files, tmp_path / "missing"])


def test_nobody_there() -> None:
    with Client(f"http://{NOWHERE}", retry=NO_RETRY) as http, GrpcClient(NOWHERE, retry=NO_RETRY) as grpc:
        for client in (http, grpc):
            assert not client.ready()
            with pytest.raises(errors.InferenceUnavailable):
                client.result("0" * 32)


def test_a_deadline(server: Server, files: list[Path]) -> None:
    server.grader.hold = asyncio.Event()  # never set
    try:
        tls = Tls(server.authority)
        with GrpcClient(server.target, 0.5, tls=tls) as client, pytest.raises(errors.InferenceTimeout):
            client.grade(files)
    finally:
        server.grader.hold = None


def studies(files: list[Path], tmp_path: Path) -> list[tuple[str, list[Path]]]:
    bad = bad_studies(files, tmp_path)
    return [
        ("good", files),
        ("letter", bad[errors.UnsupportedFormat]),
        ("missing", [*files, tmp_path / "missing"]),
        ("good too", files),
    ]


EXPECTED: dict[str, Any] = {
    "good": None,
    "letter": errors.UnsupportedFormat,
    "missing": errors.InvalidRequest,
    "good too": None,
}


def test_a_batch(server: Server, files: list[Path], tmp_path: Path) -> None:
    with GrpcClient(server.target, tls=Tls(server.authority)) as client:
        answers = {answer.study_id: answer for answer in client.grade_batch(studies(files, tmp_path))}
    assert {study: type(a.error) if a.error else None for study, a in answers.items()} == EXPECTED
    assert all((answer.result is None) == (answer.error is not None) for answer in answers.values())


async def test_a_batch_from_an_event_loop(server: Server, files: list[Path], tmp_path: Path) -> None:
    async with AsyncGrpcClient(server.target, tls=Tls(server.authority)) as client:
        answers = {answer.study_id: answer async for answer in client.grade_batch(studies(files, tmp_path))}
    assert {study: type(a.error) if a.error else None for study, a in answers.items()} == EXPECTED


def test_jobs(server: Server, files: list[Path], spine: Phantom) -> None:
    with Client(server.url) as client:
        job = client.submit(files, idempotency_key="one")
        assert client.submit(files, idempotency_key="one").job_id == job.job_id
        ended = client.wait(job.job_id)
        assert ended.state is JobState.SUCCEEDED
        assert [disc.level for disc in client.result(str(ended.result_id)).discs] == list(reversed(spine.levels))
        server.grader.hold = asyncio.Event()  # never set
        try:
            held = client.submit(files)
            assert client.cancel(held.job_id).state is JobState.CANCELLED
        finally:
            server.grader.hold = None
        newest = client.jobs(limit=1)
        assert [job.job_id for job in newest.jobs] == [held.job_id]
        assert newest.next_cursor is not None
        assert [job.job_id for job in client.jobs(limit=1, cursor=newest.next_cursor).jobs] == [job.job_id]
        assert [job.job_id for job in client.all_jobs(JobState.SUCCEEDED)] == [job.job_id]
        client.delete(str(ended.result_id))
        with pytest.raises(errors.NotFound):
            client.result(str(ended.result_id))
        with pytest.raises(errors.NotFound):
            client.job("0" * 32)


async def test_jobs_from_an_event_loop(server: Server, files: list[Path], tmp_path: Path) -> None:
    (letter := tmp_path / "letter").write_bytes(b"Dear colleague,\n" * 20)
    async with AsyncClient(server.url) as client:
        good, bad = await asyncio.gather(client.submit(files), client.submit([letter]))
        good, bad = await asyncio.gather(client.wait(good.job_id), client.wait(bad.job_id))
        assert (good.state, bad.state) == (JobState.SUCCEEDED, JobState.FAILED)
        assert bad.problem is not None
        assert bad.problem.type == errors.UnsupportedFormat.problem_type()
        assert good.job_id in [job.job_id async for job in client.all_jobs()]
        with pytest.raises(errors.Conflict):
            await client.cancel(good.job_id)
        await client.delete(str(good.result_id))
