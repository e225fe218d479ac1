"""The workflows: what dbos does step by step, each step once it is recorded.

A workflow that was cut off runs again from its last recorded step, on any worker. So the steps here bear being done
twice: a result is kept under an id that was chosen with the job, an upload is removed after its result is kept, and a
webhook has the id of its job.
"""

from __future__ import annotations

from typing import Any, NotRequired, Protocol, TypedDict

from dbos import DBOS, PortableWorkflowError, SetWorkflowID, StepOptions, error

from gateway.jobs.engine import DELIVER, GRADE, WEBHOOKS

__all__ = ["JobSpec", "Labour", "uploads_of", "webhook_workflow_id", "work_for"]

MAX_BEGINNINGS = 20
"""How often a job is begun whose worker dies each time; then the study is taken for the cause."""


class JobSpec(TypedDict):
    """What the database holds of a job's request: nothing of the patient's.

    Attributes:
        upload_id: Where the storage keeps the upload, or the reference to the study.
        result_id: Where its result will be.
        fingerprint: Of the upload, keyed by the idempotency key; tells a repetition from a contradiction.
        webhook: Told when the job ended.
        request_id: Of the request that submitted it.
        submitted_at: When, in s since the epoch; missing in jobs of earlier versions.
        traceparent: Of its trace; missing or None where there is none.
        fetched_id: Where the storage keeps what was fetched of a reference; missing or None for an upload.
    """

    upload_id: str
    result_id: str
    fingerprint: str
    webhook: str | None
    request_id: str
    submitted_at: NotRequired[float]
    traceparent: NotRequired[str | None]
    fetched_id: NotRequired[str | None]


def uploads_of(spec: JobSpec) -> list[str]:
    """Where the storage keeps, or will keep, files for a job."""
    return [upload_id for upload_id in (spec["upload_id"], spec.get("fetched_id")) if upload_id is not None]


class Labour(Protocol):
    """What the steps do; :class:`gateway.jobs.worker.Worker` in earnest."""

    max_attempts: int

    async def fetch(self, job_id: str, who: str, spec: JobSpec) -> dict[str, Any] | None:
        """Fetch and keep a study, waiting while its server is away; the problem document if that failed for good."""

    async def grade(self, job_id: str, who: str, spec: JobSpec) -> dict[str, Any] | None:
        """Grade and keep a study; the problem document if it failed for good.

        Raises:
            discgrade.errors.ServiceError: Worth another attempt.
        """

    async def discard(self, spec: JobSpec, *, with_result: bool) -> None:
        """Remove what a job that ended leaves behind."""

    async def notify(self, job_id: str, url: str, attempt: int) -> None:
        """Send a webhook, or see to it that it is tried again later."""


_labour: Labour | None = None


def work_for(labour: Labour | None) -> None:
    """Say who does the work of this process's workflows: dbos finds workflows by name, not by object."""
    global _labour
    assert labour is None or _labour is None, "dbos allows one worker a process"
    _labour = labour


def webhook_workflow_id(job_id: str, attempt: int = 0) -> str:
    """The workflow that makes one attempt to deliver a job's webhook."""
    return f"{job_id}-webhook-{attempt}"


@DBOS.workflow(name=GRADE, max_recovery_attempts=MAX_BEGINNINGS)
async def grade(spec: JobSpec) -> None:
    """Grade one study.

    Raises:
        PortableWorkflowError: It failed for good; ``data`` is the problem document.
    """
    labour, job_id = _hired(), DBOS.workflow_id
    assert job_id is not None
    attempts: StepOptions = {
        "name": "grade",
        "preemptible": True,  # a cancelled job stops in Triton, too
        "retries_allowed": True,
        "max_attempts": labour.max_attempts,
        "interval_seconds": 1.0,
        "backoff_rate": 2.0,
    }
    try:
        who, problem = DBOS.authenticated_user or "", None
        if spec.get("fetched_id") is not None:
            problem = await DBOS.run_step_async({"name": "fetch", "preemptible": True}, labour.fetch, job_id, who, spec)
        if problem is None:
            problem = await DBOS.run_step_async(attempts, labour.grade, job_id, who, spec)
        await DBOS.run_step_async({"name": "discard"}, labour.discard, spec, with_result=False)
        if spec["webhook"] is not None:
            with SetWorkflowID(webhook_workflow_id(job_id)):
                await DBOS.enqueue_workflow_async(WEBHOOKS, deliver, job_id, spec["webhook"], 0)
    except error.DBOSWorkflowCancelledError:
        await labour.discard(spec, with_result=True)
        raise
    if problem is not None:
        raise PortableWorkflowError(problem["detail"], problem["title"], problem["status"], problem)


@DBOS.workflow(name=DELIVER)
async def deliver(job_id: str, url: str, attempt: int) -> None:
    """Make one attempt to tell a receiver how a job ended."""
    await DBOS.run_step_async({"name": "notify"}, _hired().notify, job_id, url, attempt)


def _hired() -> Labour:
    assert _labour is not None, "workflows run in workers only"
    return _labour
