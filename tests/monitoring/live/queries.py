"""What dashboards and rules ask, and whether a Prometheus has an answer."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from pathlib import Path

from tests.monitoring.live.prometheus import Prometheus

__all__ = ["Asked", "ask_panels", "ask_rules", "panel_queries"]

DASHBOARDS = Path(__file__).parents[3] / "k8s" / "monitoring" / "dashboards"
_METRIC = re.compile(r"(?<![\w:\"])(discgrade[\w:]*|nv_\w+|up|process_\w+)(?=[\s{\[)]|$)")


@dataclass(frozen=True)
class Asked:
    """A query and what came back.

    Attributes:
        where: Dashboard, or kind of rule.
        title: Panel and legend, or rule.
        expression: As it was sent.
        series: How many came back; of an alert, how many of the metrics it is about have none.
        value: One of the values; NaN where nothing was observed.
        ok: Whether there is an answer.
    """

    where: str
    title: str
    expression: str
    series: int
    value: float
    ok: bool


def panel_queries() -> list[tuple[str, str, str, str]]:
    """Dashboard, panel, legend and expression of every query, its variables filled in."""
    found = []
    for path in sorted(DASHBOARDS.glob("*.json")):
        for panel in json.loads(path.read_text())["panels"]:
            for target in panel.get("targets", []):
                expression = target["expr"].replace("$__rate_interval", "30s").replace("$namespace", ".*")
                found.append((path.stem, panel["title"], target["legendFormat"], expression))
    return found


def ask_panels(prometheus: Prometheus) -> list[Asked]:
    """Ask every query of every panel."""
    return [
        _asked(prometheus, board, f"{title}: {legend}", expression)
        for board, title, legend, expression in panel_queries()
    ]


def ask_rules(prometheus: Prometheus) -> list[Asked]:
    """Ask every recording rule, and for the series that every alert is about."""
    asked = []
    for rule in prometheus.rules():
        assert rule["health"] != "err", rule
        if rule["health"] == "unknown":  # its turn has not come yet
            asked.append(Asked(rule["type"], rule["name"], rule["query"], 0, math.nan, False))
            continue
        if rule["type"] == "recording":
            asked.append(_asked(prometheus, "recording", rule["name"], rule["query"]))
            continue
        metrics = sorted(set(_METRIC.findall(rule["query"])))
        missing = [name for name in metrics if not prometheus.query(f"count({name})")]
        asked.append(
            Asked(
                "alert", rule["name"], rule["query"], len(missing), len(rule["alerts"]), bool(metrics) and not missing
            )
        )
    return asked


def _asked(prometheus: Prometheus, where: str, title: str, expression: str) -> Asked:
    result = prometheus.query(expression)
    values = [float(series["value"][1]) for series in result]
    value = next((value for value in values if not math.isnan(value)), math.nan)
    return Asked(where, title, expression, len(values), value, bool(values))
