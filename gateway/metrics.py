"""Prometheus metrics of one gateway process."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

__all__ = ["STAGES", "Metrics"]

STAGES = ("upload", "read", "preprocess", "inference", "postprocess")
"""The parts of a request, in order; the names of ``timings_ms`` and of the label ``stage``."""

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
_DISCS = (0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 15, 24)


class Metrics:
    """The collectors, in a registry of their own so that several apps can live in one process.

    Attributes:
        registry: What ``/metrics`` exposes.
        whole: Seconds from the request's first byte to its answer, by outcome ``ok`` or ``error``.
        stage: Seconds of each of :data:`STAGES`, of graded studies.
        in_flight: Grading requests being served.
        slices: Slices ``present`` (being received, waiting or running) and ``running``.
        outcomes: Grading requests by outcome: ``ok``, a problem's slug, or ``client-closed-request``.
        discs: Discs found per graded study.
        jobs_queued: Jobs that wait; the same at every worker.
        jobs_running: Jobs this process grades.
        jobs_ended: Jobs this process graded to their end, by outcome: ``ok`` or a problem's slug.
        webhooks: Attempts to deliver webhooks, by outcome: ``ok``, ``retried`` or ``failed``.
        fetch: Seconds from the search for a study at a DICOMweb server to its last byte, of studies that arrived.
        fetches: Fetches by server and outcome: ``ok``, a problem's slug, or ``client-closed-request``.
        fetched_bytes: Bytes of instances by server.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.whole = Histogram(
            "discgrade_grade_seconds",
            "Whole duration of POST /v1/grade.",
            ["outcome"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.stage = Histogram(
            "discgrade_stage_seconds",
            "Duration of one stage of a graded study.",
            ["stage"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.slices = Gauge(
            "discgrade_admission_slices",
            "Slices of studies that are present (being received, waiting or running) and running.",
            ["state"],
            registry=self.registry,
        )
        self.in_flight = Gauge("discgrade_grade_in_flight", "Grading requests being served.", registry=self.registry)
        self.outcomes = Counter(
            "discgrade_grade_outcomes",
            "Grading requests by outcome: ok, the problem type's last part, or client-closed-request.",
            ["outcome"],
            registry=self.registry,
        )
        self.discs = Histogram(
            "discgrade_discs_per_study", "Discs found in a graded study.", buckets=_DISCS, registry=self.registry
        )
        self.jobs_queued = Gauge("discgrade_jobs_queued", "Jobs that wait, in all.", registry=self.registry)
        self.jobs_running = Gauge("discgrade_jobs_running", "Jobs being graded here.", registry=self.registry)
        self.jobs_ended = Counter(
            "discgrade_jobs_ended",
            "Jobs graded to their end here, by outcome: ok, or the problem type's last part.",
            ["outcome"],
            registry=self.registry,
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
            self.stage.labels(stage)
        for outcome in ("ok", "error"):
            self.whole.labels(outcome)
        self.outcomes.labels("ok")
        self.jobs_ended.labels("ok")
        for outcome in ("ok", "retried", "failed"):
            self.webhooks.labels(outcome)
