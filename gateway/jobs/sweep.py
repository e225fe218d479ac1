"""Removes what nobody waits for."""

from __future__ import annotations

import time
from datetime import UTC, datetime

from dbos import WorkflowStatus

from gateway.jobs.database import JobDatabase
from gateway.jobs.engine import GRADE
from gateway.jobs.status import GIVEN_UP, LIVE, spec_of
from gateway.jobs.workflows import uploads_of
from gateway.storage import Storage
from gateway.workers import Workers

__all__ = ["clean_up", "sweep"]

_ORPHAN_SECONDS = 3600.0
"""Age of an upload that no job waits for; younger ones may be about to get theirs."""
_SWEPT_AT_ONCE = 500


async def sweep(database: JobDatabase, store: Storage, workers: Workers, keep_seconds: float) -> None:
    """Remove uploads without a job, what jobs that were given up left, and jobs past their age.

    Args:
        database: The jobs.
        store: Their uploads.
        workers: Threads.
        keep_seconds: Age in seconds, from its end, at which a job is forgotten.

    Raises:
        discgrade.errors.StorageUnavailable: The database or the storage does not answer.
    """
    uploads = await workers.disk(lambda: list(store.uploads()))  # before the jobs: an upload is there before its job
    live = await database.ask(lambda client: client.list_workflows_async(name=GRADE, status=LIVE, load_output=False))
    waited_for = {upload_id for status in live for upload_id in uploads_of(spec_of(status))}
    for upload in uploads:
        if upload.age_seconds > _ORPHAN_SECONDS and upload.upload_id not in waited_for:
            await workers.disk(store.delete_upload, upload.upload_id)
    for status in await database.ask(lambda client: client.list_workflows_async(name=GRADE, status=GIVEN_UP)):
        await clean_up(database, store, workers, status)
    before = datetime.fromtimestamp(time.time() - keep_seconds, UTC).isoformat()
    while aged := await database.ask(
        lambda client: client.list_workflows_async(
            completed_before=before, limit=_SWEPT_AT_ONCE, load_input=False, load_output=False
        )
    ):
        await database.delete([status.workflow_id for status in aged])


async def clean_up(database: JobDatabase, store: Storage, workers: Workers, status: WorkflowStatus) -> None:
    """Do for a job that was stopped from outside what its workflow cannot do any more."""
    spec = spec_of(status)
    for upload_id in uploads_of(spec):
        await workers.disk(store.delete_upload, upload_id)
    if spec["webhook"] is not None:
        await database.deliver(status.workflow_id, spec["webhook"], 0, None)
