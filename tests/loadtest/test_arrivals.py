"""Studies arrive at random, as often as is asked for, and in the same way each time."""

from __future__ import annotations

import itertools
import random
import statistics

import pytest
from scipy import stats

from loadtest.arrivals import poisson_arrivals


def test_arrivals_are_a_poisson_process() -> None:
    times = list(poisson_arrivals(5.0, 1000.0, random.Random(1)))
    assert times == sorted(times)
    assert times[0] > 0
    assert times[-1] < 1000.0
    assert 4700 < len(times) < 5300  # 5000 ± 4 standard deviations
    gaps = [after - before for before, after in itertools.pairwise(times)]
    assert stats.kstest(gaps, "expon", (0, 1 / 5.0)).pvalue > 0.01
    # No memory: a long gap says nothing of the next one.
    assert abs(statistics.correlation(gaps[:-1], gaps[1:])) < 0.05


def test_the_same_seed_gives_the_same_times() -> None:
    first, again, other = (list(poisson_arrivals(2.0, 50.0, random.Random(seed))) for seed in (3, 3, 4))
    assert first == again
    assert first != other


@pytest.mark.parametrize("rate", [0.0, -1.0])
def test_there_must_be_a_rate(rate: float) -> None:
    with pytest.raises(ValueError, match="positive"):
        next(poisson_arrivals(rate, 1.0, random.Random(0)))
