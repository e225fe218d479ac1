"""Has studies graded by the gateway, whatever is restarted in between, and puts the results into the outbox."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import structlog

from discgrade.client import NO_RETRY, AsyncClient
from discgrade.errors import DiscgradeError, InputError, NotFound
from discgrade.job import Job, JobState
from gateway.dicom_node.inbox import Inbox, Revision, State
from gateway.dicom_node.metrics import NodeMetrics
from gateway.dicom_node.outbox import Outbox
from gateway.dicom_node.settings import NodeSettings
from gateway.logs import trace

__all__ = ["Grading"]

_POLL_SECONDS = 1.0
_LONGEST_WAIT_SECONDS = 300.0
_NOT_THE_STUDY = (401, 403, 408, 429)
_ROUNDS = 20  # five minutes apart: longer than a restart of the house, shorter than for ever


class Grading:
    """Moves each revision on: submitted, followed, its objects fetched.

    Args:
        settings: The node's.
        inbox: The studies.
        outbox: Where results go.
        metrics: Where is counted.
    """

    def __init__(self, settings: NodeSettings, inbox: Inbox, outbox: Outbox, metrics: NodeMetrics) -> None:
        self._settings = settings
        self._inbox = inbox
        self._outbox = outbox
        self._metrics = metrics

    async def step(self) -> None:
        """Do what is due now."""
        due = self._inbox.due()
        if not due:
            return
        async with AsyncClient(
            self._settings.gateway_url,
            self._settings.gateway_timeout_seconds,
            api_key=_secret(self._settings.api_key_file),
            retry=NO_RETRY,  # a revision is tried again when it is due, also after a restart
        ) as client:
            await asyncio.gather(*(self._move(client, revision) for revision in due))

    async def _move(self, client: AsyncClient, revision: Revision) -> None:
        try:
            if revision.result_id is not None:
                await self._fetch(client, revision, revision.result_id)
            elif revision.job_id is not None:
                await self._follow(client, revision, revision.job_id)
            else:
                await self._submit(client, revision)
        except DiscgradeError as error:
            self._failed(revision, error)
        except OSError as error:  # our disk
            structlog.get_logger().error("disk", error=trace(error))
            self._again(revision, "disk", 0.0)

    async def _submit(self, client: AsyncClient, revision: Revision) -> None:
        files = self._inbox.files(revision)
        job = await client.submit(files, idempotency_key=self._inbox.idempotency_key(revision))
        self._inbox.move(revision, State.GRADING, job_id=job.job_id, attempts=0, due=0.0)
        self._say("submitted", revision, objects=len(files), job=job.job_id)

    async def _follow(self, client: AsyncClient, revision: Revision, job_id: str) -> None:
        job = await client.job(job_id)
        if not job.state.ended:
            self._inbox.move(revision, State.GRADING, attempts=0, due=time.time() + _POLL_SECONDS)
        elif job.state is JobState.SUCCEEDED:
            self._inbox.move(revision, State.GRADED, result_id=job.result_id, attempts=0, due=0.0)
        else:
            self._job_failed(revision, job)

    def _job_failed(self, revision: Revision, job: Job) -> None:
        problem = "cancelled" if job.problem is None else job.problem.type.rpartition(":")[2]
        if job.problem is None or job.problem.status < 500:
            self._end(revision, problem)
        else:
            self._next_round(revision, problem)

    async def _fetch(self, client: AsyncClient, revision: Revision, result_id: str) -> None:
        places = {name: self._settings.destinations[name] for name in self._settings.routes(revision.callers)}
        fetch: dict[str, Callable[[str], Awaitable[bytes]]] = {
            "segmentation.dcm": client.dicom_segmentation,
            "report.sr.dcm": client.dicom_report,
            "overlay.dcm": client.dicom_overlay,
            "report.pdf.dcm": client.dicom_pdf,
        }
        await client.result(result_id)  # gone as a whole is another matter than without one of its objects
        objects: dict[str, bytes] = {}
        for name in sorted({name for place in places.values() for name in place.objects}):
            try:
                objects[name] = await fetch[name](result_id)
            except NotFound:
                self._metrics.missing.labels(name).inc()
                structlog.get_logger().warning("object missing", study=revision.study, object=name)
        added = self._outbox.put(revision, objects, {name: place.objects for name, place in places.items()})
        self._metrics.graded.labels("ok").inc()
        self._say("graded", revision, result=result_id, deliveries=added)

    def _failed(self, revision: Revision, error: DiscgradeError) -> None:
        """The gateway did not do what it was asked for."""
        self._metrics.gateway.labels(error.slug).inc()
        if isinstance(error, NotFound):  # it lost the job, or removed the result already
            self._next_round(revision, error.slug)
        elif isinstance(error, InputError) and error.status not in _NOT_THE_STUDY:
            self._end(revision, error.slug)
        else:
            self._again(revision, error.slug, error.retry_after_seconds or 0.0)

    def _again(self, revision: Revision, problem: str, after_seconds: float) -> None:
        attempts = revision.attempts + 1
        wait = min(2.0 ** min(attempts, 20), _LONGEST_WAIT_SECONDS) * random.uniform(0.5, 1.0)
        wait = max(wait, after_seconds)
        state = State.GRADED if revision.result_id else State.GRADING if revision.job_id else State.WAITING
        self._inbox.move(revision, state, attempts=attempts, due=time.time() + wait, problem=problem)
        self._say("gateway failed", revision, problem=problem, wait_seconds=round(wait, 1))

    def _next_round(self, revision: Revision, problem: str) -> None:
        number = revision.round + 1
        if number >= _ROUNDS:
            self._end(revision, problem)
            return
        wait = min(2.0**number, _LONGEST_WAIT_SECONDS)
        self._inbox.move(
            revision,
            State.WAITING,
            **{"round": number, "job_id": None, "result_id": None, "problem": problem, "due": time.time() + wait},
        )
        self._say("to be graded once more", revision, problem=problem, wait_seconds=wait)

    def _end(self, revision: Revision, problem: str) -> None:
        self._inbox.move(revision, State.FAILED, problem=problem)
        self._metrics.graded.labels(problem).inc()
        self._say("not graded", revision, problem=problem)

    def _say(self, event: str, revision: Revision, **values: object) -> None:
        structlog.get_logger().info(event, study=revision.study, revision=revision.revision, **values)


def _secret(path: Path | None) -> str | None:
    return None if path is None else path.read_text().strip()
