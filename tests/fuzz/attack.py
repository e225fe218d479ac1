"""Sends damaged uploads, and requests made from the API description, and judges the answers."""

from __future__ import annotations

import asyncio
import subprocess
import sysconfig
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from discgrade import errors
from discgrade.client import Client
from discgrade.job import JobState
from discgrade.result import GradingResult
from tests.fuzz.corpus import CONTENT_TYPE, Case, make_case

__all__ = ["Findings", "bombard", "explore"]

_TYPES = {getattr(errors, name).problem_type() for name in errors.__all__}
_TIMEOUT_SECONDS = 120.0
_OF_JOBS = """
[[operations]]
include-name = "POST /v1/jobs"
checks.negative_data_rejection.enabled = false
"""


@dataclass
class Findings:
    """What came back.

    Attributes:
        outcomes: Answers by ``graded`` or the last part of the problem type.
        wrong: Cases that were not answered as they must be: number, origin and what happened.
    """

    outcomes: Counter[str] = field(default_factory=Counter)
    wrong: list[tuple[int, str, str]] = field(default_factory=list)

    @property
    def uploads(self) -> int:
        """How many were answered."""
        return self.outcomes.total() + len(self.wrong)


async def bombard(
    url: str,
    key: str,
    numbers: Iterator[int],
    *,
    seed: int,
    connections: int,
    tick: Callable[[Findings], None] = lambda findings: None,
) -> Findings:
    """Post cases until the numbers end.

    Args:
        url: Base URL of the server.
        key: API key with the scope to grade.
        numbers: Which cases.
        seed: Of the cases.
        connections: Uploads at a time.
        tick: Called after each answer.
    """
    findings = Findings()

    async def send(client: httpx.AsyncClient) -> None:
        for number in numbers:
            case = make_case(number, seed)
            outcome, fault = await _post(client, case)
            if fault is None:
                findings.outcomes[outcome] += 1
            else:
                findings.wrong.append((number, case.origin, fault))
            tick(findings)

    transport = httpx.AsyncHTTPTransport(limits=httpx.Limits(max_connections=connections))
    headers = {"Authorization": f"Bearer {key}"}
    async with httpx.AsyncClient(
        base_url=url, headers=headers, timeout=_TIMEOUT_SECONDS, transport=transport
    ) as client:
        await asyncio.gather(*(send(client) for _ in range(connections)))
    return findings


async def _post(client: httpx.AsyncClient, case: Case) -> tuple[str, str | None]:
    """The outcome, and what is wrong with the answer."""
    try:
        answer = await client.post("/v1/grade", content=case.body, headers={"Content-Type": CONTENT_TYPE})
    except httpx.HTTPError as error:
        return "", f"no answer: {type(error).__name__}"
    if answer.status_code == 201:
        try:
            GradingResult.model_validate_json(answer.content)
        except ValueError:
            return "", "201 with something that is no result"
        return "graded", None
    try:
        problem = answer.json()
        kind, status = str(problem["type"]), int(problem["status"])
    except (ValueError, KeyError, TypeError):
        return "", f"{answer.status_code} with something that is no problem document"
    if not 400 <= answer.status_code < 500 or status != answer.status_code or kind not in _TYPES:
        return "", f"{answer.status_code} {kind} {problem.get('request_id')}"
    return kind.rpartition(":")[2], None


def explore(url: str, key: str, folder: Path, examples: int) -> subprocess.CompletedProcess[str]:
    """Run schemathesis over the API description, and wait for the jobs it left.

    Its exit status tells whether the API keeps to the description.

    Not asked for: that any bytes are accepted as an upload, as far as the description can say; that a job is gone
    once it is deleted, which cancels it; and, of jobs, that an upload of another type than the description's is refused
    at once: in a form every value is bytes, and a job's are read when its turn comes.

    Args:
        url: Base URL of the server.
        key: API key with every scope.
        folder: Where it may write.
        examples: Most examples for each operation.
    """
    settings = folder / "schemathesis.toml"
    settings.write_text(_OF_JOBS)
    command = [
        str(Path(sysconfig.get_path("scripts"), "schemathesis")),
        *("--config-file", str(settings)),
        *("run", f"{url}/openapi.json"),
        *("--header", f"Authorization: Bearer {key}"),
        *("--exclude-checks", "positive_data_acceptance,use_after_free"),
        *("--max-examples", str(examples)),
        *("--request-timeout", str(_TIMEOUT_SECONDS)),
        "--generation-deterministic",
        "--no-color",
    ]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    with Client(url, api_key=key) as client:
        for state in (JobState.QUEUED, JobState.RUNNING):
            for job in client.all_jobs(state):
                client.wait(job.job_id)
    return done
