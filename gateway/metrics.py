"""Prometheus metrics of one gateway process."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, disable_created_metrics

from discgrade.errors import InferenceUnavailable
from gateway.outcomes import CLASSES
from gateway.telemetry.quality import Quality
from gateway.telemetry.releases import ReleaseMetrics
from gateway.telemetry.traffic import Traffic

__all__ = ["STAGES", "Metrics"]

STAGES = ("upload", "read", "preprocess", "inference", "postprocess")
"""The parts of a request, in order; the names of ``timings_ms`` and of the label ``stage``."""

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 7.5, 10.0, 30.0, 60.0, 120.0)
"""5 is the bound of the latency objective (docs/metrics.md), so it must stay."""
_JOB_SECONDS = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0, 14_400.0, 43_200.0, 86_400.0)


class Metrics:
    """The collectors, in a registry of their own so that several apps can live in one process.

    Attributes:
        registry: What ``/metrics`` exposes.
        quality: What was graded and how surely.
        releases: What each release was asked, and the canary's share.
        traffic: Requests, calls and storage.
        whole: Seconds from the request's first byte to its answer, by class of outcome (:mod:`gateway.outcomes`).
        stage: Seconds of each of :data:`STAGES`, by class of outcome.
        wait: Seconds that a study waited for its turn.
        waiting: Studies that wait for their turn.
        in_flight: Grading requests being served.
        outcomes: Grading requests by outcome: ``ok``, a problem's slug, or ``client-closed-request``.
        jobs_queued: Jobs that wait; the same at every worker.
        jobs_oldest: Seconds since the oldest of them was submitted; the same at every worker.
        jobs_running: Jobs this process grades.
        jobs_ended: Jobs this process graded to their end, by outcome: ``ok`` or a problem's slug.
        job_retries: Attempts at jobs that failed and are made again, by outcome.
        jobs_inherited: Jobs taken over from workers that died.
        job: Seconds from a job's submission to its end, by class of outcome.
        job_wait: Seconds from a job's submission to its first attempt.
        webhooks: Attempts to deliver webhooks, by outcome: ``ok``, ``retried`` or ``failed``.
        triton_ready: Whether the whole ensemble answered when ``/metrics`` was last read.
        fetch: Seconds from the search for a study at a DICOMweb server to its last byte, of studies that arrived.
        fetches: Fetches by server and outcome: ``ok``, a problem's slug, or ``client-closed-request``.
        fetched_bytes: Bytes of instances by server.
    """

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series for each, which Prometheus makes no use of
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.quality = Quality(self.registry)
        self.releases = ReleaseMetrics(self.registry)
        self.traffic = Traffic(self.registry)
        self.whole = Histogram(
            "discgrade_grade_seconds",
            "Whole duration of grading one study while its sender waits.",
            ["outcome"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.stage = Histogram(
            "discgrade_stage_seconds",
            "Duration of one stage of a study, jobs included.",
            ["stage", "outcome"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.wait = Histogram(
            "discgrade_queue_wait_seconds",
            "Time that a study waited for its turn, its sender waiting too.",
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.waiting = Gauge("discgrade_queue_waiting", "Studies that wait for their turn.", registry=self.registry)
        self.in_flight = Gauge("discgrade_grade_in_flight", "Grading requests being served.", registry=self.registry)
        self.outcomes = Counter(
            "discgrade_grade_outcomes",
            "Grading requests by outcome: ok, the problem type's last part, or client-closed-request.",
            ["outcome"],
            registry=self.registry,
        )
        self.jobs_queued = Gauge("discgrade_jobs_queued", "Jobs that wait, in all.", registry=self.registry)
        self.jobs_oldest = Gauge(
            "discgrade_jobs_oldest_seconds", "Age of the oldest job that waits, 0 if none does.", registry=self.registry
        )
        self.jobs_running = Gauge("discgrade_jobs_running", "Jobs being graded here.", registry=self.registry)
        self.jobs_ended = Counter(
            "discgrade_jobs_ended",
            "Jobs graded to their end here, by outcome: ok, or the problem type's last part.",
            ["outcome"],
            registry=self.registry,
        )
        self.job_retries = Counter(
            "discgrade_job_retries",
            "Attempts at jobs that failed here and are made again, by outcome: the problem type's last part.",
            ["outcome"],
            registry=self.registry,
        )
        self.jobs_inherited = Counter(
            "discgrade_jobs_inherited", "Jobs and webhooks taken over from workers that died.", registry=self.registry
        )
        self.job = Histogram(
            "discgrade_job_seconds",
            "Time from a job's submission to its end.",
            ["outcome"],
            buckets=_JOB_SECONDS,
            registry=self.registry,
        )
        self.job_wait = Histogram(
            "discgrade_job_wait_seconds",
            "Time from a job's submission to its first attempt.",
            buckets=_JOB_SECONDS,
            registry=self.registry,
        )
        self.triton_ready = Gauge(
            "discgrade_triton_ready", "1 if the whole ensemble answers, else 0.", registry=self.registry
        )
        self.webhooks = Counter(
            "discgrade_webhooks",
            "Attempts to deliver webhooks, by outcome: ok, retried or failed.",
            ["outcome"],
            registry=self.registry,
        )
        self.fetch = Histogram(
            "discgrade_dicomweb_fetch_seconds",
            "Duration of fetching a study from a DICOMweb server.",
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.fetches = Counter(
            "discgrade_dicomweb_fetches",
            "Fetches from a DICOMweb server by outcome: ok, the problem type's last part, or client-closed-request.",
            ["server", "outcome"],
            registry=self.registry,
        )
        self.fetched_bytes = Counter(
            "discgrade_dicomweb_bytes",
            "Bytes of instances fetched from a DICOMweb server.",
            ["server"],
            registry=self.registry,
        )
        for stage in STAGES:  # series exist from the start, so that a rate over them has a zero to start from
            self.stage.labels(stage, "ok")
        for outcome in CLASSES:
            self.whole.labels(outcome)
            self.job.labels(outcome)
        self.outcomes.labels("ok")
        self.jobs_ended.labels("ok")
        self.job_retries.labels(InferenceUnavailable.slug)
        for outcome in ("ok", "retried", "failed"):
            self.webhooks.labels(outcome)

    def observe_stage(self, stage: str, outcome: str, seconds: float) -> None:
        """Count a stage that ended; for :class:`gateway.stopwatch.Stopwatch`."""
        self.stage.labels(stage, outcome).observe(seconds)
