"""What callers do: over HTTP, by jobs and over gRPC. Each request is judged and reported."""

from __future__ import annotations

import random
import ssl
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import httpx

from discgrade.errors import DiscgradeError, InputError, Overloaded, RateLimited
from discgrade.grpc_client import NO_RETRY, GrpcClient, Tls
from loadtest.records import JOB, Record
from loadtest.studies import Draw

__all__ = ["Answer", "GrpcVisits", "HttpVisits", "JobVisits", "Report", "Visits", "judged"]

_FIRST_POLL_SECONDS, _LONGEST_POLL_SECONDS = 0.5, 5.0  # as discgrade's own clients
_JOB_SECONDS = 900.0
_ANSWER_SECONDS = 300.0

_VIEWS: tuple[tuple[float, bool, tuple[str, ...]], ...] = (
    (0.5, False, ("segmentation.nii.gz", "image.nii.gz")),
    (0.3, True, ("segmentation.dcm", "report.sr.dcm")),
    (0.3, False, ("overlay.png",)),
)
"""Share of the results, whether only those of DICOM, and files: opened in a viewer, filed in a PACS, looked at."""


@dataclass(frozen=True)
class Answer:
    """What became of a request.

    Attributes:
        outcome: One of :data:`loadtest.records.OUTCOMES`.
        reason: Why it failed, or the problem's type; empty otherwise.
        retry_after_seconds: When to come back, where the server said so.
        body: JSON of the answer, or the result's id.
    """

    outcome: str
    reason: str = ""
    retry_after_seconds: float = 0.0
    body: Any = None


Report = Callable[[Record, int], None]
"""Told each request and the bytes of its answer."""


class Visits(Protocol):
    """A way in."""

    def visit(self, draw: Draw, intended: float) -> Answer:
        """Send a study, and do what its sender does afterwards.

        Args:
            draw: The study.
            intended: When it arrived, in s of the monotonic clock; latency counts from here.

        Returns:
            What became of the request that sent it.
        """


def judged(answer: httpx.Response, *, gradable: bool = True) -> Answer:
    """Judge an HTTP answer: every refusal is a problem document, and 429 and 503 say when to come back.

    Args:
        answer: Its body is read.
        gradable: Whether the request was one that should succeed; else it should be refused.
    """
    is_json = answer.headers.get("content-type", "").partition(";")[0] in {"application/json", _PROBLEM}
    body = answer.json() if is_json else None
    if answer.is_success:
        return Answer("ok" if gradable else "failed", "" if gradable else "accepted", body=body)
    kind = body.get("type") if isinstance(body, dict) else None
    if answer.headers.get("content-type") != _PROBLEM or not isinstance(kind, str):
        return Answer("failed", f"{answer.status_code} without a problem document")
    slug = kind.rpartition(":")[2]
    wait = answer.headers.get("retry-after", "")
    for error, outcome in ((Overloaded, "overloaded"), (RateLimited, "limited")):
        if slug == error.slug and answer.status_code == error.status:
            if not wait.isdecimal() or int(wait) < 1:
                return Answer("failed", f"{slug} without Retry-After")
            return Answer(outcome, slug, float(wait))
    if not gradable and answer.is_client_error:
        return Answer("refused", slug)
    return Answer("failed", f"{answer.status_code} {slug}")


_PROBLEM = "application/problem+json"


class _Bodies:
    """Multipart bodies, encoded once: the load generator shares the machine with what it loads."""

    def __init__(self) -> None:
        self._encoded: dict[tuple[Path, ...], tuple[bytes, dict[str, str]]] = {}

    def of(self, files: tuple[Path, ...]) -> tuple[bytes, dict[str, str]]:
        if files not in self._encoded:
            parts = [("files", (f"{number:04d}", path.read_bytes())) for number, path in enumerate(files)]
            request = httpx.Request("POST", "http://any", files=parts)
            self._encoded[files] = request.read(), {"Content-Type": request.headers["content-type"]}
        return self._encoded[files]


