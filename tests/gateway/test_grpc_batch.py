"""``GradeBatch``: many studies on one stream."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from itertools import chain
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.rpc.status_pb2 import Status

from discgrade import errors
from discgrade._messages import error_from
from discgrade.errors import DiscgradeError
from discgrade.v1 import grading_pb2 as pb
from gateway.triton_tensors import GradedTensors
from preprocess.grid import Grid
from tests.gateway.conftest import Parts
from tests.gateway.grpc_app import (
    Opened,
    batch_requests,
    files_of_studies,
    grade_requests,
    problem_of,
    serving_grpc,
    until,
)
from tests.support.truth import TruthGrader
from training.phantom import Phantom


class Counting(TruthGrader):
    """Sees how many studies are in the house."""

    def __init__(self, phantom: Phantom, data_dir: Path) -> None:
        super().__init__(phantom)
        self.data_dir = data_dir
        self.running = 0
        self.most_running = 0
        self.most_spooled = 0

    async def grade(self, grid: Grid) -> GradedTensors:
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        await asyncio.sleep(0.05)
        self.most_spooled = max(self.most_spooled, len(list((self.data_dir / "spool").glob("*/*/upload"))))
        self.running -= 1
        return await super().grade(grid)


@pytest.fixture
def files(study: Parts) -> list[bytes]:
    return [content for _, (_, content) in study]


@pytest.fixture
async def server(grader: TruthGrader, data_dir: Path) -> AsyncIterator[Opened]:
    async with serving_grpc(grader, data_dir) as opened:
        yield opened


async def outcomes(server: Opened, requests: Iterable[pb.GradeBatchRequest]) -> list[tuple[str, DiscgradeError | None]]:
    """Each study's id and problem, in the order of the answers."""
    return [outcome(answer) async for answer in server.stub.GradeBatch(iter(requests))]


def outcome(answer: pb.GradeBatchResponse) -> tuple[str, DiscgradeError | None]:
    if answer.WhichOneof("outcome") == "result":
        assert answer.result.discs
        return answer.study_id, None
    return answer.study_id, error_from(answer.error)


