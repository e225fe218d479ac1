"""What must hold under load, and whether it did."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from loadtest.phases import Phase
from loadtest.records import JOB, Record, quantile

__all__ = [
    "Check",
    "Slope",
    "accepted_keep_p99",
    "all_as_promised",
    "memory_is_back",
    "memory_is_flat",
    "nothing_lost",
    "refused_fast",
    "slope",
    "work_goes_on",
]

_P99_RATIO = 1.25
_REFUSED_SECONDS = 1.0
_SHARE_OF_CAPACITY = 0.85
_BACK_RATIO = 1.15
_FLAT_MIB = 15.0
_BLOCKS = 20


@dataclass(frozen=True)
class Check:
    """A promise.

    Attributes:
        promise: What should hold.
        found: What was measured.
        kept: Whether it held.
    """

    promise: str
    found: str
    kept: bool


def all_as_promised(phases: Sequence[Phase]) -> Check:
    """Every answer is a result, a problem document for a bad study, or the time to come back."""
    failed = [record for phase in phases for record in phase.records if record.outcome == "failed"]
    count = sum(len(phase.records) for phase in phases)
    reasons = ", ".join(sorted({record.reason for record in failed}))
    return Check(
        "every answer is a result, a 4xx for a bad study, or 429 or 503 with `Retry-After`",
        f"{count - len(failed)} of {count} requests" + (f"; the others: {reasons}" if failed else ""),
        not failed,
    )


def accepted_keep_p99(at_capacity: Phase, overload: Phase) -> Check:
    """Studies that are taken wait no longer under overload than at capacity."""
    before, after = (quantile(phase.waited("ok"), 0.99) for phase in (at_capacity, overload))
    ratio = after.value / before.value
    return Check(
        f"p99 of graded studies under overload ≤ {_P99_RATIO:g} × p99 at capacity",
        f"{after.value:.2f} s / {before.value:.2f} s = {ratio:.2f}",
        ratio <= _P99_RATIO,
    )


def refused_fast(phases: Sequence[Phase]) -> Check:
    """Who is told to come back is told soon."""
    waits = [
        record.seconds for phase in phases for record in phase.records if record.outcome in {"limited", "overloaded"}
    ]
    promise = f"p99 of 429 and 503 ≤ {_REFUSED_SECONDS:g} s"
    if not waits:
        return Check(promise, "nobody was told to come back", True)
    p99 = quantile(waits, 0.99).value
    return Check(promise, f"{p99:.2f} s, {len(waits)} answers", p99 <= _REFUSED_SECONDS)


def work_goes_on(capacity: float, overload: Phase) -> Check:
    """Overload costs little of the work that is done."""
    share = overload.done_per_second / capacity
    return Check(
        f"studies done a second under overload ≥ {_SHARE_OF_CAPACITY:.0%} of capacity",
        f"{overload.done_per_second:.2f} / {capacity:.2f} = {share:.0%}",
        share >= _SHARE_OF_CAPACITY,
    )


def nothing_lost(records: Iterable[Record]) -> Check:
    """Every job that was accepted ended as it should."""
    made = list(records)
    accepted = sum(record.route == "POST /v1/jobs" and record.outcome == "ok" for record in made)
    ended = sum(record.route == JOB and record.outcome in {"ok", "refused"} for record in made)
    return Check("every accepted job ends as it should", f"{ended} of {accepted}", accepted == ended)


def memory_is_back(before: float, after: float) -> Check:
    """The gateway gives back what it took under overload.

    Args:
        before: MiB before it.
        after: MiB after it.
    """
    return Check(
        f"memory of the gateway after overload ≤ {_BACK_RATIO:g} × before",
        f"{after:.0f} MiB / {before:.0f} MiB = {after / before:.2f}",
        after <= _BACK_RATIO * before,
    )


@dataclass(frozen=True)
class Slope:
    """How fast something grows, with its 95 % interval; per 1,000 studies."""

    value: float
    low: float
    high: float


def slope(values: Sequence[float], studies: float) -> Slope:
    """Growth of samples taken at even distances while so many studies were done.

    Neighbouring samples are alike, which would make a line look surer than it is; so it is laid through the means of 20
    blocks (batch means; Law, Simulation Modeling and Analysis, 9.5.3).

    Args:
        values: In order of time; at least 40.
        studies: Done from the first sample to the last.

    Raises:
        ValueError: There are too few values.
    """
    if len(values) < 2 * _BLOCKS:
        raise ValueError(f"a slope needs {2 * _BLOCKS} values, not {len(values)}")
    means = [float(np.mean(block)) for block in np.array_split(np.asarray(values), _BLOCKS)]
    at = (np.arange(_BLOCKS) + 0.5) / _BLOCKS * studies / 1000
    line = stats.linregress(at, means)
    half = stats.t.ppf(0.975, _BLOCKS - 2) * line.stderr
    return Slope(float(line.slope), float(line.slope - half), float(line.slope + half))


def memory_is_flat(name: str, values: Sequence[float], studies: float) -> Check:
    """A process does not grow from study to study.

    Args:
        name: Of the process.
        values: MiB.
        studies: Done from the first sample to the last.
    """
    growth = slope(values, studies)
    return Check(
        f"{name} grows by less than {_FLAT_MIB:g} MiB in 1,000 studies",
        f"{growth.value:+.1f} MiB (95 % interval {growth.low:+.1f} to {growth.high:+.1f}), "
        f"median {float(np.median(values)):.0f} MiB",
        growth.value < _FLAT_MIB,
    )
