"""The dashboards, one a module."""

from __future__ import annotations

from collections.abc import Callable

from grafana_foundation_sdk.models.dashboard import Dashboard

from k8s.monitoring.generator.boards.jobs import jobs
from k8s.monitoring.generator.boards.latency import latency
from k8s.monitoring.generator.boards.node import node
from k8s.monitoring.generator.boards.overview import overview
from k8s.monitoring.generator.boards.quality import quality
from k8s.monitoring.generator.boards.triton import triton

__all__ = ["BOARDS"]

BOARDS: dict[str, Callable[[], Dashboard]] = {
    board.__name__: board for board in (overview, latency, triton, jobs, quality, node)
}
"""File name, without its end, to what makes it."""
