"""docs/metrics.md against ``/metrics`` of a live app."""

from __future__ import annotations

import re
from pathlib import Path

import httpx
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from tests.gateway.conftest import Parts

DOCS = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text()
ROWS = re.findall(r"^\| `(discgrade_\w+)` \| (\w+) \|([^|]*)\|", DOCS, re.MULTILINE)


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
