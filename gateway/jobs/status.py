"""What dbos says of a job, as the job that callers see."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from dbos import PortableWorkflowError, WorkflowStatus

from discgrade.errors import InferenceFailed, ServiceError
from discgrade.job import Job, JobProblem, JobProgress, JobState
from gateway.jobs.workflows import JobSpec
from gateway.metrics import STAGES

__all__ = ["FETCH", "GIVEN_UP", "LIVE", "STATUSES", "job_of", "spec_of", "state_of"]

GIVEN_UP = "MAX_RECOVERY_ATTEMPTS_EXCEEDED"
"""dbos's name for a job that ended every worker which began it."""
STATUSES = {
    JobState.QUEUED: ["ENQUEUED", "DELAYED"],
    JobState.RUNNING: ["PENDING"],
    JobState.SUCCEEDED: ["SUCCESS"],
    JobState.FAILED: ["ERROR", GIVEN_UP],
    JobState.CANCELLED: ["CANCELLED"],
}
"""dbos's names of each state."""
_STATES = {status: state for state, statuses in STATUSES.items() for status in statuses}
LIVE = STATUSES[JobState.QUEUED] + STATUSES[JobState.RUNNING]
"""Its names of the states of jobs that have not ended."""
FETCH = "fetch"
"""The stage of a job in which its study is fetched, or its server waited for."""
_WORK = STAGES[1:]


def state_of(status: WorkflowStatus) -> JobState:
    """Where a job stands."""
    return _STATES[status.status]


def spec_of(status: WorkflowStatus) -> JobSpec:
    """What was kept of a job's request."""
    assert status.input is not None
    spec: JobSpec = status.input["args"][0]
    return spec


def job_of(status: WorkflowStatus) -> Job:
    """The job, for its submitter."""
    state = state_of(status)
    result_id = spec_of(status)["result_id"] if state is JobState.SUCCEEDED else None
    work = _WORK if spec_of(status).get("fetched_id") is None else (FETCH, *_WORK)
    stage = (status.attributes or {}).get("stage") if state is JobState.RUNNING else None
    created = _time(status.created_at)
    assert created is not None
    return Job(
        job_id=status.workflow_id,
        state=state,
        created_at=created,
        started_at=_time(status.dequeued_at),
        ended_at=_time(status.completed_at) if state.ended else None,
        progress=JobProgress(stage=stage, done=work.index(stage), of=len(work)) if stage else None,
        result_id=result_id,
        result_url=None if result_id is None else f"/v1/results/{result_id}",
        problem=JobProblem.model_validate(_problem(status)) if state is JobState.FAILED else None,
    )


def _problem(status: WorkflowStatus) -> dict[str, Any]:
    if status.status == GIVEN_UP:
        return InferenceFailed("Every worker that began this job died.").problem()
    if isinstance(status.error, PortableWorkflowError) and isinstance(status.error.data, dict):
        return status.error.data
    return ServiceError("Something unexpected went wrong while grading.").problem()


def _time(milliseconds: int | None) -> datetime | None:
    return None if milliseconds is None else datetime.fromtimestamp(milliseconds / 1000, UTC)
