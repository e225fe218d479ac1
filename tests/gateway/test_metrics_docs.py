"""docs/metrics.md against ``/metrics`` of a live app."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import httpx
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from gateway.dicom_node import metrics as node_metrics
from gateway.dicom_node.metrics import NodeMetrics
from tests.gateway.conftest import Parts

DOCS = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text()
_ROWS = re.findall(r"^\| `(discgrade_\w+)` \| (\w+) \|([^|]*)\|", DOCS, re.MULTILINE)
NODE = {name: kind for name, kind, _ in _ROWS if name.startswith("discgrade_node_")}
ROWS = [row for row in _ROWS if row[0] not in NODE]


async def families(client: httpx.AsyncClient) -> dict[str, Metric]:
    """The families, by the name under which they are asked for."""
    found = text_string_to_metric_families((await client.get("/metrics")).text)
    return {
        family.name + ("_total" if family.type == "counter" else ""): family
        for family in found
        if family.name.startswith("discgrade_")
    }


async def test_every_metric_is_described_with_its_type(client: httpx.AsyncClient) -> None:
    shown = {name: family.type for name, family in (await families(client)).items()}
    assert {name: kind for name, kind, _ in ROWS} == shown
    assert len(ROWS) == len(shown)


async def test_labels_are_those_described(client: httpx.AsyncClient, study: Parts) -> None:
    await client.post("/v1/grade", files=study)
    seen = {
        name: {label for sample in family.samples for label in sample.labels} - {"le"}
        for name, family in (await families(client)).items()
    }
    labelled = {name for name, labels in seen.items() if labels}
    assert len(labelled) > 15
    described = {name: set(re.findall(r"`(\w+)`", labels)) for name, _, labels in ROWS}
    assert {name: described[name] for name in labelled} == {name: seen[name] for name in labelled}


def test_the_nodes_metrics_are_described() -> None:
    counters = {f"{family.name}_total" for family in NodeMetrics().registry.collect() if family.type == "counter"}
    counters = {name for name in counters if name.startswith("discgrade_")}
    assert {name for name, kind in NODE.items() if kind == "counter"} == counters
    gauges = set(re.findall(r'"(discgrade_node_\w+)"', inspect.getsource(node_metrics)))
    assert {name for name, kind in NODE.items() if kind == "gauge"} == gauges