class _Http:
    """Asks over HTTP, each visit on a connection of its own, as callers that do not know of each other."""

    def __init__(self, url: str, api_key: str | None, report: Report) -> None:
        self._url = url
        self._headers = {} if api_key is None else {"Authorization": f"Bearer {api_key}"}
        self._tls = ssl.create_default_context()
        self._report = report
        self.bodies = _Bodies()

    @contextmanager
    def connected(self) -> Iterator[httpx.Client]:
        """A connection; the environment's proxies are not used."""
        transport = httpx.HTTPTransport(verify=self._tls)
        with httpx.Client(
            base_url=self._url, headers=self._headers, transport=transport, timeout=_ANSWER_SECONDS
        ) as client:
            yield client

    def ask(
        self,
        client: httpx.Client,
        method: str,
        path: str,
        route: str,
        *,
        draw: Draw | None = None,
        intended: float | None = None,
        headers: dict[str, str] | None = None,
    ) -> Answer:
        """Make one request; with a draw, it carries that study."""
        began = time.monotonic()
        start = began if intended is None else intended
        gradable, body, sent = True, b"", headers or {}
        if draw is not None:
            gradable = draw.study.gradable or route == _SUBMIT
            body, kind = self.bodies.of(draw.study.files)
            sent = {**sent, **kind}
        size = 0
        try:
            response = client.request(method, path, content=body, headers=sent)
            size = len(response.content)
            answer = judged(response, gradable=gradable)
        except httpx.HTTPError as error:
            answer = Answer("failed", type(error).__name__)
        self.report(f"{method} {route}", answer, start, began, size, draw)
        return answer

    def report(
        self, route: str, answer: Answer, start: float, began: float, size: int = 0, draw: Draw | None = None
    ) -> None:
        """Report a request that ended now."""
        study = None if draw is None else draw.study
        self._report(
            Record(
                start,
                began - start,
                time.monotonic() - start,
                route,
                answer.outcome,
                "" if study is None else study.kind,
                0 if study is None else study.slices,
                answer.reason,
            ),
            size,
        )

    def view(self, client: httpx.Client, draw: Draw, result_id: str) -> None:
        """Fetch files of a result as its users do."""
        for name in _viewed(draw):
            self.ask(client, "GET", f"/v1/results/{result_id}/{name}", f"/v1/results/{{id}}/{name}")


_SUBMIT = "/v1/jobs"


def _viewed(draw: Draw) -> Sequence[str]:
    rng = random.Random(draw.key)
    chosen: list[str] = []
    for share, dicom_only, names in _VIEWS:
        if rng.random() < share and (draw.study.dicom or not dicom_only):
            chosen += names
    return chosen


class HttpVisits:
    """``POST /v1/grade``, then the result's files.

    Args:
        url: Base URL of the server.
        api_key: For servers whose door is on.
        report: Told each request.
    """

    def __init__(self, url: str, api_key: str | None, report: Report) -> None:
        self._http = _Http(url, api_key, report)

    def visit(self, draw: Draw, intended: float) -> Answer:
        """Have a study graded while its sender waits."""
        with self._http.connected() as client:
            answer = self._http.ask(client, "POST", "/v1/grade", "/v1/grade", draw=draw, intended=intended)
            if answer.outcome == "ok":
                self._http.view(client, draw, answer.body["result_id"])
        return answer


