"""Replicas, waits and cost for 1 to 10,000 studies an hour, from what was measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.capacity.arrivals import Day, day_of_arrivals
from benchmarks.capacity.measure import MIX, STANDARD
from benchmarks.capacity.queueing import Turns, closed_loop, simulate

__all__ = ["RATES", "Machine", "Plan", "Services", "Wish", "plans", "predicted_closed", "predicted_open"]

RATES = (1, 10, 30, 100, 300, 1000, 3000, 10_000)
"""Studies an hour, the mean of a day."""
_DAYS = 20
"""Simulated where a day has few studies, so that percentiles mean something; one day where it has many."""
_ENOUGH = 30_000
_MOST_REPLICAS = 400
_HOURS_A_MONTH = 730.0


@dataclass(frozen=True)
class Services:
    """How long a replica works on a study, drawn from what was measured.

    Attributes:
        samples: Seconds by kind, whose mean is what a saturated machine needs.
        beside: Seconds by kind that a study takes beyond that where it is alone.
    """

    samples: Mapping[str, NDArray[np.float64]]
    beside: Mapping[str, float]

    @classmethod
    def measured(cls, figures: Mapping[str, Any]) -> Services:
        """Of one machine.

        A saturated machine (8 clients) says how long the standard study keeps it busy; how much longer or shorter
        others do, and how much it varies, say their processor times.
        """
        busy = 1.0 / figures["closed"]["8"]["studies_per_second"]
        kinds = figures["kinds"]
        scale = busy / float(np.mean(kinds[STANDARD]["cpu_seconds"]))
        samples = {kind: scale * np.array(run["cpu_seconds"]) for kind, run in kinds.items()}
        beside = {kind: max(float(np.mean(run["seconds"]) - samples[kind].mean()), 0.0) for kind, run in kinds.items()}
        return cls(samples, beside)

    @classmethod
    def with_gpu(cls, figures: Mapping[str, Any], cores: int, slice_seconds: float) -> Services:
        """Of a machine that nobody measured: the networks run on a GPU, the rest on cores like the measured ones.

        Args:
            figures: From :func:`benchmarks.capacity.measure.measure`.
            cores: Beside the GPU.
            slice_seconds: What the networks take for a slice; the rest of a study begins when they are done.
        """
        samples = {}
        for kind, run in figures["kinds"].items():
            networks = sum(run["cpu_by_role"][role] for role in ("disc_segmentation", "disc_grading"))
            rest = 1 - networks / sum(run["cpu_by_role"].values())
            samples[kind] = rest * np.array(run["cpu_seconds"]) / cores + slice_seconds * run["slices"]
        return cls(samples, dict.fromkeys(samples, 0.0))

    def draw(self, kinds: NDArray[np.str_], chance: np.random.Generator) -> NDArray[np.float64]:
        """Seconds that a replica works on each of some studies."""
        drawn = np.empty(len(kinds))
        for kind, samples in self.samples.items():
            here = kinds == kind
            drawn[here] = chance.choice(samples, int(here.sum()))
        return drawn

    def after(self, kinds: NDArray[np.str_]) -> NDArray[np.float64]:
        """Seconds that each takes beyond that."""
        return np.array([self.beside[kind] for kind in kinds.tolist()])

    @property
    def mean(self) -> float:
        """Seconds that a replica works on a study of the mix."""
        return float(sum(share * self.samples[kind].mean() for kind, share in MIX.items()))


def predicted_closed(services: Services, clients: int, studies: int) -> NDArray[np.float64]:
    """Seconds that each of some clients waits for an answer, who never pause."""
    chance = np.random.default_rng(1)
    kinds = np.full(studies, STANDARD)
    return closed_loop(services.draw(kinds, chance), clients, services.beside[STANDARD])


def predicted_open(services: Services, run: Mapping[str, Any]) -> NDArray[np.float64]:
    """Seconds that senders wait, of the very studies that were sent at the very times."""
    chance = np.random.default_rng(2)
    kinds = np.array(run["kinds"])
    drawn = services.draw(kinds, chance)
    return simulate(np.array(run["arrivals"]), drawn, 1).waits + drawn + services.after(kinds)


@dataclass(frozen=True)
class Machine:
    """What a replica runs on.

    Attributes:
        name: Of the kind of machine.
        an_hour: Its price, in the currency of your choice.
        measured: Whether its service times are.
    """

    name: str
    an_hour: float
    measured: bool


@dataclass(frozen=True)
class Wish:
    """What is wished for.

    Attributes:
        share: Of the studies that are begun in time.
        wait_seconds: Longest wait of these.
        day: How the studies spread over it.
    """

    share: float
    wait_seconds: float
    day: Day


@dataclass(frozen=True)
class Plan:
    """What a rate needs.

    Attributes:
        rate: Studies an hour, the mean of a day.
        machine: What the replicas are.
        replicas: The fewest that meet the wish.
        waits: Seconds waited: p50, p95, p99, the longest.
        most_present: Most studies in the house at a time.
        busy: Share of the replicas' time that they work, over the day.
        a_month: Price of the replicas.
    """

    rate: int
    machine: Machine
    replicas: int
    waits: tuple[float, float, float, float]
    most_present: int
    busy: float
    a_month: float

    @property
    def a_thousand(self) -> float:
        """Price of 1,000 studies."""
        return self.a_month / (self.rate * _HOURS_A_MONTH) * 1000


def plans(
    services: Services,
    machine: Machine,
    wish: Wish,
    turns: Turns = Turns.ROUND_ROBIN,
    rates: Sequence[int] | None = None,
) -> list[Plan]:
    """The fewest replicas for each rate, and what comes of it.

    Args:
        services: How long a replica works on a study.
        machine: What replicas are.
        wish: How long studies may wait.
        turns: Which replica a study goes to.
        rates: Studies an hour, rising; :data:`RATES` when omitted.
    """
    found = []
    least = 1
    for rate in rates or RATES:
        arrivals, work = _studies(services, wish.day, rate)
        plan = _fewest(arrivals, work, least, rate, machine, wish, turns)
        found.append(plan)
        least = plan.replicas
    return found


def _studies(services: Services, day: Day, rate: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """When the studies of some days arrive, and how long a replica works on each."""
    chance = np.random.default_rng(rate)
    days = max(1, min(_DAYS, round(_ENOUGH / (rate * 24))))
    arrivals = np.concatenate([number * 86_400.0 + day_of_arrivals(rate * 24, day, chance) for number in range(days)])
    kinds = chance.choice(list(MIX), len(arrivals), p=list(MIX.values()))
    return arrivals, services.draw(kinds, chance)


def _fewest(
    arrivals: NDArray[np.float64],
    work: NDArray[np.float64],
    least: int,
    rate: int,
    machine: Machine,
    wish: Wish,
    turns: Turns,
) -> Plan:
    low, high = least, least
    while not _meets(arrivals, work, high, wish, turns):
        low, high = high + 1, min(2 * high, _MOST_REPLICAS)
    while low < high:
        middle = (low + high) // 2
        if _meets(arrivals, work, middle, wish, turns):
            high = middle
        else:
            low = middle + 1
    outcome = simulate(arrivals, work, high, turns=turns)
    p50, p95, p99, longest = (float(value) for value in np.percentile(outcome.waits, (50, 95, 99, 100)))
    return Plan(
        rate,
        machine,
        high,
        (p50, p95, p99, longest),
        int(outcome.present.max()) + 1,
        outcome.busy,
        high * machine.an_hour * _HOURS_A_MONTH,
    )


def _meets(arrivals: NDArray[np.float64], work: NDArray[np.float64], replicas: int, wish: Wish, turns: Turns) -> bool:
    waits = simulate(arrivals, work, replicas, turns=turns).waits
    return float(np.quantile(waits, wish.share)) <= wish.wait_seconds
