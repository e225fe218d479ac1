"""Sends the open studies of a journal as jobs, a few at a time, and notes what becomes of each."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator

from discgrade._batch.journal import Journal, State
from discgrade._retry import Retry
from discgrade.client import AsyncClient
from discgrade.errors import (
    Conflict,
    DiscgradeError,
    Forbidden,
    NotFound,
    RateLimited,
    Unauthenticated,
    UnreadableFile,
)
from discgrade.job import Job, JobState

__all__ = ["PATIENT", "run"]

PATIENT = Retry(attempts=12, first_seconds=0.5, longest_seconds=60.0)
"""Sits out a restart of the server of some minutes."""

_FIRST_POLL_SECONDS = 0.1
_LONGEST_POLL_SECONDS = 2.0
_AWAY = 503
_CANCELLED = json.dumps(Conflict("The job was cancelled.", "Run the batch with --retry-failed.").problem())


async def run(journal: Journal, client: AsyncClient, at_once: int, tell: Callable[[State], None]) -> None:
    """Grade what is open.

    Args:
        journal: Holds the studies.
        client: Of the server; best with :data:`PATIENT`.
        at_once: Most studies sent or waited for at a time.
        tell: Told how each study ended.

    Raises:
        DiscgradeError: No other study would fare better: the server is away or full, or refuses the caller.
    """
    studies = iter(journal.open_studies())
    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(at_once):
                group.create_task(_work(journal, client, studies, tell))
    except* DiscgradeError as errors:
        raise errors.exceptions[0] from None


async def _work(journal: Journal, client: AsyncClient, studies: Iterator[str], tell: Callable[[State], None]) -> None:
    for study in studies:
        try:
            problem = await _grade(journal, client, study)
        except DiscgradeError as error:
            if isinstance(error, Unauthenticated | Forbidden | RateLimited) or error.status == _AWAY:
                raise
            problem = json.dumps(error.problem())
        except OSError as error:
            unread = UnreadableFile(f"A file cannot be read: {error.strerror}.", "Check its permissions and its disk.")
            problem = json.dumps(unread.problem())
        if problem is not None:
            journal.failed(study, problem)
        tell(State.GRADED if problem is None else State.FAILED)


async def _grade(journal: Journal, client: AsyncClient, study: str) -> str | None:
    """Grade one study, going on with the job of an earlier run; returns a problem document if it failed."""
    for turn in (1, 2):
        job_id = journal.job_of(study)
        if job_id is None:
            job = await client.submit(journal.files_of(study), idempotency_key=journal.idempotency_key(study))
            journal.submitted(study, job_id := job.job_id)
        try:
            job = await _ended(client, job_id)
            if job.state is not JobState.SUCCEEDED:
                return _CANCELLED if job.problem is None else job.problem.model_dump_json()
            result = await client.result(str(job.result_id))
        except NotFound:  # the server kept it no longer, or it is another server
            journal.restart(study)
            if turn == 2:
                raise
        else:
            journal.graded(study, result.model_dump_json())
            return None
    raise AssertionError


async def _ended(client: AsyncClient, job_id: str) -> Job:
    pause = _FIRST_POLL_SECONDS
    while not (job := await client.job(job_id)).state.ended:
        await asyncio.sleep(pause)
        pause = min(pause * 1.5, _LONGEST_POLL_SECONDS)
    return job
