"""What the routes do with jobs: submit, follow, cancel, list.

It only reads and writes the database, so every gateway can do it, with or without a worker of its own.
"""

from __future__ import annotations

import hashlib
import time
from pathlib import Path

from dbos import WorkflowStatus, error

from discgrade.errors import Conflict, NotFound, Overloaded
from discgrade.job import Job, JobPage, JobState
from gateway import tracing
from gateway.jobs import cursor
from gateway.jobs.database import JobDatabase
from gateway.jobs.engine import FETCHED_JOBS, GRADE, JOBS
from gateway.jobs.status import LIVE, STATUSES, job_of, spec_of, state_of
from gateway.jobs.sweep import clean_up, sweep
from gateway.jobs.webhooks import Webhooks
from gateway.jobs.workflows import JobSpec
from gateway.storage import Storage, new_result_id
from gateway.workers import Workers

__all__ = ["Jobs", "job_id_of"]


def job_id_of(principal: str, idempotency_key: str | None) -> str:
    """The id of a new job, or the one that the same caller got for the same key before."""
    if idempotency_key is None:
        return new_result_id()
    return hashlib.sha256(f"job\0{principal}\0{idempotency_key}".encode()).hexdigest()[:32]


class Jobs:
    """The jobs in one database.

    Args:
        database: Keeps the jobs.
        store: Keeps uploads and results.
        workers: Threads.
        webhooks: Checks the receivers' URLs.
        max_queued: Most jobs that have not ended.
        keep_seconds: Age in seconds, from its end, at which a job is forgotten.

    Attributes:
        database: As given.
        webhooks: As given.
    """

    def __init__(
        self,
        database: JobDatabase,
        store: Storage,
        workers: Workers,
        webhooks: Webhooks,
        *,
        max_queued: int,
        keep_seconds: float,
    ) -> None:
        self._store = store
        self._workers = workers
        self.webhooks = webhooks
        self.database = database
        self._max_queued = max_queued
        self._keep_seconds = keep_seconds

    async def check_room(self, job_id: str) -> None:
        """Refuse a new job while the queue is full; one that is known already may be sent again.

        Raises:
            Overloaded: Too many jobs have not ended.
            StorageUnavailable: The database does not answer.
        """
        beyond = await self.database.ask(
            lambda client: client.list_workflows_async(
                name=GRADE, status=LIVE, limit=1, offset=self._max_queued - 1, load_input=False, load_output=False
            )
        )
        if beyond and await self.database.find(job_id) is None:
            raise Overloaded(f"{self._max_queued} jobs are waiting or being graded.", retry_after_seconds=30)

    async def submit(
        self,
        job_id: str,
        who: str,
        folder: Path,
        key: str | None,
        webhook: str | None,
        request_id: str,
        *,
        by_reference: bool = False,
    ) -> Job:
        """Accept a study: when this returns, it is on disk and in the queue.

        Args:
            job_id: From :func:`job_id_of`.
            who: Name of the principal; the job is theirs.
            folder: A spool folder that holds the study's files and nothing else; it is used up.
            key: The idempotency key, if one was sent.
            webhook: URL to tell when the job ended.
            request_id: Of this request.
            by_reference: Whether the folder holds a reference to the study, which is to be fetched.

        Returns:
            The job, which may be one that was submitted before.

        Raises:
            Conflict: The key was used for another study.
            StorageUnavailable: The database or the storage does not answer; the study was not accepted.
        """
        fingerprint = await self._workers.disk(_fingerprint, folder, key, webhook)
        if (known := await self.database.find(job_id)) is not None:
            return self._repeated(known, fingerprint)
        spec = JobSpec(
            upload_id=new_result_id(),
            result_id=new_result_id(),
            fingerprint=fingerprint,
            webhook=webhook,
            request_id=request_id,
            submitted_at=time.time(),
            traceparent=tracing.traceparent(),
            fetched_id=new_result_id() if by_reference else None,
        )
        await self._workers.disk(self._store.put_upload, spec["upload_id"], folder)
        try:
            await self.database.ask(
                lambda client: client.enqueue_async(
                    {
                        "workflow_name": GRADE,
                        "queue_name": FETCHED_JOBS if by_reference else JOBS,
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
        return job_of(await self._known(job_id))

    async def get(self, job_id: str, who: str | None) -> Job:
        """Look a job up.

        Args:
            job_id: Names it.
            who: Whose it must be; None for anybody's.

        Raises:
            NotFound: No such job, or somebody else's.
            StorageUnavailable: The database does not answer.
        """
        return job_of(await self._known(job_id, who))

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
        if not state_of(status).ended:
            await self.database.ask(lambda client: client.cancel_workflow_async(job_id))
            status = await self._known(job_id, who)
        if state_of(status) is not JobState.CANCELLED:
            raise Conflict("The job has ended.", "Delete its result instead.")
        await clean_up(self.database, self._store, self._workers, status)
        return job_of(status)

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
        statuses = await self.database.ask(
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
            jobs=[job_of(status) for status in shown],
            next_cursor=position.next(shown) if len(fresh) > limit else None,
        )

    async def sweep(self) -> None:
        """Remove what nobody waits for."""
        await sweep(self.database, self._store, self._workers, self._keep_seconds)

    def _repeated(self, status: WorkflowStatus, fingerprint: str) -> Job:
        if spec_of(status)["fingerprint"] != fingerprint:
            raise Conflict("The idempotency key was used for another study or another webhook.")
        return job_of(status)

    async def _known(self, job_id: str, who: str | None = None) -> WorkflowStatus:
        status = await self.database.find(job_id)
        if status is None or (who is not None and status.authenticated_user != who):
            raise NotFound("There is no job with this id.", "Check the job id; jobs are kept only for a limited time.")
        return status


def _fingerprint(folder: Path, key: str | None, webhook: str | None) -> str:
    """Of what was sent; without the key, which is not kept, nobody can tell from it which study that was."""
    digest = hashlib.sha256(repr((key, webhook)).encode())
    for path in sorted(folder.iterdir()):
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()
