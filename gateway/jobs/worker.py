"""A worker: takes jobs from the queue, grades them, sends webhooks, and inherits the jobs of workers that died."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any

import psycopg
import structlog
from dbos import DBOS
from sqlalchemy.exc import SQLAlchemyError

from discgrade.errors import DiscgradeError, InputError, NotFound, ServiceError, StorageUnavailable
from gateway import tracing
from gateway.audit import Entry
from gateway.grading import grade_files, spooled
from gateway.jobs import workflows
from gateway.jobs.engine import FETCHED_JOBS, JOBS, WEBHOOKS, configuration
from gateway.jobs.keeper import Keeper
from gateway.jobs.liveness import FileLocks, Liveness, PostgresLocks
from gateway.jobs.pull import Pull
from gateway.jobs.status import FETCH
from gateway.jobs.webhooks import NotDelivered
from gateway.jobs.workflows import JobSpec, uploads_of
from gateway.logs import trace
from gateway.outcomes import outcome_class, outcome_of

if TYPE_CHECKING:
    from gateway.app import Services
    from gateway.settings import Settings

__all__ = ["Worker"]

_READY_SECONDS = 60.0
_READY_POLL_SECONDS = 0.5
_RECORD_SECONDS = 3
"""For dbos to write down what ended last; else it is done again."""
_POLL_SECONDS = 0.25
_WEBHOOK_POLL_SECONDS = 1.0
_STAGE_SECONDS = 0.5
"""A stage that is over sooner is not shown: each is a write to the database."""
_FETCHED_AT_ONCE = 64
"""Jobs of references that have begun: those whose server is away wait, and must not hold up the others."""
_WEBHOOKS_AT_ONCE = 8
_LONGEST_RETRY_SECONDS = 3600.0
_GIVE_WAY_SECONDS = 10.0
_GIVE_WAY_POLL_SECONDS = 0.1

_log = structlog.get_logger("jobs")


class Worker:
    """Grades jobs in this process's event loop; an asynchronous context manager. dbos allows one a process.

    Args:
        services: The app's.
        settings: What the operator set.
    """

    def __init__(self, services: Services, settings: Settings) -> None:
        self.max_attempts = settings.job_attempts
        self._services = services
        self._name = uuid.uuid4().hex
        self._url = settings.jobs_url()
        self._at_once = settings.jobs_at_once
        self._turns = asyncio.Semaphore(settings.jobs_at_once)
        self._stop_seconds = settings.shutdown_seconds
        self._webhook_attempts = settings.webhook_attempts
        self._webhook_retry_seconds = settings.webhook_retry_seconds
        self._locks: Liveness = (
            FileLocks(settings.data_dir / "workers", self._name)
            if self._url.startswith("sqlite")
            else PostgresLocks(self._url, self._name)
        )
        self._pull = Pull(
            services, settings.job_attempts, settings.dicomweb_wait_hours * 3600, self._working, self._resting
        )
        self._waiting: set[asyncio.Task[Any]] = set()
        self._at_work: set[asyncio.Task[Any]] = set()
        self._stopping = False
        self._keeper: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Worker:
        """Open the database, making its tables if they are missing, and begin.

        Raises:
            discgrade.errors.StorageUnavailable: The database does not answer.
        """
        disk = self._services.workers.disk
        try:
            await disk(self._locks.hold)  # before the first job can carry this worker's name
            workflows.work_for(self)
            DBOS(config=configuration(self._url, self._name))
            DBOS.launch()  # here and not in a thread: dbos runs its workflows in the loop that it is launched in
            await DBOS.register_queue_async(
                JOBS, worker_concurrency=self._at_once, polling_interval_sec=_POLL_SECONDS, on_conflict="always_update"
            )
            await DBOS.register_queue_async(
                FETCHED_JOBS,
                worker_concurrency=_FETCHED_AT_ONCE,
                polling_interval_sec=_POLL_SECONDS,
                on_conflict="always_update",
            )
            await DBOS.register_queue_async(
                WEBHOOKS,
                worker_concurrency=_WEBHOOKS_AT_ONCE,
                polling_interval_sec=_WEBHOOK_POLL_SECONDS,
                on_conflict="always_update",
            )
        except BaseException as error:
            await disk(self._end)
            if isinstance(error, (SQLAlchemyError, psycopg.Error)):
                raise StorageUnavailable("The database of the jobs does not answer.") from error
            raise
        self._keeper = asyncio.create_task(Keeper(self._services, self._locks, self._name).keep())
        _log.info("worker started", worker=self._name, at_once=self._at_once)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let jobs in flight end for a while; those that do not are begun again, here or elsewhere."""
        self._stopping = True
        assert self._keeper is not None
        self._keeper.cancel()
        with suppress(asyncio.CancelledError):
            await self._keeper
        if busy := bool(self._at_work):
            await asyncio.wait(self._at_work, timeout=self._stop_seconds)
        for task in (left := [*self._waiting, *self._at_work]):
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        await self._services.workers.disk(self._end, _RECORD_SECONDS if busy else 0)

    def _end(self, record_seconds: int = 0) -> None:
        DBOS.destroy(workflow_completion_timeout_sec=record_seconds)
        workflows.work_for(None)
        self._locks.close()

    async def fetch(self, job_id: str, who: str, spec: JobSpec) -> dict[str, Any] | None:
        """Fetch and keep a study; see :class:`gateway.jobs.workflows.Labour`."""
        entry = Entry(job_id=job_id)
        async with self._shown(job_id) as show:
            show(FETCH)
            failure = await self._pull.fetch(job_id, spec, entry)
        if failure is None:
            return None
        self._count_end(spec, failure)
        await self._services.audit.record(who, "grade job", entry, failure.slug, spec["request_id"])
        return failure.problem()

    async def grade(self, job_id: str, who: str, spec: JobSpec) -> dict[str, Any] | None:
        """Grade and keep a study; see :class:`gateway.jobs.workflows.Labour`."""
        await self._until_ready()
        async with self._turn(), self._working():
            with (
                structlog.contextvars.bound_contextvars(request_id=spec["request_id"]),
                tracing.span(
                    "grade job",
                    tracing.SpanKind.CONSUMER,
                    link=spec.get("traceparent"),
                    attributes={"discgrade.job_id": job_id, "discgrade.request_id": spec["request_id"]},
                ),
            ):
                return await self._attempt(job_id, who, spec)

    async def _attempt(self, job_id: str, who: str, spec: JobSpec) -> dict[str, Any] | None:
        services, started = self._services, time.perf_counter()
        entry = Entry(result_id=spec["result_id"], job_id=job_id)
        failure: DiscgradeError | None = None
        attempt = (DBOS.step_status.current_attempt or 0) + 1 if DBOS.step_status else 1
        if attempt == 1:
            services.metrics.job_wait.observe(_age(spec))
        services.metrics.jobs_running.inc()
        try:
            entry.study_uid = await self._grade(job_id, spec)
        except DiscgradeError as error:
            failure = error
        except Exception as error:
            _log.error("job", job=job_id, error=trace(error))
            failure = ServiceError("Something unexpected went wrong while grading.")
        finally:
            services.metrics.jobs_running.dec()
        outcome = outcome_of(failure)
        tracing.note_end(outcome, failed=isinstance(failure, ServiceError), attributes={"discgrade.attempt": attempt})
        _log.info(
            "job",
            job=job_id,
            request_id=spec["request_id"],
            attempt=attempt,
            outcome=outcome,
            duration_ms=round((time.perf_counter() - started) * 1000, 1),
        )
        if failure is not None and not isinstance(failure, InputError) and attempt < self.max_attempts:
            services.metrics.job_retries.labels(outcome).inc()
            raise failure
        self._count_end(spec, failure)
        await services.audit.record(who, "grade job", entry, outcome, spec["request_id"])
        return None if failure is None else failure.problem()

    def _count_end(self, spec: JobSpec, failure: DiscgradeError | None) -> None:
        metrics = self._services.metrics
        metrics.jobs_ended.labels(outcome_of(failure)).inc()
        metrics.job.labels(outcome_class(failure)).observe(_age(spec))

    async def _grade(self, job_id: str, spec: JobSpec) -> str | None:
        """Grade a study; its Study Instance UID."""
        services = self._services
        async with spooled(services) as (folder, workdir), self._shown(job_id) as show:
            try:
                files = await services.workers.disk(services.store.get_upload, uploads_of(spec)[-1], folder)
            except NotFound as error:
                raise ServiceError("The upload of this job is gone.") from error
            graded = await grade_files(
                services, files, workdir, upload_ms=0.0, progress=show, result_id=spec["result_id"]
            )
        return graded.study_uid

    async def discard(self, spec: JobSpec, *, with_result: bool) -> None:
        """Remove what a job that ended leaves behind; what cannot be removed now, the sweep removes."""
        services = self._services
        try:
            for upload_id in uploads_of(spec):
                await services.workers.disk(services.store.delete_upload, upload_id)
            if with_result:
                with suppress(NotFound):
                    await services.workers.disk(services.store.delete, spec["result_id"])
        except Exception as error:
            _log.warning("left behind", error=trace(error))

    async def notify(self, job_id: str, url: str, attempt: int) -> None:
        """Send a webhook once its job has ended, or queue the next attempt."""
        async with self._working():
            services = self._services
            while not (job := await services.jobs.get(job_id, None)).state.ended:
                await asyncio.sleep(_POLL_SECONDS)  # the workflow queued this as its last but one act
            assert job.ended_at is not None
            message = {
                "type": f"job.{job.state}",
                "timestamp": job.ended_at.isoformat(),
                "data": {"job_id": job_id, "state": job.state, "result_id": job.result_id},
            }
            try:
                await services.jobs.webhooks.send(url, f"msg_{job_id}", message)
            except NotDelivered as error:
                again = not error.final and attempt + 1 < self._webhook_attempts
                _log.warning("webhook", job=job_id, attempt=attempt + 1, why=str(error), again=again)
                services.metrics.webhooks.labels("retried" if again else "failed").inc()
                if again:
                    delay = min(self._webhook_retry_seconds * 2**attempt, _LONGEST_RETRY_SECONDS)
                    await services.jobs.database.deliver(job_id, url, attempt + 1, delay)
            else:
                services.metrics.webhooks.labels("ok").inc()

    async def _until_ready(self) -> None:
        """Wait a while for tritonserver: a restart should cost a job neither an attempt nor a long pause."""
        async with self._resting():
            deadline = time.monotonic() + _READY_SECONDS
            while not await self._services.grader.ready() and time.monotonic() < deadline:
                await asyncio.sleep(_READY_POLL_SECONDS)

    async def _give_way(self) -> None:
        """Let studies go first whose senders wait at this process; for a while only, for jobs shall end as well."""
        async with self._resting():
            deadline = time.monotonic() + _GIVE_WAY_SECONDS
            while self._services.admission.busy and time.monotonic() < deadline:
                await asyncio.sleep(_GIVE_WAY_POLL_SECONDS)

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        """One of the few jobs that are graded at a time, whichever queue they came by."""
        async with self._resting():
            await self._turns.acquire()
        try:
            await self._give_way()
            yield
        finally:
            self._turns.release()

    @asynccontextmanager
    async def _resting(self) -> AsyncIterator[None]:
        """Not counted as work: a worker that stops does not wait for what is in here."""
        task = asyncio.current_task()
        assert task is not None
        self._waiting.add(task)
        try:
            yield
        finally:
            self._waiting.discard(task)

    @asynccontextmanager
    async def _working(self) -> AsyncIterator[None]:
        """Counted as work in flight; a worker that stops begins none, and waits to be cancelled."""
        task = asyncio.current_task()
        assert task is not None
        if self._stopping:
            await asyncio.get_running_loop().create_future()
        self._at_work.add(task)
        try:
            yield
        finally:
            self._at_work.discard(task)

    @asynccontextmanager
    async def _shown(self, job_id: str) -> AsyncIterator[Callable[[str], None]]:
        """Shows the stage that a job is in to whoever asks for it."""
        stage = ""

        def show(name: str) -> None:
            nonlocal stage
            stage = name

        async def write() -> None:
            shown = ""
            while True:
                await asyncio.sleep(_STAGE_SECONDS)
                if stage != shown:
                    with suppress(ServiceError):
                        await self._services.jobs.database.show_stage(job_id, stage)
                        shown = stage

        writer = asyncio.create_task(write())
        try:
            yield show
        finally:
            writer.cancel()
            with suppress(asyncio.CancelledError):
                await writer


def _age(spec: JobSpec) -> float:
    """Seconds since a job was submitted; 0 where an earlier version did not note when."""
    now = time.time()
    return max(now - spec.get("submitted_at", now), 0.0)
