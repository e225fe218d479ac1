"""When studies arrive: at random, more by day than by night, and now and then many at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["DAY", "Day", "day_of_arrivals", "poisson"]

SECONDS = 86_400.0


@dataclass(frozen=True)
class Day:
    """How a day's studies spread.

    Attributes:
        hours: Weight of each of the 24 hours.
        batched: Share of the studies that come in batches.
        batch: Studies in one: a scanner's worklist, or a router that was away, sent at once.
    """

    hours: tuple[float, ...]
    batched: float
    batch: int

    @property
    def peak(self) -> float:
        """The busiest hour's rate over the mean."""
        return max(self.hours) / (sum(self.hours) / len(self.hours))


DAY = Day(
    hours=(1, 1, 1, 1, 1, 2, 4, 8, 10, 10, 10, 9, 8, 9, 10, 9, 8, 6, 4, 3, 2, 2, 1, 1),
    batched=0.2,
    batch=5,
)
"""An assumption, not a measurement: scanners that work from 7 to 18 o'clock, and emergencies around the clock. Put your
own here, from the times at which your archive received its studies."""


def poisson(rate: float, seconds: float, chance: np.random.Generator) -> NDArray[np.float64]:
    """Arrival times of a Poisson process, rising.

    Args:
        rate: Arrivals a second.
        seconds: How long.
        chance: Source of randomness.
    """
    return np.sort(chance.uniform(0.0, seconds, chance.poisson(rate * seconds)))


def day_of_arrivals(a_day: float, day: Day, chance: np.random.Generator) -> NDArray[np.float64]:
    """Arrival times in s of one day's studies, rising.

    Args:
        a_day: Studies, on average.
        day: How they spread.
        chance: Source of randomness.
    """
    weights = np.array(day.hours) / sum(day.hours)

    def moments(count: int) -> NDArray[np.float64]:
        hours = chance.choice(len(weights), count, p=weights)
        return (hours + chance.uniform(0.0, 1.0, count)) * (SECONDS / len(weights))

    alone = moments(chance.poisson(a_day * (1 - day.batched)))
    batches = moments(chance.poisson(a_day * day.batched / day.batch))
    return np.sort(np.concatenate([alone, np.repeat(batches, day.batch)]))
