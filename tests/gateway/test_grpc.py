"""gRPC over the whole app in this process, with a grader that knows the phantom's truth."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from discgrade import errors
from discgrade._messages import from_message
from discgrade.errors import DiscgradeError
from discgrade.result import GradingResult
from discgrade.v1 import grading_pb2 as pb
from tests.gateway.conftest import Parts
from tests.gateway.grpc_app import Opened, batch_requests, grade_requests, problem_of, serving_grpc
from tests.support.studies import PATIENT_WORDS
from tests.support.truth import TruthGrader
from training.phantom import Phantom

ERRORS: list[type[DiscgradeError]] = [getattr(errors, name) for name in errors.__all__]


def files_below(folder: Path) -> list[Path]:
    """What is kept of studies and results; the audit log is another matter."""
    return [path for path in folder.rglob("*") if path.is_file() and path.parent.name != "audit"]


@pytest.fixture
def files(study: Parts) -> list[bytes]:
    return [content for _, (_, content) in study]


@pytest.fixture
async def server(grader: TruthGrader, data_dir: Path) -> AsyncIterator[Opened]:
    async with serving_grpc(grader, data_dir) as opened:
        yield opened


async def test_a_study_is_graded_and_its_result_kept(server: Opened, files: list[bytes], phantom: Phantom) -> None:
    answer = await server.stub.Grade(iter(grade_requests(files)))
    result = from_message(answer.result)
    assert [disc.level for disc in result.discs] == list(reversed(phantom.levels))
    assert result.input.slices == len(phantom.volume.array)
    kept = await server.stub.GetResult(
        pb.GetResultRequest(result_id=result.result_id, files=["overlay.png", "segmentation.nii.gz"])
    )
    assert from_message(kept.result) == result
    assert kept.files["overlay.png"].startswith(b"\x89PNG")
    assert kept.files["segmentation.nii.gz"].startswith(b"\x1f\x8b")
    stored = await asyncio.to_thread(server.services.store.load, result.result_id, "result.json")
    assert GradingResult.model_validate_json(stored) == result


@pytest.mark.parametrize("kind", ERRORS, ids=lambda kind: kind.__name__)
async def test_every_error_comes_back_as_itself_and_leaves_nothing(
    server: Opened, grader: TruthGrader, files: list[bytes], data_dir: Path, kind: type[DiscgradeError]
) -> None:
    grader.error = kind("What is wrong.", "What to do.", 3.5)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await server.stub.Grade(iter(grade_requests(files)))
    problem = problem_of(caught.value)
    assert caught.value.code() is grpc.StatusCode[kind.grpc_code]
    assert problem.problem_type() == kind.problem_type()
    assert type(problem) is (kind if kind is not DiscgradeError else errors.ServiceError)
    assert (problem.detail, problem.advice, problem.retry_after_seconds) == ("What is wrong.", "What to do.", 3.5)
    assert files_below(data_dir) == []


async def test_an_unexpected_error_says_nothing_of_itself(
    server: Opened, grader: TruthGrader, files: list[bytes], logged: list[dict[str, Any]]
) -> None:
    grader.error = RuntimeError(f"cannot handle {PATIENT_WORDS[0]}")
    call = server.stub.Grade(iter(grade_requests(files)), metadata=(("x-request-id", PATIENT_WORDS[0]),))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    assert type(problem_of(caught.value)) is errors.ServiceError
    assert PATIENT_WORDS[0] not in str(caught.value) + str(logged)
    (entry,) = [entry for entry in logged if entry["event"] == "request"]
    assert entry["error"].startswith("RuntimeError at ")
    assert entry["request_id"] == dict(await call.initial_metadata())["x-request-id"]
