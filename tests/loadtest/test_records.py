"""Records survive their file, and quantiles are what their definition says."""

from __future__ import annotations

import math
import random
from pathlib import Path

import pytest

from loadtest.records import Record, RecordWriter, quantile, read_records, rows


def test_records_are_read_as_they_were_written(tmp_path: Path) -> None:
    early = Record(10.5, 0.0, 1.25, "POST /v1/grade", "ok", "zip", 15)
    late = Record(11.0, 0.125, 0.5, "Grade", "failed", "", 0, 'a reason, "quoted"')
    writer = RecordWriter(tmp_path / "records.csv")
    writer.write(late)
    writer.write(early)
    writer.close()
    assert read_records(tmp_path / "records.csv") == [early, late]


@pytest.mark.parametrize(
    ("values", "share", "value"),
    [
        ([3, 1, 2], 0.5, 2),
        ([1, 2, 3, 4], 0.5, 2),
        (range(1, 101), 0.99, 99),
        (range(1, 102), 0.99, 100),
        ([7], 0.99, 7),
    ],
    ids=["odd", "even", "100", "101", "one"],
)
def test_a_quantile_is_an_observed_value(values: list[float], share: float, value: float) -> None:
    assert quantile(values, share).value == value


def test_too_few_values_do_not_bound_a_high_quantile() -> None:
    assert quantile(range(50), 0.99).high == math.inf
    assert quantile(range(2000), 0.99).high < 2000


def test_the_interval_holds_the_true_quantile_as_often_as_it_says() -> None:
    rng = random.Random(2)
    true = math.log(10)  # of the exponential distribution's p90
    hits = 0
    for _ in range(500):
        found = quantile([rng.expovariate(1.0) for _ in range(200)], 0.9)
        hits += found.low <= true <= found.high
    assert 0.92 < hits / 500 < 0.995


def test_there_is_no_quantile_of_nothing() -> None:
    with pytest.raises(ValueError, match="nothing"):
        quantile([], 0.5)


def test_a_row_holds_one_route_and_one_outcome() -> None:
    records = [Record(float(i), 0.0, 0.001 * (i + 1), "POST /v1/grade", "ok") for i in range(100)]
    records += [Record(1.0, 0.0, 0.002, "POST /v1/grade", "overloaded"), Record(1.0, 0.0, 0.004, "Grade", "ok")]
    grade, ok, told = rows(records, 50.0)
    assert (grade.route, grade.count, grade.p50) == ("Grade", 1, 4.0)
    assert (ok.outcome, ok.count, ok.per_second) == ("ok", 100, 2.0)
    assert (ok.p50, ok.p90, ok.p95, ok.p99, ok.longest) == (50.0, 90.0, 95.0, 99.0, 100.0)
    assert (told.outcome, told.count, told.longest) == ("overloaded", 1, 2.0)
