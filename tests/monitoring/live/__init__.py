"""Every query of dashboards and rules, asked of a real Prometheus that scrapes the real suite under a small load."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.monitoring.live.prometheus import Prometheus, running_prometheus
from tests.monitoring.live.queries import Asked, ask_panels, ask_rules
from tests.monitoring.live.suite import running_suite, under_load

__all__ = ["ask_all", "monitored"]


@contextmanager
def monitored(folder: Path) -> Iterator[Prometheus]:
    """The suite under load, and a Prometheus that scrapes it.

    Args:
        folder: Empty; for all their data.
    """
    (folder / "prometheus").mkdir()
    with (
        running_suite(folder) as suite,
        running_prometheus(folder / "prometheus", suite.targets) as prometheus,
        under_load(suite, folder / "studies"),
    ):
        yield prometheus


def ask_all(prometheus: Prometheus) -> list[Asked]:
    """Every query of every panel and rule."""
    return ask_panels(prometheus) + ask_rules(prometheus)
