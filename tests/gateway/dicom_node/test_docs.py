"""docs/integration.md and docs/conformance.md against the code."""

from __future__ import annotations

import json
import re
import textwrap
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydicom.uid import UID

from gateway.dicom_node.identity import IMPLEMENTATION_UID
from gateway.dicom_node.metrics import NodeMetrics
from gateway.dicom_node.scp import IMAGES, TRANSFER_SYNTAXES
from gateway.dicom_node.settings import Caller, CStoreDestination, NodeSettings, StowDestination, Tls, load_settings

DOCS = Path(__file__).parents[3] / "docs"
INTEGRATION, CONFORMANCE = ((DOCS / name).read_text() for name in ("integration.md", "conformance.md"))
UNITS = {"MiB": 2**20, "GiB": 2**30}


def settings_of(text: str) -> dict[str, str]:
    """Settings of a table, with their defaults."""
    found: dict[str, str] = {}
    for names, defaults in re.findall(r"^\| (`[a-z_.`, A-Z]+`) \|([^|]*)\|", text, re.MULTILINE):
        keys = re.findall(r"`([^`]+)`", names)
        values = [value.strip(" `") for value in defaults.split(",")] if len(keys) > 1 else [defaults.strip(" `")]
        found.update(zip(keys, values + [""] * len(keys), strict=False))
    return found


def check(model: type[BaseModel], shown: dict[str, str], leave: set[str]) -> None:
    for name, field in model.model_fields.items():
        if name in leave:
            continue
        assert name in shown, name
        default: Any = field.default
        text = shown[name].replace("GiB", "").strip()
        if isinstance(default, int | float) and text:
            assert float(default) == float(text) * (2**30 if "GiB" in shown[name] else 1), name
        elif isinstance(default, str) and text:
            assert default == text, name


def test_every_setting_is_there_with_its_default() -> None:
    part = INTEGRATION[INTEGRATION.index("## Settings") : INTEGRATION.index("## Metrics")]
    node, destination = part.split("Of each destination:")
    shown = settings_of(node)
    check(NodeSettings, shown, {"tls", "callers", "destinations"})
    assert {f"tls.{name}" for name in Tls.model_fields} <= shown.keys()
    assert {f"callers.TITLE.{name}" for name in Caller.model_fields} <= shown.keys()
    for kind in (CStoreDestination, StowDestination):
        check(kind, settings_of(destination), {"objects"})


def test_the_example_is_a_configuration(tmp_path: Path) -> None:
    (example,) = re.findall(r"```toml\n(.*?)```", INTEGRATION, re.DOTALL)
    path = tmp_path / "dicom-node.toml"
    path.write_text(textwrap.dedent(example))
    settings = load_settings(path)
    assert settings.routes(["MR_1"]) == ["pacs"]
    assert settings.routes(["ORTHANC"]) == ["pacs", "research"]


def test_orthancs_example_is_json() -> None:
    (example,) = re.findall(r"```json\n(.*?)```", INTEGRATION, re.DOTALL)
    assert json.loads(example)["DicomModalities"]["discgrade"][0] == NodeSettings.model_fields["ae_title"].default


def test_every_metric_is_there() -> None:
    part = INTEGRATION[INTEGRATION.index("## Metrics") : INTEGRATION.index("## When it does not work")]
    shown = {name.removesuffix("_total") for name in re.findall(r"^\| `(\w+)` \|", part, re.MULTILINE)}
    counters = {family.name for family in NodeMetrics().registry.collect() if family.name.startswith("discgrade_node_")}
    stock = {"revisions", "outbox", "outbox_oldest_seconds", "free_bytes"}
    assert shown == {name.removeprefix("discgrade_node_") for name in counters} | stock


def test_the_conformance_statement_names_what_is_accepted() -> None:
    rows = set(re.findall(r"\| (1\.2\.840\.10008\.[0-9.]+) \|", CONFORMANCE))
    assert set(map(str, (*IMAGES, *TRANSFER_SYNTAXES))) <= rows
    assert IMPLEMENTATION_UID in CONFORMANCE
    for uid in rows:
        assert UID(uid).name != uid, "no UID of the standard"
