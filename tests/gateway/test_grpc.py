"""gRPC over the whole app in this process, with a grader that knows the phantom's truth."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from discgrade import errors
from discgrade._messages import error_from, from_message
from discgrade.errors import DiscgradeError
from discgrade.result import GradingResult
from discgrade.v1 import grading_pb2 as pb
from discgrade.v1 import grading_pb2_grpc
from gateway.deadline import within
from gateway.door import Scope
from gateway.door.keys import KeyFile
from gateway.grpc_server import grpc_server
from gateway.settings import Settings
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
from tests.support.certificates import make_authority, make_certificate
from tests.support.studies import PATIENT_WORDS
from tests.support.truth import TruthGrader
from training.phantom import Phantom

ERRORS: list[type[DiscgradeError]] = [getattr(errors, name) for name in errors.__all__]


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


async def test_every_error_comes_back_as_itself_and_leaves_nothing(
    server: Opened, grader: TruthGrader, files: list[bytes], data_dir: Path
) -> None:
    for kind in ERRORS:
        grader.error = kind("What is wrong.", "What to do.", 3.5)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await server.stub.Grade(iter(grade_requests(files)))
        problem = problem_of(caught.value)
        assert caught.value.code() is grpc.StatusCode[kind.grpc_code]
        assert problem.problem_type() == kind.problem_type()
        assert type(problem) is (kind if kind is not DiscgradeError else errors.ServiceError)
        assert (problem.detail, problem.advice, problem.retry_after_seconds) == ("What is wrong.", "What to do.", 3.5)
        assert files_of_studies(data_dir) == []


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


async def test_limits_are_those_of_every_upload(grader: TruthGrader, data_dir: Path) -> None:
    big = [b"x" * 150_000, b"y" * 150_000]
    cases: dict[type[DiscgradeError], list[pb.GradeRequest]] = {
        errors.UploadTooLarge: grade_requests(big),
        errors.EmptyUpload: grade_requests([b"", b""]),
        errors.InvalidRequest: [pb.GradeRequest(chunk=pb.FileChunk(file=1, data=b"x"))],
    }
    async with serving_grpc(grader, data_dir, max_upload_bytes=200_000, max_files=3) as server:
        for kind, requests in cases.items():
            assert type(await _refusal(server.stub.Grade(iter(requests)))) is kind
        assert type(await _refusal(server.stub.Grade(iter([])))) is errors.EmptyUpload
        many = await _refusal(server.stub.Grade(iter(grade_requests([b"x"] * 4))))
        assert type(many) is errors.UploadTooLarge
        assert "3 files" in many.detail
        assert files_of_studies(data_dir) == []


async def test_what_is_declared_too_large_is_refused_before_it_is_sent(grader: TruthGrader, data_dir: Path) -> None:
    async with serving_grpc(grader, data_dir, max_upload_bytes=200_000) as server:
        call = server.stub.Grade()
        await call.write(pb.GradeRequest(chunk=pb.FileChunk(data=b"x"), total_bytes=300_000))
        assert type(await _refusal(call)) is errors.UploadTooLarge  # though more was to come


async def test_a_message_too_large_for_the_server(server: Opened) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await server.stub.Grade(iter([pb.GradeRequest(chunk=pb.FileChunk(data=bytes(5 * 1024 * 1024)))]))
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_a_client_that_stops_sending(grader: TruthGrader, data_dir: Path) -> None:
    async with serving_grpc(grader, data_dir, upload_idle_seconds=0.05) as server:
        call = server.stub.Grade()
        await call.write(pb.GradeRequest(chunk=pb.FileChunk(data=b"x" * 300_000)))
        assert type(await _refusal(call)) is errors.UploadTimeout
        assert files_of_studies(data_dir) == []


async def test_a_client_that_leaves_while_sending_leaves_nothing(server: Opened, data_dir: Path) -> None:
    call = server.stub.Grade()
    await call.write(pb.GradeRequest(chunk=pb.FileChunk(data=b"x" * 300_000)))
    await until(lambda: bool(files_of_studies(data_dir)))
    call.cancel()
    await until(lambda: not files_of_studies(data_dir) and not list((data_dir / "spool").glob("*/*")))


async def test_a_client_that_leaves_cancels_inference(
    server: Opened, grader: TruthGrader, files: list[bytes], data_dir: Path, logged: list[dict[str, Any]]
) -> None:
    grader.hold = asyncio.Event()  # never set
    call = server.stub.Grade(iter(grade_requests(files)))
    await grader.started.wait()
    assert files_of_studies(data_dir)
    call.cancel()
    await until(lambda: any(entry["event"] == "request" for entry in logged))
    assert grader.cancelled
    assert files_of_studies(data_dir) == []
    (entry,) = [entry for entry in logged if entry["event"] == "request"]
    assert (entry["outcome"], entry["status"]) == ("client-closed-request", "CANCELLED")


async def test_a_deadline_that_passes_cancels_inference(
    server: Opened, grader: TruthGrader, files: list[bytes], data_dir: Path, logged: list[dict[str, Any]]
) -> None:
    grader.hold = asyncio.Event()  # never set
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await server.stub.Grade(iter(grade_requests(files)), timeout=3.0)
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    await until(lambda: any(entry["event"] == "request" for entry in logged))
    assert grader.cancelled
    assert files_of_studies(data_dir) == []


async def test_the_call_to_triton_carries_what_is_left_of_the_deadline(
    phantom: Phantom, data_dir: Path, files: list[bytes]
) -> None:
    left: list[float] = []

    class Watching(TruthGrader):
        async def grade(self, grid: Grid) -> GradedTensors:
            left.append(within(1000.0))
            return await super().grade(grid)

    async with serving_grpc(Watching(phantom), data_dir) as server:
        await server.stub.Grade(iter(grade_requests(files)), timeout=60.0)
        await server.stub.Grade(iter(grade_requests(files)))
    assert 0 < left[0] < 60
    assert left[1] == 1000.0


async def test_results_that_are_not_there(server: Opened, grader: TruthGrader, files: list[bytes]) -> None:
    missing = await _refusal(server.stub.GetResult(pb.GetResultRequest(result_id="0" * 32)))
    assert type(missing) is errors.NotFound
    result_id = (await server.stub.Grade(iter(grade_requests(files)))).result.result_id
    for name in ("result.json", "../result.json", "source.json", "report.txt"):
        request = pb.GetResultRequest(result_id=result_id, files=[name])
        assert type(await _refusal(server.stub.GetResult(request))) is errors.NotFound


async def test_health_follows_triton(server: Opened, grader: TruthGrader) -> None:
    stub: Any = health_pb2_grpc.HealthStub(server.channel)
    watch = stub.Watch(health_pb2.HealthCheckRequest(service="discgrade.v1.GradingService"))
    serving, not_serving = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING

    async def becomes(status: int) -> None:
        async for answer in watch:
            if answer.status == status:
                return

    await becomes(serving)
    assert (await stub.Check(health_pb2.HealthCheckRequest())).status == serving
    grader.is_ready = False
    await becomes(not_serving)
    grader.is_ready = True
    await becomes(serving)
    server.services.admission.close()
    await becomes(not_serving)


async def test_reflection_names_the_services(server: Opened) -> None:
    stub: Any = reflection_pb2_grpc.ServerReflectionStub(cast(Any, server.channel))
    request = reflection_pb2.ServerReflectionRequest(list_services="")
    async for answer in stub.ServerReflectionInfo(iter([request])):
        names = {service.name for service in answer.list_services_response.service}
    assert {"discgrade.v1.GradingService", "grpc.health.v1.Health"} <= names


async def test_nothing_of_the_patient_is_logged(
    server: Opened, files: list[bytes], data_dir: Path, logged: list[dict[str, Any]], capfd: pytest.CaptureFixture[str]
) -> None:
    result = from_message((await server.stub.Grade(iter(grade_requests(files)))).result)
    broken = [content[: len(content) // 2] for content in files]
    assert type(await _refusal(server.stub.Grade(iter(grade_requests(broken))))) is errors.UnreadableFile
    assert [entry["outcome"] for entry in logged if entry["event"] == "request"] == ["ok", "unreadable-file"]
    captured = capfd.readouterr()
    for word in (*PATIENT_WORDS, result.input.chosen_series or ""):
        assert word
        assert word not in str(logged) + captured.out + captured.err + str(list(data_dir.rglob("*")))


async def test_a_port_that_is_taken(server: Opened, grader: TruthGrader, data_dir: Path) -> None:
    port = int(server.target.rpartition(":")[2])
    with pytest.raises(errors.ServiceError, match="cannot listen"):
        async with grpc_server(server.services, Settings(data_dir=data_dir), "127.0.0.1", port):
            raise AssertionError


async def test_encryption_and_certificates_of_clients(
    grader: TruthGrader, data_dir: Path, tmp_path: Path, files: list[bytes]
) -> None:
    authority = make_authority(tmp_path / "ca.pem")
    cert, key = make_certificate(authority, tmp_path, "localhost")
    settings = {"tls_cert": cert, "tls_key": key, "grpc_client_ca": tmp_path / "ca.pem"}
    root = (tmp_path / "ca.pem").read_bytes()
    client_cert, client_key = make_certificate(authority, tmp_path, "client")
    async with serving_grpc(grader, data_dir, **settings) as server:
        target = f"localhost:{server.target.rpartition(':')[2]}"
        known = grpc.ssl_channel_credentials(root, client_key.read_bytes(), client_cert.read_bytes())
        async with grpc.aio.secure_channel(target, known) as channel:
            answer = await grading_pb2_grpc.GradingServiceStub(channel).Grade(iter(grade_requests(files)))
            assert answer.result.discs
        unknown = grpc.ssl_channel_credentials(root)
        async with grpc.aio.secure_channel(target, unknown) as channel:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await grading_pb2_grpc.GradingServiceStub(channel).GetResult(pb.GetResultRequest(), timeout=20)
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        with pytest.raises(grpc.aio.AioRpcError):  # in the clear
            await server.stub.GetResult(pb.GetResultRequest(), timeout=20)


async def test_the_door(grader: TruthGrader, data_dir: Path, files: list[bytes]) -> None:
    keys = KeyFile(data_dir / "keys.json")
    grading = keys.create("modality", frozenset({Scope.GRADE}), "4/hour")
    reading = keys.create("viewer", frozenset({Scope.READ}))

    def bearer(key: str) -> dict[str, Any]:
        return {"metadata": (("authorization", f"Bearer {key}"),)}

    async with serving_grpc(grader, data_dir, door="on") as server:
        stub = server.stub
        health: Any = health_pb2_grpc.HealthStub(server.channel)
        await health.Check(health_pb2.HealthCheckRequest())
        missing = pb.GetResultRequest(result_id="0" * 32)
        assert type(await _refusal(stub.Grade(iter(grade_requests(files))))) is errors.Unauthenticated
        assert type(await _refusal(stub.GetResult(missing))) is errors.Unauthenticated
        assert type(await _refusal(stub.GetResult(missing, **bearer("nonsense")))) is errors.Unauthenticated
        assert type(await _refusal(stub.Grade(iter(grade_requests(files)), **bearer(reading)))) is errors.Forbidden
        [refused] = [answer async for answer in stub.GradeBatch(iter(batch_requests("a", files)))]
        assert type(error_from(refused.error)) is errors.Unauthenticated
        answer = await stub.Grade(iter(grade_requests(files)), **bearer(grading))
        kept = pb.GetResultRequest(result_id=answer.result.result_id)
        assert type(await _refusal(stub.GetResult(kept, **bearer(grading)))) is errors.Forbidden
        assert (await stub.GetResult(kept, **bearer(reading))).result == answer.result
        while not isinstance(error := await _refusal(stub.GetResult(kept, **bearer(grading))), errors.RateLimited):
            assert type(error) is errors.Forbidden
        assert error.retry_after_seconds
    log = [json.loads(line) for line in (data_dir / "audit" / "log.jsonl").read_text().splitlines()]
    graded = [entry for entry in log if entry["action"] == "grade" and entry["outcome"] == "ok"]
    assert [(entry["who"], entry["result"]) for entry in graded] == [("key:modality", answer.result.result_id)]
    assert graded[0]["study"]


async def _refusal(call: Any) -> DiscgradeError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return problem_of(caught.value)
