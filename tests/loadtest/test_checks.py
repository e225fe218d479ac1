"""Promises are kept or broken as the figures say, and growth is told from noise."""

from __future__ import annotations

import random

import pytest

from loadtest import checks
from loadtest.phases import Phase
from loadtest.records import JOB, Record


def phase(*records: Record, seconds: float = 100.0) -> Phase:
    return Phase("phase", "a load", 0.0, seconds, records, 0.1)


def graded(*seconds: float) -> list[Record]:
    return [Record(float(at), 0.0, value, "POST /v1/grade", "ok", "zip", 15) for at, value in enumerate(seconds)]


def test_a_phase_counts_what_was_sent_and_what_was_done_within_it() -> None:
    records = [
        *graded(1.0, 2.0),
        Record(3.0, 0.25, 0.1, "Grade", "overloaded"),
        Record(4.0, 0.5, 0.1, "POST /v1/jobs", "ok"),
        Record(4.0, 0.5, 5.0, JOB, "ok"),
        Record(8.0, 0.0, 0.1, "POST /v1/jobs", "ok"),
        Record(8.0, 0.0, 5.0, JOB, "ok"),  # done after the end
        Record(9.0, 0.75, 0.1, "GET /v1/jobs/{id}", "ok"),
    ]
    found = phase(*records, seconds=10.0)
    assert found.sent_per_second == pytest.approx(0.5)
    assert found.done_per_second == pytest.approx(0.3)
    assert found.waited("ok") == [1.0, 2.0]
    assert found.waited("overloaded") == [0.1]
    assert found.latest == 0.5


@pytest.mark.parametrize(("factor", "kept"), [(1.0, True), (1.2, True), (1.3, False), (6.0, False)])
def test_accepted_work_keeps_its_p99(factor: float, kept: bool) -> None:
    waits = [1 + i / 100 for i in range(200)]
    check = checks.accepted_keep_p99(phase(*graded(*waits)), phase(*graded(*(factor * wait for wait in waits))))
    assert check.kept is kept
    assert f"= {factor:.2f}" in check.found


@pytest.mark.parametrize(("seconds", "kept"), [(0.05, True), (1.5, False)])
def test_the_rest_is_told_fast(seconds: float, kept: bool) -> None:
    told = [Record(float(i), 0.0, seconds, "Grade", "overloaded") for i in range(20)]
    assert checks.refused_fast([phase(*told)]).kept is kept
    assert checks.refused_fast([phase(*graded(9.0))]).kept


def test_every_failure_is_named() -> None:
    check = checks.all_as_promised([phase(*graded(1.0), Record(0, 0, 1, "Grade", "failed", reason="500 internal"))])
    assert not check.kept
    assert check.found == "1 of 2 requests; the others: 500 internal"
    assert checks.all_as_promised([phase(*graded(1.0))]).kept


def test_a_job_that_never_ends_is_lost() -> None:
    accepted = [Record(float(i), 0.0, 0.1, "POST /v1/jobs", "ok") for i in range(3)]
    ended = [Record(0.0, 0.0, 2.0, JOB, "ok"), Record(1.0, 0.0, 2.0, JOB, "refused"), Record(2, 0, 2, JOB, "failed")]
    assert not checks.nothing_lost([*accepted, *ended]).kept
    assert checks.nothing_lost([*accepted[:2], *ended[:2]]).kept


@pytest.mark.parametrize(("done", "kept"), [(100, True), (60, False)])
def test_overload_costs_little_work(done: int, kept: bool) -> None:
    assert checks.work_goes_on(1.0, phase(*graded(*[0.1] * done), seconds=100.0)).kept is kept


@pytest.mark.parametrize(("after", "kept"), [(1000.0, True), (1300.0, False)])
def test_memory_comes_back(after: float, kept: bool) -> None:
    assert checks.memory_is_back(1000.0, after).kept is kept


@pytest.mark.parametrize("growth", [0.0, 40.0])
def test_growth_is_found_in_noise(growth: float) -> None:
    rng = random.Random(4)
    values = [300 + growth * i / 500 + rng.gauss(0, 5) for i in range(500)]
    found = checks.slope(values, studies=1000)
    assert found.low < growth < found.high
    assert found.high - found.low < 10
    assert checks.memory_is_flat("the gateway", values, 1000).kept is (growth < 15)


def test_a_slope_needs_samples() -> None:
    with pytest.raises(ValueError, match="40 values"):
        checks.slope([1.0] * 39, 100)
