"""Replicas that grade studies one after the other: a simulation, and the formulas that it must agree with.

A replica is a queue with one server, first come first served, as a tritonserver is for studies: its networks use all of
its cores for one. Gateways hand studies to replicas in turn, whatever they have to do (decision 45).
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

__all__ = ["Outcome", "Turns", "closed_loop", "md1_mean_wait", "mmc_mean_wait", "simulate"]


class Turns(StrEnum):
    """Which replica a study goes to."""

    ROUND_ROBIN = "round robin"
    """The next one, as the gateways' gRPC channel has it."""
    SHARED = "one queue"
    """The first that is free: what a better balancer could do at best."""


@dataclass(frozen=True, eq=False)
class Outcome:
    """What became of studies.

    Attributes:
        waits: Seconds from arrival to the beginning of the work; NaN for what was refused. One for each arrival.
        present: Studies in the house when each arrived, itself not counted.
        busy: Share of the replicas' time that they worked, from the first arrival to the end of the last study.
    """

    waits: NDArray[np.float64]
    present: NDArray[np.int64]
    busy: float

    @property
    def refused(self) -> float:
        """Share of the studies."""
        return float(np.isnan(self.waits).mean())


def simulate(
    arrivals: NDArray[np.float64],
    services: NDArray[np.float64],
    replicas: int,
    *,
    turns: Turns = Turns.ROUND_ROBIN,
    room: int | None = None,
) -> Outcome:
    """Serve studies.

    Args:
        arrivals: When each arrives, in s, rising.
        services: How long a replica works on each, in s.
        replicas: How many there are.
        turns: Which of them a study goes to.
        room: Most studies in the house, waiting or worked on; what comes beyond is refused. None is no bound.
    """
    waits = np.empty(len(arrivals))
    present = np.empty(len(arrivals), np.int64)
    free = [0.0] * replicas  # when each replica has done all that it was given; a heap where there is one queue
    ends: list[float] = []
    worked, turn = 0.0, 0
    for place, (now, service) in enumerate(zip(arrivals.tolist(), services.tolist(), strict=True)):
        while ends and ends[0] <= now:
            heapq.heappop(ends)
        present[place] = len(ends)
        if room is not None and len(ends) >= room:
            waits[place] = math.nan
            continue
        if turns is Turns.SHARED:
            begin = max(now, free[0])
            heapq.heapreplace(free, begin + service)
        else:
            begin = max(now, free[turn])
            free[turn] = begin + service
            turn = (turn + 1) % replicas
        heapq.heappush(ends, begin + service)
        waits[place] = begin - now
        worked += service
    span = max(free) - float(arrivals[0])
    return Outcome(waits, present, worked / (replicas * span))


def closed_loop(services: NDArray[np.float64], clients: int, beside: float) -> NDArray[np.float64]:
    """Seconds that clients wait for each answer who send the next study as soon as they have one, to one replica.

    Args:
        services: How long the replica works on each study, in s.
        clients: How many.
        beside: Seconds of each study in which the replica works on others.
    """
    ready = deque([0.0] * clients)  # when each client sends, in this order: first come, first served
    free = 0.0
    answered = np.empty(len(services))
    for place, service in enumerate(services.tolist()):
        sent = ready.popleft()
        free = max(free, sent) + service
        ready.append(free + beside)
        answered[place] = free + beside - sent
    return answered


def mmc_mean_wait(rate: float, service_rate: float, servers: int) -> float:
    """Mean seconds waited in M/M/c: Poisson arrivals, exponential services, one queue (Erlang C).

    Source: A. K. Erlang, 1917; Gross and Harris, Fundamentals of Queueing Theory, 4th ed., section 2.3.

    Args:
        rate: Arrivals a second.
        service_rate: Services a second that one server gives.
        servers: How many.

    Raises:
        ValueError: More arrives than can be served.
    """
    load = rate / service_rate
    if load >= servers:
        raise ValueError("more arrives than can be served")
    last = load**servers / math.factorial(servers) * servers / (servers - load)
    waiting = last / (sum(load**k / math.factorial(k) for k in range(servers)) + last)
    return waiting / (servers * service_rate - rate)


def md1_mean_wait(rate: float, service: float) -> float:
    """Mean seconds waited in M/D/1: Poisson arrivals, services all alike (Pollaczek and Khinchine).

    Args:
        rate: Arrivals a second.
        service: Seconds of each service.

    Raises:
        ValueError: More arrives than can be served.
    """
    load = rate * service
    if load >= 1:
        raise ValueError("more arrives than can be served")
    return load * service / (2 * (1 - load))
