"""The database of the jobs, through dbos's client."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from dbos import DBOS, DBOSClient, EnqueueOptions, WorkflowStatus
from sqlalchemy.exc import SQLAlchemyError

from discgrade.errors import StorageUnavailable
from discgrade.job import JobState
from gateway.jobs.engine import APPLICATION, DELIVER, GRADE, SERIALIZER, WEBHOOKS
from gateway.jobs.status import STATUSES
from gateway.jobs.workflows import webhook_workflow_id
from gateway.workers import Workers

__all__ = ["JobDatabase"]

T = TypeVar("T")


class JobDatabase:
    """Asks and tells dbos; opened when it is first needed, so that a gateway starts without it.

    Args:
        url: ``sqlite:///…`` or ``postgresql://…``; dbos's tables are made in it.
        workers: Threads.
    """

    def __init__(self, url: str, workers: Workers) -> None:
        self._url = url
        self._workers = workers
        self._client: DBOSClient | None = None
        self._opening = asyncio.Lock()

    async def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            await self._workers.disk(self._client.destroy)

    async def find(self, job_id: str) -> WorkflowStatus | None:
        """Look a job up."""
        found = await self.ask(lambda client: client.list_workflows_async(workflow_ids=[job_id], name=GRADE))
        return found[0] if found else None

    async def executors(self) -> set[str]:
        """Names of the workers that hold jobs or webhooks which have begun and not ended."""
        statuses = await self.ask(
            lambda client: client.list_workflows_async(status="PENDING", load_input=False, load_output=False)
        )
        return {status.executor_id for status in statuses if status.executor_id is not None}

    async def queued(self) -> tuple[int, float]:
        """How many jobs wait, and when the oldest of them was submitted, in s since the epoch (now, if none waits)."""
        statuses = await self.ask(
            lambda client: client.list_workflows_async(
                name=GRADE, status=STATUSES[JobState.QUEUED], load_input=False, load_output=False
            )
        )
        return len(statuses), min((status.created_at or 0) / 1000 for status in statuses) if statuses else time.time()

    async def delete(self, workflow_ids: list[str]) -> None:
        """Forget jobs and webhooks that ended."""
        await self.ask(lambda client: client.delete_workflows_async(workflow_ids))

    async def show_stage(self, job_id: str, stage: str) -> None:
        """Note what is being done for a running job."""
        await self.ask(lambda client: client.update_workflow_attributes_async(job_id, {"stage": stage}))

    async def deliver(self, job_id: str, url: str, attempt: int, delay_seconds: float | None) -> None:
        """Queue one attempt to deliver a webhook; an attempt that is queued already stays as it is."""
        options: EnqueueOptions = {
            "workflow_name": DELIVER,
            "queue_name": WEBHOOKS,
            "workflow_id": webhook_workflow_id(job_id, attempt),
        }
        if delay_seconds is not None:
            options["delay_seconds"] = delay_seconds
        await self.ask(lambda client: client.enqueue_async(options, job_id, url, attempt))

    async def ask(self, question: Callable[[DBOSClient], Awaitable[T]]) -> T:
        """Ask dbos's client something.

        Raises:
            StorageUnavailable: The database does not answer.
        """
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