async def test_one_bad_study_leaves_the_others_alone(server: Opened, files: list[bytes], data_dir: Path) -> None:
    abandoned = pb.GradeBatchRequest(study_id="abandoned", end=pb.StudyEnd(abandoned=True))
    requests = chain(
        batch_requests("first", files),
        batch_requests("text", [b"Dear colleague,"]),
        batch_requests("damaged", [content[: len(content) // 2] for content in files]),
        batch_requests("empty", []),
        batch_requests("misnumbered", files[:1])[:1],
        [pb.GradeBatchRequest(study_id="misnumbered", chunk=pb.FileChunk(file=7, data=b"x"))],
        batch_requests("misnumbered", files)[3:],  # the rest of it is passed over
        [*batch_requests("abandoned", files)[:-1], abandoned],
        batch_requests("unended", files)[:-1],
        batch_requests("last", files),
        batch_requests("cut", files)[:-1],
    )
    answers = await outcomes(server, requests)
    assert {study: type(problem) for study, problem in answers} == {
        "first": type(None),
        "text": errors.UnsupportedFormat,
        "damaged": errors.UnreadableFile,
        "empty": errors.EmptyUpload,
        "misnumbered": errors.InvalidRequest,
        "abandoned": errors.InvalidRequest,
        "unended": errors.InvalidRequest,
        "last": type(None),
        "cut": errors.InvalidRequest,
    }
    assert len(answers) == 9
    assert {path.parent.parent.name for path in files_of_studies(data_dir)} == {"results"}


async def test_an_unexpected_error_ends_one_study_only(
    server: Opened, grader: TruthGrader, files: list[bytes], logged: list[dict[str, Any]]
) -> None:
    grader.error = RuntimeError("Mustermann")
    [(_, problem)] = await outcomes(server, batch_requests("a", files))
    assert type(problem) is errors.ServiceError
    assert "Mustermann" not in str(logged) + str(problem)
    assert [entry["error"].split(" at ")[0] for entry in logged if "error" in entry] == ["RuntimeError"]


async def test_few_studies_are_in_the_house_at_a_time(phantom: Phantom, files: list[bytes], data_dir: Path) -> None:
    counting = Counting(phantom, data_dir)
    async with serving_grpc(counting, data_dir, grpc_batch_studies=2) as server:
        requests = chain.from_iterable(batch_requests(str(number), files) for number in range(6))
        answers = await outcomes(server, requests)
    assert sorted(study for study, _ in answers) == [str(number) for number in range(6)]
    assert 1 <= counting.most_running <= 2
    assert 1 <= counting.most_spooled <= 2


async def test_answers_come_as_studies_finish(server: Opened, grader: TruthGrader, files: list[bytes]) -> None:
    grader.hold = asyncio.Event()
    call = server.stub.GradeBatch()
    for request in (*batch_requests("slow", files), *batch_requests("quick", [b"no study"])):
        await call.write(request)
    assert outcome(await call.read())[0] == "quick"
    grader.hold.set()
    assert outcome(await call.read()) == ("slow", None)
    await call.done_writing()
    assert await call.read() is grpc.aio.EOF


async def test_a_full_house_makes_a_stream_wait_and_refuses_a_call(
    grader: TruthGrader, files: list[bytes], data_dir: Path
) -> None:
    grader.hold = asyncio.Event()
    async with serving_grpc(grader, data_dir, admission_slices=5, admission_queue_slices=0) as server:
        call = server.stub.GradeBatch()
        for request in (*batch_requests("a", files), *batch_requests("b", files)):
            await call.write(request)
        await grader.started.wait()
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await server.stub.Grade(iter(grade_requests(files)))
        assert type(problem_of(caught.value)) is errors.Overloaded
        grader.hold.set()
        assert {outcome(await call.read()), outcome(await call.read())} == {("a", None), ("b", None)}


async def test_a_stream_that_leaves_cancels_all_its_studies(
    server: Opened, grader: TruthGrader, files: list[bytes], data_dir: Path
) -> None:
    grader.hold = asyncio.Event()
    call = server.stub.GradeBatch()
    for request in (*batch_requests("a", files), *batch_requests("b", files)[:2]):
        await call.write(request)
    await grader.started.wait()
    call.cancel()
    await until(lambda: grader.cancelled and server.services.admission.present == 0)
    assert not list((data_dir / "spool").glob("*/*"))
    assert files_of_studies(data_dir) == []


async def test_a_server_that_stops_answers_what_it_began(
    server: Opened, grader: TruthGrader, files: list[bytes]
) -> None:
    grader.hold = asyncio.Event()
    call = server.stub.GradeBatch()
    for request in batch_requests("begun", files):
        await call.write(request)
    await grader.started.wait()
    server.services.admission.close()
    grader.hold.set()
    assert outcome(await call.read()) == ("begun", None)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call.read()
    assert type(problem_of(caught.value)) is errors.Overloaded


async def test_a_client_silent_within_a_study(grader: TruthGrader, files: list[bytes], data_dir: Path) -> None:
    async with serving_grpc(grader, data_dir, upload_idle_seconds=1.0) as server:
        call = server.stub.GradeBatch()
        for request in (*batch_requests("whole", files), *batch_requests("half", files)[:1]):
            await call.write(request)
        answers = [outcome(await call.read()), outcome(await call.read())]
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call.read()
    assert {study: type(problem) for study, problem in answers} == {
        "whole": type(None),
        "half": errors.UploadTimeout,
    }
    assert type(problem_of(caught.value)) is errors.UploadTimeout


@pytest.mark.parametrize("study_id", ["", "x" * 129])
async def test_a_study_without_a_usable_name(server: Opened, files: list[bytes], study_id: str) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await outcomes(server, batch_requests(study_id, files))
    assert type(problem_of(caught.value)) is errors.InvalidRequest


async def test_each_answer_carries_its_own_status(server: Opened, files: list[bytes]) -> None:
    requests = batch_requests("text", [b"Dear colleague,"])
    [answer] = [answer async for answer in server.stub.GradeBatch(iter(requests))]
    status: Status = answer.error
    assert status.code == grpc.StatusCode.INVALID_ARGUMENT.value[0]
    assert status.message
