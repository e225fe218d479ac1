"""The committed dashboards are those that the generator makes, and Grafana could load them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

from k8s.monitoring.generator.files import MONITORING, made

FILES = made()
BOARDS = [path for path in FILES if path.suffix == ".json"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_committed_is_what_the_generator_makes(path: Path) -> None:
    assert path.read_text() == FILES[path], "run python -m k8s.monitoring.generator"


def test_nothing_else_lies_beside_them() -> None:
    assert set((MONITORING / "dashboards").iterdir()) == set(BOARDS)
    component = yaml.safe_load((MONITORING / "kustomization.yaml").read_text())
    (config_map,) = component["configMapGenerator"]
    assert {MONITORING / name for name in config_map["files"]} == set(BOARDS)


@pytest.mark.parametrize("path", BOARDS, ids=lambda path: path.stem)
def test_panels_are_whole(path: Path) -> None:
    board: dict[str, Any] = json.loads(path.read_text())
    assert board["uid"] == f"discgrade-{path.stem}"
    assert {variable["name"] for variable in board["templating"]["list"]} == {"datasource", "namespace"}
    panels = board["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert place["x"] + place["w"] <= 24
        assert not cells & taken, f"{panel['title']} lies on another panel"
        taken |= cells
        for target in panel.get("targets", []):
            assert panel["datasource"] == {"type": "prometheus", "uid": "$datasource"}
            assert target["legendFormat"]
            assert "up{" in target["expr"] or "$namespace" in target["expr"]
    assert len({panel["title"] for panel in panels}) == len(panels)


@pytest.mark.parametrize("path", BOARDS, ids=lambda path: path.stem)
def test_grafanas_own_schema_reads_and_writes_the_same(path: Path) -> None:
    """Its models are made from Grafana's schema: whatever that does not know would be lost."""
    committed = json.loads(path.read_text())
    read = Dashboard.from_json(committed)
    assert json.loads(JSONEncoder(sort_keys=True).encode(read)) == committed
