"""When studies arrive: senders that do not know of each other make a Poisson process."""

from __future__ import annotations

import random
from collections.abc import Iterator

__all__ = ["poisson_arrivals"]


def poisson_arrivals(per_second: float, seconds: float, rng: random.Random) -> Iterator[float]:
    """Times of arrival in s from the start, rising, all below ``seconds``.

    Args:
        per_second: Mean rate; the times between two arrivals are exponential and independent.
        seconds: Length of the process.
        rng: Source of randomness; the times depend on nothing else.
    """
    if per_second <= 0:
        raise ValueError("arrivals need a positive rate")
    now = rng.expovariate(per_second)
    while now < seconds:
        yield now
        now += rng.expovariate(per_second)
