"""Gauges that are read off when ``/metrics`` is: admission, threads, disk, tritonserver."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from prometheus_client import CollectorRegistry, Gauge

import discgrade
from gateway.admission import Admission
from gateway.workers import Workers

__all__ = ["watch_house"]


def watch_house(
    registry: CollectorRegistry,
    admission: Admission,
    workers: Workers,
    data_dir: Path,
    *,
    max_queued_jobs: int,
    triton_restarts: Callable[[], int],
) -> None:
    """Expose the state of one gateway process.

    Args:
        registry: Where.
        admission: Its slices and their bounds.
        workers: Its threads.
        data_dir: The folder whose disk is watched.
        max_queued_jobs: Most jobs that have not ended.
        triton_restarts: How often the embedded tritonserver was started again.
    """

    def gauge(name: str, what: str, **functions: Callable[[], float]) -> None:
        made = Gauge(f"discgrade_{name}", what, ["state"], registry=registry)
        for state, function in functions.items():
            made.labels(state).set_function(function)

    def single(name: str, what: str, function: Callable[[], float]) -> None:
        Gauge(f"discgrade_{name}", what, registry=registry).set_function(function)

    gauge(
        "admission_slices",
        "Slices of studies that are present (being received, waiting or running) and running.",
        present=lambda: admission.present,
        running=lambda: admission.running,
    )
    gauge(
        "admission_limit_slices",
        "Most slices present and running.",
        present=lambda: admission.capacity + admission.queue,
        running=lambda: admission.capacity,
    )
    gauge(
        "compute_threads",
        "Threads for work on pixels: how many there are, how many work, and how much work waits for one.",
        limit=lambda: workers.threads,
        busy=lambda: workers.busy,
        waiting=lambda: workers.waiting,
    )
    single("disk_free_bytes", "Free space of the data folder's disk.", lambda: shutil.disk_usage(data_dir).free)
    single("disk_size_bytes", "Size of the data folder's disk.", lambda: shutil.disk_usage(data_dir).total)
    single("jobs_limit", "Most jobs that have not ended.", lambda: max_queued_jobs)
    single("triton_restarts", "How often the embedded tritonserver was started again.", triton_restarts)
    build = Gauge(
        "discgrade_build_info", "Always 1; the label says which version runs.", ["version"], registry=registry
    )
    build.labels(discgrade.__version__).set(1)
