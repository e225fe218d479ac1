"""What was measured: one row a request, and what is computed from many of them."""

from __future__ import annotations

import csv
import dataclasses
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from scipy import stats

__all__ = [
    "ACCEPTED",
    "GRADE_ROUTES",
    "JOB",
    "OUTCOMES",
    "Quantile",
    "Record",
    "RecordWriter",
    "Row",
    "quantile",
    "read_records",
    "rows",
]

OUTCOMES = ("ok", "refused", "limited", "overloaded", "failed")
"""``refused``: a bad study got its 4xx; ``limited``: 429; ``overloaded``: 503, both with the time to come back;
``failed``: all else."""
ACCEPTED = frozenset({"ok", "refused"})
"""Outcomes of what the server took on and brought to its end."""
JOB = "job, submitted to ended"
GRADE_ROUTES = ("POST /v1/grade", "Grade")
"""Requests whose sender waits for a study to be graded."""


@dataclass(frozen=True)
class Record:
    """One request.

    Attributes:
        start: When it was to begin, in s of the machine's monotonic clock: in an open loop, when the study arrived.
        late: Seconds by which the load generator began it later than that.
        seconds: From ``start`` to the last byte of the answer.
        route: Method and route template, the gRPC method, or :data:`JOB`.
        outcome: One of :data:`OUTCOMES`.
        kind: Of the study that is sent.
        slices: Of that study; 0 where nothing gradable is sent.
        reason: Why it failed, or the problem's type; empty otherwise.
    """

    start: float
    late: float
    seconds: float
    route: str
    outcome: str
    kind: str = ""
    slices: int = 0
    reason: str = ""


_FIELDS = [field.name for field in dataclasses.fields(Record)]


class RecordWriter:
    """Writes records as CSV, each at once: what was measured outlives the process.

    Args:
        path: The file; one that is there is replaced.
    """

    def __init__(self, path: Path) -> None:
        self._sink = path.open("w", newline="")
        self._csv = csv.writer(self._sink)
        self._csv.writerow(_FIELDS)

    def close(self) -> None:
        """Close the file."""
        self._sink.close()

    def write(self, record: Record) -> None:
        """Append a record."""
        self._csv.writerow(dataclasses.astuple(record))
        self._sink.flush()


def read_records(path: Path) -> list[Record]:
    """Read what :class:`RecordWriter` wrote, in order of start."""
    with path.open(newline="") as source:
        records = [
            Record(
                float(row["start"]),
                float(row["late"]),
                float(row["seconds"]),
                row["route"],
                row["outcome"],
                row["kind"],
                int(row["slices"]),
                row["reason"],
            )
            for row in csv.DictReader(source)
        ]
    return sorted(records, key=lambda record: record.start)


@dataclass(frozen=True)
class Quantile:
    """A quantile of a sample, with the 95 % interval of the distribution's own.

    Attributes:
        value: The smallest value that at least this share of the sample does not exceed.
        low: Lower end of the interval.
        high: Upper end; infinite where the sample is too small to bound it.
    """

    value: float
    low: float
    high: float


def quantile(values: Iterable[float], share: float) -> Quantile:
    """A quantile by order statistics, which assume nothing of the distribution.

    Args:
        values: At least one; independent ones for the interval to hold.
        share: Between 0 and 1, such as 0.99.

    Raises:
        ValueError: There are no values.
    """
    ordered = sorted(values)
    if not ordered:
        raise ValueError("there is no quantile of nothing")
    count = len(ordered)
    # The number of values below the true quantile is binomial (Hahn & Meeker, Statistical Intervals, 5.2.2).
    low, high = (int(rank) for rank in stats.binom.ppf((0.025, 0.975), count, share))
    return Quantile(
        ordered[max(math.ceil(share * count) - 1, 0)],
        ordered[max(low - 1, 0)],
        ordered[high] if high < count else math.inf,
    )


@dataclass(frozen=True)
class Row:
    """Requests of one route that ended alike; milliseconds.

    Attributes:
        route: As in :class:`Record`.
        outcome: As in :class:`Record`.
        count: How many.
        per_second: How many a second.
        p50: Median latency.
        p90: Latency that a tenth exceeds.
        p95: Latency that a twentieth exceeds.
        p99: Latency that a hundredth exceeds.
        longest: Latency of the slowest.
    """

    route: str
    outcome: str
    count: int
    per_second: float
    p50: float
    p90: float
    p95: float
    p99: float
    longest: float


def rows(records: Sequence[Record], seconds: float) -> list[Row]:
    """Summarise, one row for each route and outcome.

    Args:
        records: Of one phase.
        seconds: Length of the phase.
    """
    groups: dict[tuple[str, int], list[float]] = {}
    for record in records:
        groups.setdefault((record.route, OUTCOMES.index(record.outcome)), []).append(record.seconds * 1000)

    def row(route: str, outcome: str, values: list[float]) -> Row:
        p50, p90, p95, p99 = (round(quantile(values, share).value, 1) for share in (0.5, 0.9, 0.95, 0.99))
        return Row(
            route, outcome, len(values), round(len(values) / seconds, 3), p50, p90, p95, p99, round(max(values), 1)
        )

    return [row(route, OUTCOMES[outcome], values) for (route, outcome), values in sorted(groups.items())]
