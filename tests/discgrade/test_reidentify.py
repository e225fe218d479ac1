from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from discgrade.cli import app
from gateway.deidentify.mapping import Mapping


def test_a_pseudonym_is_looked_up_where_it_was_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = tmp_path / "mapping.jsonl"
    Mapping(kept).record([("PatientID", "PAT-4711", "A" * 20)])
    assert CliRunner().invoke(app, ["reidentify", "A" * 20]).exit_code == 2
    monkeypatch.setenv("DISCGRADE_DEIDENTIFY_MAPPING_FILE", str(kept))
    found = CliRunner().invoke(app, ["reidentify", "A" * 20])
    assert (found.exit_code, found.output) == (0, "PatientID: PAT-4711\n")
    assert CliRunner().invoke(app, ["reidentify", "B" * 20]).exit_code == 2
