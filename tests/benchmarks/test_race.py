"""The race in its small form: that all contenders answer, and what is written of it; never how fast they are."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.race.report import report, verdicts
from benchmarks.race.results import Results

ROOT = Path(__file__).parents[2]
KEYS = ("a", "a, zip", "b", "b, INT8", "b, served engine", "b, region", "c", "d", "e")


def _results(a: float = 100.0, bare: float = 100.0, rate: float = 3.0) -> Results:
    return Results(
        machine={"cores": 2},
        contenders=dict.fromkeys(KEYS, "one of them"),
        latency_ms={**dict.fromkeys(KEYS, [bare] * 3), "a": [a] * 3},
        throughput={8: {"a": rate, "c": 1.0}},
        stages_ms={"read": 1.0},
        triton_ms={"disc_crop": 1.0},
        slices_ms={n: {"a": 10.0 * n + 5} for n in (1, 4, 8, 16)},
        matrix_ms={256: {"a": 1.0}},
        field_ms={280: {"a": 1.0}},
        memory={"studies": [1, 2, 3, 4], "server": [90, 100, 100, 100], "triton": [300, 300, 300, 300]},
        bytes=1,
        grid=(1, 1, 32, 32),
    )


def test_targets_that_are_met() -> None:
    assert [verdict.met for verdict in verdicts(_results())] == [True] * 4


def test_targets_that_are_not() -> None:
    results = _results(a=116.0, rate=2.9)
    results.slices_ms = {n: {"a": float(n**3)} for n in (4, 8, 16, 32)}
    results.memory["triton"] = [300, 300, 300, 330]
    assert [verdict.met for verdict in verdicts(results)] == [False] * 4
    text = report(results, [Path(f"{name}.png") for name in "abcd"])
    assert text.count("**no**") == 4


@pytest.mark.functional
def test_a_small_race(tmp_path: Path) -> None:
    """All contenders find the same discs, or the run fails."""
    run = subprocess.run(
        [sys.executable, "-m", "benchmarks.race", "--quick", "--out", tmp_path],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    results = Results.model_validate_json((tmp_path / "results" / "race.json").read_text())
    assert tuple(results.latency_ms) == KEYS
    assert set(results.throughput[2]) == {"a", "a, zip", "b", "c", "d", "e"}
    text = (tmp_path / "report.md").read_text()
    assert all(f"({key})" in text for key in KEYS)
    for name in ("latency", "throughput", "size", "memory"):
        assert f"results/race-{name}.png" in text
        assert (tmp_path / "results" / f"race-{name}.png").read_bytes().startswith(b"\x89PNG")
