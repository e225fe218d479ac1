"""What is asked of a server: an ordinary day, three times what it can do, and many studies in a row."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from loadtest import checks
from loadtest.checks import Check
from loadtest.phases import Loader, Phase
from loadtest.server import Memory, Target

__all__ = ["SCENARIOS", "Outcome", "Scenario"]

_USERS = 5
"""More than two cores grade at a time, so that the server never waits for its callers."""
_WARM_SECONDS = 12.0
_SETTLED = 0.5
"""Share of a soak that is left out: what is loaded at first use is not growth."""


@dataclass(frozen=True)
class Outcome:
    """What a scenario showed.

    Attributes:
        phases: In order.
        checks: What was promised.
        notes: Sentences for the report.
    """

    phases: Sequence[Phase]
    checks: Sequence[Check]
    notes: Sequence[str]


@dataclass(frozen=True)
class Scenario:
    """A test.

    Attributes:
        title: Of its report.
        mix: Name of one of :data:`loadtest.studies.MIXES`.
        run: Puts the load on; ``scale`` multiplies how long.
    """

    title: str
    mix: str
    run: Callable[[Loader, Target, Memory, float], Outcome]


def _capacity(loader: Loader, scale: float) -> Phase:
    loader.closed("warm-up", users=2, seconds=_WARM_SECONDS)
    return loader.closed("capacity", users=_USERS, seconds=75 * scale)


def _load(loader: Loader, target: Target, memory: Memory, scale: float) -> Outcome:
    full = _capacity(loader, scale)
    calm = loader.open("open", rate=0.6 * full.done_per_second, seconds=90 * scale)
    users = loader.closed("closed", users=2 * _USERS, think=8.0, seconds=60 * scale)
    phases = (full, calm, users)
    records = [record for phase in phases for record in phase.records]
    return Outcome(
        phases,
        [checks.all_as_promised(phases), checks.refused_fast(phases), checks.nothing_lost(records)],
        [f"Capacity: {full.done_per_second:.2f} studies a second, whichever way they come; open loop: 60 % of it."],
    )


def _overload(loader: Loader, target: Target, memory: Memory, scale: float) -> Outcome:
    full = _capacity(loader, scale)
    capacity = full.done_per_second
    at_capacity = loader.open("at-capacity", rate=capacity, seconds=120 * scale)
    before = _resident(memory)
    overload = loader.open("overload", rate=3 * capacity, seconds=120 * scale)
    after = loader.open("after", rate=0.5 * capacity, seconds=40)
    phases = (full, at_capacity, overload, after)
    records = [record for phase in phases for record in phase.records]
    found = [
        checks.accepted_keep_p99(at_capacity, overload),
        checks.refused_fast(phases),
        checks.work_goes_on(capacity, overload),
        checks.all_as_promised(phases),
        checks.nothing_lost(records),
        Check("the server is ready afterwards", "`/readyz` answers", target.ready()),
    ]
    if before:
        found.append(checks.memory_is_back(before, _resident(memory)))
    return Outcome(
        phases,
        found,
        [f"Capacity: {capacity:.2f} studies a second, whichever way they come, by {_USERS} users without pause."],
    )


def _soak(loader: Loader, target: Target, memory: Memory, scale: float) -> Outcome:
    loader.closed("warm-up", users=2, seconds=_WARM_SECONDS)
    first = len(memory.at)
    phase = loader.closed("soak", users=6, studies=round(2000 * scale))
    records = phase.records
    found = [checks.all_as_promised([phase]), checks.nothing_lost(records)]
    settled = slice(first + round(_SETTLED * (len(memory.at) - first)), None)
    if memory.at:
        studies = (1 - _SETTLED) * phase.sent_per_second * phase.seconds
        found += [
            checks.memory_is_flat("the gateway", memory.gateway[settled], studies),
            checks.memory_is_flat("tritonserver", memory.triton[settled], studies),
            checks.memory_is_flat("its Python processes together", memory.stubs[settled], studies),
        ]
    return Outcome(
        [phase],
        found,
        [f"Growth is that of the last {1 - _SETTLED:.0%} of the studies: what is loaded at first use is none."],
    )


def _resident(memory: Memory) -> float:
    """MiB of the gateway over the last samples, for it comes and goes; 0 of somebody's server."""
    return statistics.median(memory.gateway[-40:]) if memory.gateway else 0.0


SCENARIOS = {
    "load": Scenario("An ordinary day", "hospital", _load),
    "overload": Scenario("Three times what it can do", "hospital", _overload),
    "soak": Scenario("Many studies in a row", "quick", _soak),
}
