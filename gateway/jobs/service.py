"""What the routes do with jobs: submit, follow, cancel, list; and what is swept away.

It only reads and writes the database, so every gateway can do it, with or without a worker of its own.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from dbos import DBOS, DBOSClient, EnqueueOptions, PortableWorkflowError, WorkflowStatus, error
from sqlalchemy.exc import SQLAlchemyError

from discgrade.errors import Conflict, InferenceFailed, NotFound, Overloaded, ServiceError, StorageUnavailable
from discgrade.job import Job, JobPage, JobProblem, JobProgress, JobState
from gateway.jobs import cursor
from gateway.jobs.engine import APPLICATION, DELIVER, GRADE, JOBS, SERIALIZER, WEBHOOKS
from gateway.jobs.webhooks import Webhooks
from gateway.jobs.workflows import JobSpec, webhook_workflow_id
from gateway.metrics import STAGES
from gateway.storage import Storage, new_result_id
from gateway.workers import Workers

__all__ = ["STATUSES", "Jobs", "job_id_of"]

T = TypeVar("T")

STATUSES = {
    JobState.QUEUED: ["ENQUEUED", "DELAYED"],
    JobState.RUNNING: ["PENDING"],
    JobState.SUCCEEDED: ["SUCCESS"],
    JobState.FAILED: ["ERROR", "MAX_RECOVERY_ATTEMPTS_EXCEEDED"],
    JobState.CANCELLED: ["CANCELLED"],
}
"""dbos's names of each state."""
_STATES = {status: state for state, statuses in STATUSES.items() for status in statuses}
_LIVE = STATUSES[JobState.QUEUED] + STATUSES[JobState.RUNNING]
_WORK = STAGES[1:]
_ORPHAN_SECONDS = 3600.0
"""Age of an upload that no job waits for; younger ones may be about to get theirs."""
_SWEPT_AT_ONCE = 500


def job_id_of(principal: str, idempotency_key: str | None) -> str:
    """The id of a new job, or the one that the same caller got for the same key before."""
    if idempotency_key is None:
        return new_result_id()
    return hashlib.sha256(f"job\0{principal}\0{idempotency_key}".encode()).hexdigest()[:32]


