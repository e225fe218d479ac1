"""What counts as an answer that keeps its promise."""

from __future__ import annotations

import time
from pathlib import Path

import httpx
import pytest

from discgrade.errors import Forbidden, Overloaded, RateLimited, UnreadableFile
from loadtest.records import Record
from loadtest.studies import Draw, Study
from loadtest.visits import HttpVisits, judged

PROBLEM = {"content-type": "application/problem+json"}


def problem(kind: type[Overloaded | RateLimited | UnreadableFile | Forbidden], **headers: str) -> httpx.Response:
    return httpx.Response(kind.status, json=kind("x").problem(), headers={**PROBLEM, **headers})


def overloaded(**headers: str) -> httpx.Response:
    return problem(Overloaded, **headers)


@pytest.mark.parametrize(
    ("answer", "gradable", "outcome", "reason"),
    [
        (httpx.Response(201, json={}), True, "ok", ""),
        (httpx.Response(200, content=b"png"), True, "ok", ""),
        (httpx.Response(201, json={}), False, "failed", "accepted"),
        (problem(UnreadableFile), False, "refused", "unreadable-file"),
        (problem(UnreadableFile), True, "failed", "422 unreadable-file"),
        (overloaded(**{"retry-after": "3"}), True, "overloaded", "overloaded"),
        (overloaded(**{"retry-after": "3"}), False, "overloaded", "overloaded"),
        (overloaded(), True, "failed", "overloaded without Retry-After"),
        (overloaded(**{"retry-after": "0"}), True, "failed", "overloaded without Retry-After"),
        (problem(RateLimited, **{"retry-after": "1"}), True, "limited", "rate-limited"),
        (httpx.Response(503, text="busy"), True, "failed", "503 without a problem document"),
        (httpx.Response(502, json={}, headers=PROBLEM), True, "failed", "502 without a problem document"),
    ],
    ids=[
        "result", "file", "bad-study-taken", "bad-study-refused", "good-study-refused", "come-back",
        "come-back-with-bad-study", "come-back-when", "come-back-now", "too-often", "no-document", "no-type",
    ],
)  # fmt: skip
def test_answers_are_judged(answer: httpx.Response, gradable: bool, outcome: str, reason: str) -> None:
    found = judged(answer, gradable=gradable)
    assert (found.outcome, found.reason) == (outcome, reason)
    if outcome in {"overloaded", "limited"}:
        assert found.retry_after_seconds >= 1


def test_latency_counts_from_the_arrival(tmp_path: Path) -> None:
    """Also where nobody answers: the whole wait is reported, and how late the generator was."""
    (tmp_path / "study").write_bytes(b"x")
    reported: list[Record] = []
    visits = HttpVisits("http://127.0.0.1:9", None, lambda record, size: reported.append(record))
    intended = time.monotonic() - 5.0
    answer = visits.visit(Draw(Study("zip", 15, (tmp_path / "study",)), "key"), intended)
    assert (answer.outcome, answer.reason) == ("failed", "ConnectError")
    (record,) = reported
    assert record.start == intended
    assert 5.0 <= record.late <= record.seconds
    assert (record.route, record.kind, record.slices) == ("POST /v1/grade", "zip", 15)