class JobVisits:
    """``POST /v1/jobs`` with an idempotency key, asked for until it ended, then the result and its files.

    Args:
        url: Base URL of the server.
        api_key: For servers whose door is on.
        report: Told each request, and once for the whole job.
    """

    def __init__(self, url: str, api_key: str | None, report: Report) -> None:
        self._http = _Http(url, api_key, report)

    def visit(self, draw: Draw, intended: float) -> Answer:
        """Hand a study in and wait for its end."""
        key = {"Idempotency-Key": draw.key}
        with self._http.connected() as client:
            accepted = self._http.ask(client, "POST", _SUBMIT, _SUBMIT, draw=draw, intended=intended, headers=key)
        if accepted.outcome == "ok":
            ended = self._ended(accepted.body["job_id"], draw)
            self._http.report(JOB, ended, intended, intended, draw=draw)
            if ended.outcome == "ok":
                with self._http.connected() as client:
                    result = ended.body["result_id"]
                    self._http.ask(client, "GET", f"/v1/results/{result}", "/v1/results/{id}")
                    self._http.view(client, draw, result)
        return accepted

    def _ended(self, job_id: str, draw: Draw) -> Answer:
        """Ask until the job has ended."""
        deadline, pause = time.monotonic() + _JOB_SECONDS, _FIRST_POLL_SECONDS
        while time.monotonic() < deadline:
            time.sleep(pause)
            pause = min(1.5 * pause, _LONGEST_POLL_SECONDS)
            with self._http.connected() as client:
                answer = self._http.ask(client, "GET", f"/v1/jobs/{job_id}", "/v1/jobs/{id}")
            if answer.outcome in {"overloaded", "limited"}:
                time.sleep(answer.retry_after_seconds)
                continue
            if answer.outcome != "ok":
                return answer
            state = answer.body["state"]
            if state == "succeeded":
                return Answer("ok" if draw.study.gradable else "failed", body=answer.body)
            if state == "failed" and not draw.study.gradable and answer.body["problem"]["status"] < 500:
                return Answer("refused", answer.body["problem"]["type"].rpartition(":")[2])
            if state in {"failed", "cancelled"}:
                return Answer("failed", f"job {state}")
        return Answer("failed", "job did not end")


class GrpcVisits:
    """``Grade`` on the stub of ``discgrade.v1``, then ``GetResult`` with files.

    Args:
        target: ``host:port``.
        tls: How the connection is encrypted; in the clear when None.
        api_key: For servers whose door is on.
        report: Told each call.
    """

    def __init__(self, target: str, tls: Tls | None, api_key: str | None, report: Report) -> None:
        self._client = GrpcClient(target, _ANSWER_SECONDS, tls=tls, api_key=api_key, retry=NO_RETRY)
        self._report = report

    def visit(self, draw: Draw, intended: float) -> Answer:
        """Have a study graded while its sender waits."""
        answer = self._ask("Grade", lambda: self._client.grade(list(draw.study.files)), draw, intended)
        if answer.outcome == "ok" and "segmentation.nii.gz" in _viewed(draw):
            result_id = answer.body.result_id
            self._ask("GetResult", lambda: self._client.segmentation(result_id))
        return answer

    def _ask(
        self, method: str, call: Callable[[], Any], draw: Draw | None = None, intended: float | None = None
    ) -> Answer:
        began = time.monotonic()
        start = began if intended is None else intended
        gradable = draw is None or draw.study.gradable
        size = 0
        try:
            body = call()
            size = len(body) if isinstance(body, bytes) else 0
            answer = Answer("ok" if gradable else "failed", "" if gradable else "accepted", body=body)
        except DiscgradeError as error:
            answer = _of_error(error, gradable=gradable)
        kind, slices = ("", 0) if draw is None else (draw.study.kind, draw.study.slices)
        seconds = time.monotonic() - start
        self._report(Record(start, began - start, seconds, method, answer.outcome, kind, slices, answer.reason), size)
        return answer


def _of_error(error: DiscgradeError, *, gradable: bool) -> Answer:
    for kind, outcome in ((Overloaded, "overloaded"), (RateLimited, "limited")):
        if isinstance(error, kind):
            if not error.retry_after_seconds:
                return Answer("failed", f"{error.slug} without a time to come back")
            return Answer(outcome, error.slug, error.retry_after_seconds)
    if isinstance(error, InputError) and not gradable:
        return Answer("refused", error.slug)
    return Answer("failed", error.slug)