class Jobs:
    """The jobs in one database; it is opened when it is first needed.

    Args:
        database_url: ``sqlite:///…`` or ``postgresql://…``; dbos's tables are made in it.
        store: Keeps uploads and results.
        workers: Threads.
        webhooks: Checks the receivers' URLs.
        max_queued: Most jobs that have not ended.
        keep_seconds: Age in seconds, from its end, at which a job is forgotten.
    """

    def __init__(
        self,
        database_url: str,
        store: Storage,
        workers: Workers,
        webhooks: Webhooks,
        *,
        max_queued: int,
        keep_seconds: float,
    ) -> None:
        self._url = database_url
        self._store = store
        self._workers = workers
        self.webhooks = webhooks
        self._max_queued = max_queued
        self._keep_seconds = keep_seconds
        self._client: DBOSClient | None = None
        self._opening = asyncio.Lock()

    async def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            await self._workers.disk(self._client.destroy)

    async def check_room(self, job_id: str) -> None:
        """Refuse a new job while the queue is full; one that is known already may be sent again.

        Raises:
            Overloaded: Too many jobs have not ended.
            StorageUnavailable: The database does not answer.
        """
        beyond = await self._ask(
            lambda client: client.list_workflows_async(
                name=GRADE, status=_LIVE, limit=1, offset=self._max_queued - 1, load_input=False, load_output=False
            )
        )
        if beyond and await self._status(job_id) is None:
            raise Overloaded(f"{self._max_queued} jobs are waiting or being graded.", retry_after_seconds=30)

    async def submit(
        self, job_id: str, who: str, folder: Path, key: str | None, webhook: str | None, request_id: str
    ) -> Job:
        """Accept a study: when this returns, it is on disk and in the queue.

        Args:
            job_id: From :func:`job_id_of`.
            who: Name of the principal; the job is theirs.
            folder: A spool folder that holds the study's files and nothing else; it is used up.
            key: The idempotency key, if one was sent.
            webhook: URL to tell when the job ended.
            request_id: Of this request.

        Returns:
            The job, which may be one that was submitted before.

        Raises:
            Conflict: The key was used for another study.
            StorageUnavailable: The database or the storage does not answer; the study was not accepted.
        """
        fingerprint = await self._workers.disk(_fingerprint, folder, key, webhook)
        if (known := await self._status(job_id)) is not None:
            return self._repeated(known, fingerprint)
        spec = JobSpec(
            upload_id=new_result_id(),
            result_id=new_result_id(),
            fingerprint=fingerprint,
            webhook=webhook,
            request_id=request_id,
        )
        await self._workers.disk(self._store.put_upload, spec["upload_id"], folder)
        try:
            await self._ask(
                lambda client: client.enqueue_async(
                    {
                        "workflow_name": GRADE,
                        "queue_name": JOBS,
                        "workflow_id": job_id,
                        "workflow_id_reuse_policy": "reject",
                        "authenticated_user": who,
                    },
                    spec,
                )
            )
        except error.DBOSWorkflowIDInUseError:  # the same key at the same time; the other request was faster
            await self._workers.disk(self._store.delete_upload, spec["upload_id"])
            return self._repeated(await self._known(job_id), fingerprint)
        return _job(await self._known(job_id))

    async def get(self, job_id: str, who: str | None) -> Job:
        """Look a job up.

        Args:
            job_id: Names it.
            who: Whose it must be; None for anybody's.

        Raises:
            NotFound: No such job, or somebody else's.
            StorageUnavailable: The database does not answer.
        """
        return _job(await self._known(job_id, who))

    async def cancel(self, job_id: str, who: str | None) -> Job:
        """Stop a job that has not ended; its upload is removed, and what Triton computes for it is stopped.

        Args:
            job_id: Names it.
            who: Whose it must be; None for anybody's.

        Raises:
            Conflict: It succeeded or failed already.
            NotFound: No such job, or somebody else's.
            StorageUnavailable: The database does not answer.
        """
        status = await self._known(job_id, who)
        if not _STATES[status.status].ended:
            await self._ask(lambda client: client.cancel_workflow_async(job_id))
            status = await self._known(job_id, who)
        if _STATES[status.status] is not JobState.CANCELLED:
            raise Conflict("The job has ended.", "Delete its result instead.")
        await self._clean_up(status)
        return _job(status)

    async def page(self, who: str | None, state: JobState | None, limit: int, after: str | None) -> JobPage:
        """List jobs, the newest first.

        Args:
            who: Whose; None for everybody's.
            state: Only those in this state.
            limit: Most jobs on the page.
            after: The cursor that the page before ended with.

        Raises:
            InvalidRequest: The cursor is not one of ours.
            StorageUnavailable: The database does not answer.
        """
        position = cursor.parse(after)
        statuses = await self._ask(
            lambda client: client.list_workflows_async(
                name=GRADE,
                user=who,
                status=STATUSES[state] if state else None,
                end_time=position.end_time,
                limit=limit + 1 + len(position.seen),
                sort_desc=True,
            )
        )
        fresh = position.skip(statuses)
        shown = fresh[:limit]
        return JobPage(
            jobs=[_job(status) for status in shown],
            next_cursor=position.next(shown) if len(fresh) > limit else None,
        )

    async def executors(self) -> set[str]:
        """Names of the workers that hold jobs or webhooks which have begun and not ended."""
        statuses = await self._ask(
            lambda client: client.list_workflows_async(status="PENDING", load_input=False, load_output=False)
        )
        return {status.executor_id for status in statuses if status.executor_id is not None}

    async def queued(self) -> int:
        """How many jobs wait."""
        statuses = await self._ask(
            lambda client: client.list_workflows_async(
                name=GRADE, status=STATUSES[JobState.QUEUED], load_input=False, load_output=False
            )
        )
        return len(statuses)

    async def show_stage(self, job_id: str, stage: str) -> None:
        """Note what is being done for a running job."""
        await self._ask(lambda client: client.update_workflow_attributes_async(job_id, {"stage": stage}))

    async def deliver(self, job_id: str, url: str, attempt: int, delay_seconds: float | None) -> None:
        """Queue one attempt to deliver a webhook; an attempt that is queued already stays as it is."""
        options: EnqueueOptions = {
            "workflow_name": DELIVER,
            "queue_name": WEBHOOKS,
            "workflow_id": webhook_workflow_id(job_id, attempt),
        }
        if delay_seconds is not None:
            options["delay_seconds"] = delay_seconds
        await self._ask(lambda client: client.enqueue_async(options, job_id, url, attempt))

    async def sweep(self) -> None:
        """Remove what nobody waits for: uploads without a job, what dead jobs left, jobs past their age."""
        uploads = await self._workers.disk(lambda: list(self._store.uploads()))  # before the jobs: see the age
        live = await self._ask(lambda client: client.list_workflows_async(name=GRADE, status=_LIVE, load_output=False))
        waited_for = {_spec(status)["upload_id"] for status in live}
        for upload in uploads:
            if upload.age_seconds > _ORPHAN_SECONDS and upload.upload_id not in waited_for:
                await self._workers.disk(self._store.delete_upload, upload.upload_id)
        given_up = await self._ask(
            lambda client: client.list_workflows_async(name=GRADE, status="MAX_RECOVERY_ATTEMPTS_EXCEEDED")
        )
        for status in given_up:
            await self._clean_up(status)
        before = datetime.fromtimestamp(time.time() - self._keep_seconds, UTC).isoformat()
        while aged := await self._ask(
            lambda client: client.list_workflows_async(
                completed_before=before, limit=_SWEPT_AT_ONCE, load_input=False, load_output=False
            )
        ):
            ids = [status.workflow_id for status in aged]
            await self._ask(lambda client, ids=ids: client.delete_workflows_async(ids))  # type: ignore[misc]

    async def _clean_up(self, status: WorkflowStatus) -> None:
        """Do for a job that was stopped from outside what its workflow cannot do any more."""
        spec = _spec(status)
        await self._workers.disk(self._store.delete_upload, spec["upload_id"])
        if spec["webhook"] is not None:
            await self.deliver(status.workflow_id, spec["webhook"], 0, None)

    def _repeated(self, status: WorkflowStatus, fingerprint: str) -> Job:
        if _spec(status)["fingerprint"] != fingerprint:
            raise Conflict("The idempotency key was used for another study or another webhook.")
        return _job(status)

    async def _known(self, job_id: str, who: str | None = None) -> WorkflowStatus:
        status = await self._status(job_id)
        if status is None or (who is not None and status.authenticated_user != who):
            raise NotFound("There is no job with this id.", "Check the job id; jobs are kept only for a limited time.")
        return status

    async def _status(self, job_id: str) -> WorkflowStatus | None:
        found = await self._ask(lambda client: client.list_workflows_async(workflow_ids=[job_id], name=GRADE))
        return found[0] if found else None

    async def _ask(self, question: Callable[[DBOSClient], Awaitable[T]]) -> T:
        try:
            return await question(await self._connected())
        except SQLAlchemyError as failure:
            raise StorageUnavailable("The database of the jobs does not answer.") from failure

    async def _connected(self) -> DBOSClient:
        async with self._opening:
            if self._client is None:
                self._client = await self._workers.disk(self._open)
            return self._client

    def _open(self) -> DBOSClient:
        DBOS.migrate(self._url)
        return DBOSClient(
            system_database_url=self._url,
            serializer=SERIALIZER,
            application_name=APPLICATION,
            lazy=True,
            retry_connection_errors=False,  # a request is told at once
        )


