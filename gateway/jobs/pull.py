"""Fetches the study of a job that holds a reference, and waits for its server while that is away."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING

import structlog

from discgrade.errors import (
    DiscgradeError,
    InputError,
    NotFound,
    PacsRefused,
    PacsTimeout,
    PacsUnavailable,
    ServiceError,
    StorageUnavailable,
)
from gateway.audit import Entry
from gateway.grading import spooled
from gateway.intake import fetched, read_reference
from gateway.jobs.workflows import JobSpec
from gateway.logs import trace

if TYPE_CHECKING:
    from gateway.app import Services

__all__ = ["Pull"]

_FIRST_PAUSE_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 60.0
_AWAY = (PacsUnavailable, PacsTimeout, PacsRefused, StorageUnavailable)
"""What passes by itself or once an operator looks; anything else is tried a few times only."""

_log = structlog.get_logger("jobs")

Doing = Callable[[], AbstractAsyncContextManager[None]]


class Pull:
    """Fetches studies of jobs.

    Args:
        services: The app's.
        attempts: At fetching from a server that answers with what cannot be used.
        wait_seconds: How long, from its submission, a job waits for a server that is away.
        working: Entered while something is done.
        resting: Entered while nothing is done but to wait.
    """

    def __init__(self, services: Services, attempts: int, wait_seconds: float, working: Doing, resting: Doing) -> None:
        self._services = services
        self._attempts = attempts
        self._wait_seconds = wait_seconds
        self._working = working
        self._resting = resting

    async def fetch(self, job_id: str, spec: JobSpec, entry: Entry) -> DiscgradeError | None:
        """Fetch and keep a study; why it failed for good, or None.

        Args:
            job_id: The job.
            spec: Its request.
            entry: Learns the study.
        """
        deadline = (await self._services.jobs.get(job_id, None)).created_at.timestamp() + self._wait_seconds
        pause, failed = _FIRST_PAUSE_SECONDS, 0
        while True:
            async with self._working():
                failure = await self._attempt(spec, entry)
            outcome = "ok" if failure is None else failure.slug
            _log.info("fetch", job=job_id, request_id=spec["request_id"], outcome=outcome)
            if failure is None or isinstance(failure, InputError):
                return failure
            failed += not isinstance(failure, _AWAY)
            if failed >= self._attempts or time.time() + pause > deadline:
                return failure
            async with self._resting():
                await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

    async def _attempt(self, spec: JobSpec, entry: Entry) -> DiscgradeError | None:
        services, disk = self._services, self._services.workers.disk
        fetched_id = spec.get("fetched_id")
        assert fetched_id is not None
        try:
            async with spooled(services) as (folder, workdir):
                reference = read_reference(await disk(services.store.get_upload, spec["upload_id"], workdir))
                entry.study_uid = reference.study_uid
                await fetched(services, reference, folder)
                await disk(services.store.put_upload, fetched_id, folder)
        except NotFound:
            return ServiceError("The reference of this job is gone.")
        except DiscgradeError as error:
            return error
        except Exception as error:
            _log.error("fetch", request_id=spec["request_id"], error=trace(error))
            return ServiceError("Something unexpected went wrong while fetching.")
        return None
