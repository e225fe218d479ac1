"""The job contract: what ``/v1/jobs`` answers and what clients parse."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["Job", "JobPage", "JobProblem", "JobProgress", "JobState"]


class JobState(StrEnum):
    """Where a job stands; the last three are ends."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen."""
        return self in {JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED}


class _Contract(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class JobProgress(_Contract):
    """How far a running job is."""

    stage: str = Field(
        description="What is being done: fetch (of a reference), read, preprocess, inference or postprocess."
    )
    done: int = Field(ge=0, description="Stages that are behind it.")
    of: int = Field(gt=0, description="Stages in all.")


class JobProblem(_Contract):
    """Why a job failed: an RFC 9457 problem document."""

    type: str = Field(description="Which kind of problem; stable.")
    title: str = Field(description="The kind of problem, in words.")
    status: int = Field(description="The HTTP status that POST /v1/grade would have answered with.")
    detail: str = Field(description="What is wrong with this study; free of patient data.")
    advice: str = Field(description="What to change.")


class Job(_Contract):
    """One study on its way to a result."""

    job_id: str = Field(description="Names the job; 32 hexadecimal digits.")
    state: JobState = Field(description="Where the job stands.")
    created_at: datetime = Field(description="When the job was accepted (UTC).")
    started_at: datetime | None = Field(default=None, description="When it was last begun; null before.")
    ended_at: datetime | None = Field(default=None, description="When it ended; null before.")
    progress: JobProgress | None = Field(
        default=None, description="How far a running job is; null in its first moments and in any other state."
    )
    result_id: str | None = Field(default=None, description="Set once the job succeeded.")
    result_url: str | None = Field(default=None, description="Path of the result, once the job succeeded.")
    problem: JobProblem | None = Field(default=None, description="Why the job failed; null in any other state.")


class JobPage(_Contract):
    """Some jobs, the newest first."""

    jobs: list[Job] = Field(description="Newest first.")
    next_cursor: str | None = Field(
        default=None, description="Send it as 'cursor' to get the next page; null on the last."
    )