def _fingerprint(folder: Path, key: str | None, webhook: str | None) -> str:
    """Of what was sent; without the key, which is not kept, nobody can tell from it which study that was."""
    digest = hashlib.sha256(repr((key, webhook)).encode())
    for path in sorted(folder.iterdir()):
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def _spec(status: WorkflowStatus) -> JobSpec:
    assert status.input is not None
    spec: JobSpec = status.input["args"][0]
    return spec


def _job(status: WorkflowStatus) -> Job:
    state = _STATES[status.status]
    result_id = _spec(status)["result_id"] if state is JobState.SUCCEEDED else None
    stage = (status.attributes or {}).get("stage") if state is JobState.RUNNING else None
    created = _time(status.created_at)
    assert created is not None
    return Job(
        job_id=status.workflow_id,
        state=state,
        created_at=created,
        started_at=_time(status.dequeued_at),
        ended_at=_time(status.completed_at) if state.ended else None,
        progress=JobProgress(stage=stage, done=_WORK.index(stage), of=len(_WORK)) if stage in _WORK else None,
        result_id=result_id,
        result_url=None if result_id is None else f"/v1/results/{result_id}",
        problem=JobProblem.model_validate(_problem(status)) if state is JobState.FAILED else None,
    )


def _problem(status: WorkflowStatus) -> dict[str, Any]:
    if status.status == "MAX_RECOVERY_ATTEMPTS_EXCEEDED":
        return InferenceFailed("Every worker that began this job died.").problem()
    if isinstance(status.error, PortableWorkflowError) and isinstance(status.error.data, dict):
        return status.error.data
    return ServiceError("Something unexpected went wrong while grading.").problem()


def _time(milliseconds: int | None) -> datetime | None:
    return None if milliseconds is None else datetime.fromtimestamp(milliseconds / 1000, UTC)
