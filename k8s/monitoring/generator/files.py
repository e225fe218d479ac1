"""The files that are made, and what is in them."""

from __future__ import annotations

from pathlib import Path

import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder

from k8s.monitoring.generator.boards import BOARDS

__all__ = ["MONITORING", "made"]

MONITORING = Path(__file__).parents[1]
_HEAD = "# Made by python -m k8s.monitoring.generator from rules/*.yaml, for the Prometheus operator.\n"


def made() -> dict[Path, str]:
    """Path to contents of every file."""
    dashboards = {
        MONITORING / "dashboards" / f"{name}.json": JSONEncoder(sort_keys=True, indent=2).encode(make()) + "\n"
        for name, make in BOARDS.items()
    }
    return {
        **dashboards,
        MONITORING / "prometheus-rule.yaml": _HEAD + yaml.safe_dump(_rules(), sort_keys=False, width=120),
    }


def _rules() -> dict[str, object]:
    files = sorted((MONITORING / "rules").glob("*.yaml"))
    groups = [group for path in files for group in yaml.safe_load(path.read_text())["groups"]]
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "discgrade", "labels": {"app.kubernetes.io/component": "monitoring"}},
        "spec": {"groups": groups},
    }
