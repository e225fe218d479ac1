"""The load test itself, for a moment, against a real server: what it sends, what it reports."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.embedded import EmbeddedTriton
from loadtest import checks
from loadtest.phases import Loader
from loadtest.records import GRADE_ROUTES, JOB
from loadtest.report import write_report
from loadtest.scenarios import SCENARIOS, Outcome
from loadtest.server import own_server, watched

pytestmark = pytest.mark.functional


def test_all_ways_in_under_a_closed_and_an_open_loop(triton: EmbeddedTriton, tmp_path: Path) -> None:
    with own_server("--triton-url", triton.url) as target, watched(target, every_seconds=0.1) as memory:
        loader = Loader(target, "smoke", tmp_path / "out", tmp_path / "studies")
        closed = loader.closed("closed", users=3, studies=9)
        opened = loader.open("open", rate=3.0, seconds=3.0)
        phases = (closed, opened)
        assert target.ready()
        records = [record for phase in phases for record in phase.records]
        found = [checks.all_as_promised(phases), checks.nothing_lost(records)]
        scenario = SCENARIOS["load"]
        page = write_report("load", scenario, Outcome(phases, found, ["A note."]), target, memory, tmp_path / "report")

    assert [check for check in found if not check.kept] == []
    routes = {record.route for record in closed.records if record.outcome == "ok"}
    assert {"POST /v1/grade", "Grade", "POST /v1/jobs", JOB, "GET /v1/jobs/{id}"} <= routes
    sent = [record for record in closed.records if record.route in (*GRADE_ROUTES, "POST /v1/jobs")]
    assert len(sent) == 9 + sum(record.outcome == "overloaded" for record in sent)
    assert {record.outcome for record in opened.records} <= {"ok", "refused", "overloaded"}

    assert memory.gateway[-1] > 0
    text = page.read_text()
    assert "| every accepted job ends as it should |" in text
    assert "A note." in text
    assert (page.parent / "latency.png").read_bytes().startswith(b"\x89PNG")
    assert (page.parent / "summary.csv").read_text().startswith("phase,route,outcome,count")
    for name in ("closed", "open"):
        assert "Locust" in (tmp_path / "out" / f"{name}.html").read_text()
        assert (tmp_path / "out" / f"{name}_stats.csv").exists()
