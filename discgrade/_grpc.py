"""What both gRPC clients send and how they read the answers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
from google.rpc.status_pb2 import Status

from discgrade._messages import STATUS_TRAILER, error_from, from_message
from discgrade.dicomweb import DicomwebReference
from discgrade.errors import DiscgradeError, InferenceTimeout, InferenceUnavailable
from discgrade.result import GradingResult
from discgrade.v1 import grading_pb2 as pb

__all__ = [
    "OPTIONS",
    "BatchAnswer",
    "Tls",
    "batch_answer",
    "batch_requests",
    "error",
    "grade_requests",
    "reference_request",
]

_CHUNK_BYTES = 256 * 1024
OPTIONS = [
    ("grpc.max_receive_message_length", -1),  # the files of a result
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.max_reconnect_backoff_ms", 10_000),
]


@dataclass(frozen=True)
class Tls:
    """How the connection is encrypted.

    Attributes:
        authority: PEM file of who signed the server's certificate; the system's authorities when omitted.
        certificate: PEM file of the client's own certificate, for servers that ask for one (mutual TLS).
        key: PEM file of its private key.
    """

    authority: Path | None = None
    certificate: Path | None = None
    key: Path | None = None

    def credentials(self) -> grpc.ChannelCredentials:
        """What gRPC wants to have."""
        authority, key, certificate = (
            path.read_bytes() if path else None for path in (self.authority, self.key, self.certificate)
        )
        return grpc.ssl_channel_credentials(authority, key, certificate)


@dataclass(frozen=True)
class BatchAnswer:
    """What became of one study of a batch: either a result or an error.

    Attributes:
        study_id: As given by the caller.
        result: Set if it was graded.
        error: Set if it was not.
    """

    study_id: str
    result: GradingResult | None = None
    error: DiscgradeError | None = None


def _chunks(files: Sequence[Path]) -> Iterator[pb.FileChunk]:
    for number, path in enumerate(files):
        with path.open("rb") as file:
            while data := file.read(_CHUNK_BYTES):
                yield pb.FileChunk(file=number, data=data)
            if file.tell() == 0:
                yield pb.FileChunk(file=number)


def _total_bytes(files: Sequence[Path]) -> int:
    return sum(path.stat().st_size for path in files)


def grade_requests(files: Sequence[Path], failures: list[OSError]) -> Iterator[pb.GradeRequest]:
    """The messages of one study.

    Args:
        files: Read as they are sent.
        failures: Takes why a file could not be read: gRPC cancels the call without saying so.
    """
    try:
        total: int | None = _total_bytes(files)
        for chunk in _chunks(files):
            yield pb.GradeRequest(chunk=chunk, total_bytes=total)
            total = None
    except OSError as error:
        failures.append(error)
        raise


def reference_request(reference: DicomwebReference) -> pb.GradeRequest:
    """The only message of a study that is named instead of sent."""
    return pb.GradeRequest(dicomweb=pb.DicomwebReference(**reference.model_dump(exclude_none=True)))


def batch_requests(study_id: str, files: Sequence[Path]) -> Iterator[pb.GradeBatchRequest]:
    """The messages of one study of a batch; it is given up where a file cannot be read."""
    end = pb.StudyEnd()
    try:
        total: int | None = _total_bytes(files)
        for chunk in _chunks(files):
            yield pb.GradeBatchRequest(study_id=study_id, chunk=chunk, total_bytes=total)
            total = None
    except OSError:
        end.abandoned = True
    yield pb.GradeBatchRequest(study_id=study_id, end=end)


def batch_answer(answer: pb.GradeBatchResponse) -> BatchAnswer:
    """What became of one study."""
    if answer.WhichOneof("outcome") == "result":
        return BatchAnswer(answer.study_id, result=from_message(answer.result))
    return BatchAnswer(answer.study_id, error=error_from(answer.error))


def error(failure: grpc.RpcError | grpc.aio.AioRpcError) -> DiscgradeError:
    """The exception behind a failed call."""
    call: Any = failure
    code: grpc.StatusCode = call.code()
    details = dict(call.trailing_metadata() or ()).get(STATUS_TRAILER)
    if isinstance(details, bytes):
        return error_from(Status.FromString(details))
    if code is grpc.StatusCode.UNAVAILABLE:
        return InferenceUnavailable(
            "The server cannot be reached.",
            "Check the address, that the server is running, and whether it wants TLS.",
            retry_after_seconds=0.0,
        )
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return InferenceTimeout("The server did not answer in time.")
    return error_from(Status(code=code.value[0]))
