"""The app with its gRPC server, in the process and event loop of the test."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
from google.rpc.status_pb2 import Status

from discgrade._messages import STATUS_TRAILER, error_from
from discgrade.errors import DiscgradeError
from discgrade.v1 import grading_pb2 as pb
from discgrade.v1 import grading_pb2_grpc
from gateway.app import Services, create_app
from gateway.grpc_server import grpc_server
from gateway.settings import Settings
from tests.support.truth import TruthGrader

CHUNK_BYTES = 100_000


@dataclass
class Opened:
    """A running gRPC server and a channel to it."""

    target: str
    channel: grpc.aio.Channel
    services: Services

    @property
    def stub(self) -> Any:
        return grading_pb2_grpc.GradingServiceStub(self.channel)


OpenGrpc = Callable[..., AbstractAsyncContextManager[Opened]]


@asynccontextmanager
async def serving_grpc(grader: TruthGrader, data_dir: Path, **settings: Any) -> AsyncIterator[Opened]:
    """Run the app; keyword arguments are settings."""
    chosen = Settings.model_validate(
        {"data_dir": data_dir, "cpu_workers": 2, "shutdown_seconds": 1, "run_worker": False, **settings}
    )
    targets: list[tuple[str, Services]] = []

    @asynccontextmanager
    async def beside(services: Services) -> AsyncIterator[None]:
        async with grpc_server(services, chosen, "127.0.0.1", 0) as target:
            targets.append((target, services))
            yield

    app = create_app(chosen, lambda: grader, lambda: grader.lost, beside=beside)
    async with app.router.lifespan_context(app):
        [(target, services)] = targets
        async with grpc.aio.insecure_channel(target) as channel:
            yield Opened(target, channel, services)


def chunks(files: Iterable[bytes]) -> list[pb.FileChunk]:
    return [
        pb.FileChunk(file=number, data=content[start : start + CHUNK_BYTES])
        for number, content in enumerate(files)
        for start in range(0, max(len(content), 1), CHUNK_BYTES)
    ]


def grade_requests(files: Iterable[bytes]) -> list[pb.GradeRequest]:
    return [pb.GradeRequest(chunk=chunk) for chunk in chunks(files)]


def batch_requests(study_id: str, files: Iterable[bytes]) -> list[pb.GradeBatchRequest]:
    end = pb.GradeBatchRequest(study_id=study_id, end=pb.StudyEnd())
    return [*(pb.GradeBatchRequest(study_id=study_id, chunk=chunk) for chunk in chunks(files)), end]


def problem_of(error: grpc.aio.AioRpcError) -> DiscgradeError:
    """The exception that the server turned into a failed call."""
    details = dict(error.trailing_metadata() or ())[STATUS_TRAILER]
    assert isinstance(details, bytes)
    status = Status.FromString(details)
    assert status.code == error.code().value[0]
    assert status.message == error.details()
    return error_from(status)


def files_of_studies(data_dir: Path) -> list[Path]:
    """Spooled uploads and kept results."""
    return [path for name in ("spool", "results") for path in (data_dir / name).rglob("*") if path.is_file()]


async def until(happens: Callable[[], bool]) -> None:
    """Let the loop run until something is so."""
    async with asyncio.timeout(30):
        while not happens():
            await asyncio.sleep(0.01)
