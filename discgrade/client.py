"""A client of the HTTP API."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx

from discgrade.errors import DiscgradeError, InferenceTimeout, InferenceUnavailable, InputError, ServiceError
from discgrade.result import GradingResult, ModelUsed

__all__ = ["Client"]

_CHUNK_BYTES = 256 * 1024


class Client:
    """Talks to a discgrade server; a context manager.

    Args:
        url: Base URL, such as ``http://127.0.0.1:8000``.
        timeout_seconds: Longest wait for the server's next bytes.
        transport: How requests travel; httpx's own when omitted.
    """

    def __init__(self, url: str, timeout_seconds: float = 300.0, transport: httpx.BaseTransport | None = None) -> None:
        self._http = httpx.Client(base_url=url, timeout=timeout_seconds, transport=transport)

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def grade(self, files: Sequence[Path]) -> GradingResult:
        """Send a study and wait for its result.

        Args:
            files: DICOM files, or one zip of them, or one NIfTI file. They are read piece by piece, and their names
                stay here.

        Raises:
            discgrade.errors.DiscgradeError: The server refused the study or failed, as the subclass says.
        """
        boundary = uuid.uuid4().hex
        headers = {
            "Content-Type": f"multipart/form-data; boundary={boundary}",
            "Content-Length": str(sum(_part_length(boundary, path) for path in files) + len(_end(boundary))),
        }
        answer = self._send("POST", "/v1/grade", content=_multipart(boundary, files), headers=headers)
        return GradingResult.model_validate_json(answer.content)

    def result(self, result_id: str) -> GradingResult:
        """Fetch a kept result."""
        return GradingResult.model_validate_json(self._send("GET", f"/v1/results/{result_id}").content)

    def segmentation(self, result_id: str) -> bytes:
        """Fetch a result's label image: a gzipped NIfTI-1 file."""
        return self._send("GET", f"/v1/results/{result_id}/segmentation.nii.gz").content

    def overlay(self, result_id: str) -> bytes:
        """Fetch a result's picture: a PNG file."""
        return self._send("GET", f"/v1/results/{result_id}/overlay.png").content

    def models(self) -> list[ModelUsed]:
        """List the models that grade."""
        return [ModelUsed.model_validate(model) for model in self._send("GET", "/v1/models").json()["models"]]

    def ready(self) -> bool:
        """Whether the server could grade now; False also while it cannot be reached."""
        try:
            self._send("GET", "/readyz")
        except ServiceError:
            return False
        return True

    def _send(self, method: str, path: str, **request: Any) -> httpx.Response:
        try:
            answer = self._http.request(method, path, **request)
        except httpx.TimeoutException as error:
            raise InferenceTimeout("The server did not answer in time.") from error
        except httpx.TransportError as error:
            raise InferenceUnavailable(
                "The server cannot be reached.", "Check the address, and that the server is running."
            ) from error
        if answer.is_success:
            return answer
        raise _error(answer)


def _part_head(boundary: str) -> bytes:
    return (
        f'--{boundary}\r\nContent-Disposition: form-data; name="files"; filename="file"\r\n'
        "Content-Type: application/octet-stream\r\n\r\n"
    ).encode()


def _end(boundary: str) -> bytes:
    return f"--{boundary}--\r\n".encode()


def _part_length(boundary: str, path: Path) -> int:
    return len(_part_head(boundary)) + path.stat().st_size + len(b"\r\n")


def _multipart(boundary: str, files: Iterable[Path]) -> Iterator[bytes]:
    for path in files:
        yield _part_head(boundary)
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                yield chunk
        yield b"\r\n"
    yield _end(boundary)


def _error(answer: httpx.Response) -> DiscgradeError:
    """The exception that the server turned into this problem document."""
    kinds = {kind.problem_type(): kind for kind in _tree(DiscgradeError)}
    try:
        problem = answer.json()
        kind = kinds[problem["type"]]
        return kind(problem["detail"], problem["advice"])
    except (ValueError, KeyError, TypeError):  # not ours: a proxy between us, or a newer server
        family = InputError if answer.is_client_error else ServiceError
        return family(f"The server answered with HTTP status {answer.status_code}.")


def _tree(kind: type[DiscgradeError]) -> Iterator[type[DiscgradeError]]:
    yield kind
    for child in kind.__subclasses__():
        yield from _tree(child)
