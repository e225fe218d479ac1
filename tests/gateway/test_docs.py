"""docs/api.md against the code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gateway.settings import Settings

DOCS = (Path(__file__).parents[2] / "docs" / "api.md").read_text()
MIB = 1024 * 1024


def test_every_setting_is_there_with_its_default() -> None:
    rows = dict(re.findall(r"^\| `DISCGRADE_(\w+)` \|([^|]*)\|", DOCS, re.MULTILINE))
    assert set(rows) == {name.upper() for name in Settings.model_fields}
    units = {"MiB": MIB, "GiB": 1024 * MIB}
    for name, field in Settings.model_fields.items():
        shown = rows[name.upper()].strip()
        if found := re.fullmatch(r"(\d+) (MiB|GiB)", shown):
            assert field.default == int(found[1]) * units[found[2]]
        elif re.fullmatch(r"\d+", shown):
            assert field.default == int(shown)


@pytest.mark.parametrize(
    "path", ["/v1/grade", "/v1/models", "/livez", "/readyz", "/metrics", "/metrics/triton", "/openapi.json", "/docs"]
)
def test_paths_are_named(path: str) -> None:
    assert path in DOCS
