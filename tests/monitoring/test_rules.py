"""The rules: what fires when, in promtool; and that each alert is about series that exist and has a runbook entry."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.dicom_node.metrics import NodeMetrics
from gateway.metrics import Metrics

ROOT = Path(__file__).parents[2]
RULES = sorted((ROOT / "k8s" / "monitoring" / "rules").glob("*.yaml"))
TESTS = sorted((Path(__file__).parent / "alerts").glob("*.yaml"))
RUNBOOK = (ROOT / "docs" / "runbook.md").read_text()
METRICS_PAGE = (ROOT / "docs" / "metrics.md").read_text()
needs_promtool = pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed (prometheus)")


def rules() -> list[dict[str, Any]]:
    return [rule for path in RULES for group in yaml.safe_load(path.read_text())["groups"] for rule in group["rules"]]


def alerts() -> list[dict[str, Any]]:
    return [rule for rule in rules() if "alert" in rule]


@needs_promtool
@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.stem)
def test_alerts_fire_when_they_should_and_only_then(path: Path) -> None:
    done = subprocess.run(["promtool", "test", "rules", path.name], cwd=path.parent, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_alert_has_a_test_in_which_it_fires() -> None:
    fired = {name for path in TESTS for name in re.findall(r'alertname="(\w+)"', path.read_text())}
    assert fired == {alert["alert"] for alert in alerts()}
    assert {path.name for path in TESTS} == {path.name for path in RULES}


@pytest.mark.parametrize("alert", alerts(), ids=lambda alert: alert["alert"])
def test_each_alert_says_what_is_wrong_and_where_to_read_on(alert: dict[str, Any]) -> None:
    assert alert["labels"]["severity"] in {"page", "ticket"}
    assert alert["annotations"].keys() == {"summary", "description", "runbook_url"}
    page, _, anchor = alert["annotations"]["runbook_url"].partition("#")
    assert (page, anchor) == ("docs/runbook.md", alert["alert"].lower())
    assert re.search(rf"^## {alert['alert']}$", RUNBOOK, re.MULTILINE)


def test_the_runbook_has_no_entry_of_an_alert_that_is_gone() -> None:
    assert sorted(re.findall(r"^## (\w+)$", RUNBOOK, re.MULTILINE)) == sorted(alert["alert"] for alert in alerts())


def test_rules_ask_for_series_that_exist() -> None:
    exist = {
        sample.name
        for registry in (Metrics().registry, NodeMetrics().registry)
        for family in registry.collect()
        for sample in family.samples
    }
    described = set(re.findall(r"`((?:discgrade|nv)_\w+)`", METRICS_PAGE))
    exist |= described | {f"{name}{suffix}" for name in described for suffix in ("_bucket", "_count", "_sum")}
    exist |= {"discgrade_node_outbox", "discgrade_node_outbox_oldest_seconds", "discgrade_node_free_bytes"}
    exist |= {f"{name}_total" for name in NodeMetrics().registry._names_to_collectors}
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    for rule in rules():
        for name in re.findall(
            r"\b((?:discgrade|nv)_\w+)\b(?!=)", re.sub(r"discgrade:\S+?(?=[\s)]|$)", "", rule["expr"])
        ):
            assert name in exist, f"{name} in {rule}"
        assert set(re.findall(r"discgrade:[\w:]+", rule["expr"])) <= recorded
