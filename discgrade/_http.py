"""The HTTP API as data: what to send for each call, and how to read the answer. Clients only move the bytes."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Generic, TypeVar

import anyio.to_thread
import httpx

from discgrade._retry import retry_after_seconds
from discgrade.dicomweb import DicomwebReference, Study, StudyReference
from discgrade.errors import (
    DiscgradeError,
    InferenceTimeout,
    InferenceUnavailable,
    InputError,
    RateLimited,
    ServiceError,
)
from discgrade.job import Job, JobPage, JobState
from discgrade.result import GradingResult, ModelUsed

__all__ = [
    "Call",
    "Upload",
    "answered",
    "cancel",
    "delete",
    "failure",
    "file_of",
    "grade",
    "job",
    "jobs",
    "models",
    "ready",
    "result",
    "submit",
]

_CHUNK_BYTES = 256 * 1024
T = TypeVar("T")


class Upload:
    """A multipart/form-data body that is read from disk while it is sent; file names stay here.

    Args:
        files: What to send.
    """

    def __init__(self, files: Sequence[Path]) -> None:
        self._files = files
        self._boundary = uuid.uuid4().hex

    @property
    def headers(self) -> dict[str, str]:
        """Type and length of the body."""
        parts = (len(self._head) + path.stat().st_size + len(b"\r\n") for path in self._files)
        return {
            "Content-Type": f"multipart/form-data; boundary={self._boundary}",
            "Content-Length": str(sum(parts) + len(self._end)),
        }

    def __iter__(self) -> Iterator[bytes]:
        for path in self._files:
            yield self._head
            with path.open("rb") as file:
                while chunk := file.read(_CHUNK_BYTES):
                    yield chunk
            yield b"\r\n"
        yield self._end

    async def stream(self) -> AsyncIterator[bytes]:
        """The same for an event loop; the disk is read in a thread."""
        chunks = iter(self)
        while (chunk := await anyio.to_thread.run_sync(next, chunks, None)) is not None:
            yield chunk

    @property
    def _head(self) -> bytes:
        return (
            f'--{self._boundary}\r\nContent-Disposition: form-data; name="files"; filename="file"\r\n'
            "Content-Type: application/octet-stream\r\n\r\n"
        ).encode()

    @property
    def _end(self) -> bytes:
        return f"--{self._boundary}--\r\n".encode()


@dataclass(frozen=True)
class Call(Generic[T]):
    """One call of the API.

    Attributes:
        method: HTTP method.
        path: Path and query.
        read: Makes the value of a successful answer.
        files: What to upload.
        body: What to send as it is.
        headers: Further headers.
    """

    method: str
    path: str
    read: Callable[[httpx.Response], T]
    files: Sequence[Path] | None = None
    body: bytes | None = None
    headers: dict[str, str] = field(default_factory=dict)


def grade(study: Study) -> Call[GradingResult]:
    """``POST /v1/grade``."""
    return _carrying(study, Call("POST", "/v1/grade", _result))


def submit(study: Study, idempotency_key: str | None, webhook_url: str | None) -> Call[Job]:
    """``POST /v1/jobs``, safe to repeat."""
    headers = {"Idempotency-Key": idempotency_key or str(uuid.uuid4())}
    if webhook_url is not None:
        headers["Webhook-URL"] = webhook_url
    return _carrying(study, Call("POST", "/v1/jobs", _job, headers=headers))


def job(job_id: str) -> Call[Job]:
    """``GET /v1/jobs/{job_id}``."""
    return Call("GET", f"/v1/jobs/{job_id}", _job)


def cancel(job_id: str) -> Call[Job]:
    """``DELETE /v1/jobs/{job_id}``."""
    return Call("DELETE", f"/v1/jobs/{job_id}", _job)


def jobs(state: JobState | None, limit: int, cursor: str | None) -> Call[JobPage]:
    """``GET /v1/jobs``."""
    wanted = {"limit": str(limit), "state": state, "cursor": cursor}
    query = httpx.QueryParams({name: str(value) for name, value in wanted.items() if value is not None})
    return Call("GET", f"/v1/jobs?{query}", lambda answer: JobPage.model_validate_json(answer.content))


def result(result_id: str) -> Call[GradingResult]:
    """``GET /v1/results/{result_id}``."""
    return Call("GET", f"/v1/results/{result_id}", _result)


def file_of(result_id: str, name: str) -> Call[bytes]:
    """``GET /v1/results/{result_id}/…``."""
    return Call("GET", f"/v1/results/{result_id}/{name}", lambda answer: answer.content)


def delete(result_id: str) -> Call[None]:
    """``DELETE /v1/results/{result_id}``."""
    return Call("DELETE", f"/v1/results/{result_id}", lambda _: None)


def models() -> Call[list[ModelUsed]]:
    """``GET /v1/models``."""

    def read(answer: httpx.Response) -> list[ModelUsed]:
        return [ModelUsed.model_validate(model) for model in answer.json()["models"]]

    return Call("GET", "/v1/models", read)


def ready() -> Call[None]:
    """``GET /readyz``."""
    return Call("GET", "/readyz", lambda _: None)


def answered(call: Call[T], answer: httpx.Response) -> T:
    """Read an answer.

    Raises:
        DiscgradeError: What the server turned into a problem document.
    """
    if answer.is_success:
        try:
            return call.read(answer)
        except (ValueError, KeyError, TypeError):  # pydantic's errors are ValueErrors
            advice = "Install the version of discgrade that the server has."
            raise ServiceError("The server's answer does not fit the contract.", advice) from None
    after = retry_after_seconds(answer.headers.get("retry-after"), answer.headers.get("date"))
    try:
        problem = answer.json()
        kind = DiscgradeError.of_problem_type(problem["type"])
        if kind is not None:
            raise kind(problem["detail"], problem["advice"], after)
    except (ValueError, KeyError, TypeError):  # not ours: a proxy between us, or a newer server
        pass
    again: dict[int, type[DiscgradeError]] = {429: RateLimited, 503: InferenceUnavailable}
    family: type[DiscgradeError] = InputError if answer.is_client_error else ServiceError
    family = again.get(answer.status_code, family)
    raise family(f"The server answered with HTTP status {answer.status_code}.", retry_after_seconds=after)


def failure(error: httpx.TransportError) -> DiscgradeError:
    """What it means that no answer came."""
    if isinstance(error, httpx.TimeoutException):
        return InferenceTimeout("The server did not answer in time.")
    return InferenceUnavailable(
        "The server cannot be reached.", "Check the address, and that the server is running.", retry_after_seconds=0.0
    )


def _carrying(study: Study, call: Call[T]) -> Call[T]:
    if isinstance(study, DicomwebReference):
        body = StudyReference(dicomweb=study).model_dump_json().encode()
        return replace(call, body=body, headers={**call.headers, "Content-Type": "application/json"})
    return replace(call, files=study)


def _result(answer: httpx.Response) -> GradingResult:
    return GradingResult.model_validate_json(answer.content)


def _job(answer: httpx.Response) -> Job:
    return Job.model_validate_json(answer.content)
