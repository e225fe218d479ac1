"""The simulation agrees with the formulas where there are any, and behaves where there are none."""

from __future__ import annotations

import math

import numpy as np
import pytest

from benchmarks.capacity.arrivals import DAY, Day, day_of_arrivals, poisson
from benchmarks.capacity.queueing import Turns, closed_loop, md1_mean_wait, mmc_mean_wait, simulate

STUDIES = 200_000


@pytest.mark.parametrize(("servers", "load"), [(1, 0.5), (1, 0.8), (4, 0.7), (10, 0.85)])
def test_mean_wait_of_mmc(servers: int, load: float) -> None:
    chance = np.random.default_rng(servers)
    rate = load * servers
    arrivals = poisson(rate, STUDIES / rate, chance)
    services = chance.exponential(1.0, len(arrivals))
    outcome = simulate(arrivals, services, servers, turns=Turns.SHARED)
    expected = mmc_mean_wait(len(arrivals) / arrivals[-1], 1 / services.mean(), servers)  # of what was drawn
    assert outcome.waits.mean() == pytest.approx(expected, rel=0.08)
    assert outcome.busy == pytest.approx(load, rel=0.02)


@pytest.mark.parametrize("load", [0.3, 0.6, 0.85])
def test_mean_wait_of_md1(load: float) -> None:
    chance = np.random.default_rng(3)
    arrivals = poisson(load / 0.9, STUDIES * 0.9 / load, chance)
    outcome = simulate(arrivals, np.full(len(arrivals), 0.9), 1)
    assert outcome.waits.mean() == pytest.approx(md1_mean_wait(load / 0.9, 0.9), rel=0.06)


def test_erlangs_own_case() -> None:
    """Of M/M/1 the wait is ρ / (μ - λ)."""
    assert mmc_mean_wait(0.8, 1.0, 1) == pytest.approx(0.8 / 0.2)
    assert mmc_mean_wait(1.5, 1.0, 2) == pytest.approx(9 / 7)  # a textbook's: L_q = 1.929 = λ W_q


@pytest.mark.parametrize("formula", [lambda: mmc_mean_wait(2.0, 1.0, 2), lambda: md1_mean_wait(1.0, 1.0)])
def test_what_no_queue_can_serve(formula: object) -> None:
    with pytest.raises(ValueError, match="more arrives"):
        formula()  # type: ignore[operator]


def test_turns_cost_waits() -> None:
    chance = np.random.default_rng(5)
    arrivals = poisson(3.2, 50_000, chance)
    services = chance.exponential(1.0, len(arrivals))
    shared = simulate(arrivals, services, 4, turns=Turns.SHARED).waits.mean()
    in_turn = simulate(arrivals, services, 4).waits.mean()
    assert shared < in_turn < mmc_mean_wait(0.8, 1.0, 1)  # better than to draw the replica by lot


def test_studies_one_by_one() -> None:
    """Worked out by hand: two replicas in turn, and one queue for both."""
    arrivals, services = np.array([0.0, 0.0, 1.0, 1.0]), np.array([5.0, 1.0, 1.0, 1.0])
    assert simulate(arrivals, services, 2).waits.tolist() == [0.0, 0.0, 4.0, 0.0]
    shared = simulate(arrivals, services, 2, turns=Turns.SHARED)
    assert shared.waits.tolist() == [0.0, 0.0, 0.0, 1.0]
    assert shared.present.tolist() == [0, 1, 1, 2]
    assert shared.busy == pytest.approx(8 / 10)


def test_what_has_no_room_is_refused_and_costs_nobody_a_wait() -> None:
    arrivals, services = np.array([0.0, 0.1, 0.2, 5.0]), np.full(4, 2.0)
    outcome = simulate(arrivals, services, 1, room=2)
    assert np.isnan(outcome.waits).tolist() == [False, False, True, False]
    assert outcome.waits[1] == pytest.approx(1.9)
    assert outcome.waits[3] == 0.0
    assert outcome.refused == 0.25


def test_clients_that_wait_for_their_answer() -> None:
    services = np.full(100, 0.5)
    assert closed_loop(services, 1, 0.2) == pytest.approx(np.full(100, 0.7))
    assert closed_loop(services, 4, 0.2)[-1] == pytest.approx(4 * 0.5)  # Little: clients x service, the replica busy
    assert closed_loop(services, 2, 3.0)[-1] == pytest.approx(3.5)  # none waits


def test_a_day_has_its_studies_and_its_peak() -> None:
    arrivals = day_of_arrivals(48_000, DAY, np.random.default_rng(1))
    assert len(arrivals) == pytest.approx(48_000, abs=6 * math.sqrt(48_000 * 2))
    assert (np.diff(arrivals) >= 0).all()
    assert arrivals[0] >= 0
    assert arrivals[-1] < 86_400
    counts, _ = np.histogram(arrivals, 24, (0, 86_400))
    assert counts.max() / counts.mean() == pytest.approx(DAY.peak, rel=0.1)
    assert counts.argmax() in {8, 9, 10, 14}


def test_batches_come_at_once() -> None:
    arrivals = day_of_arrivals(1000, Day((1,) * 24, 1.0, 5), np.random.default_rng(2))
    _, counts = np.unique(arrivals, return_counts=True)
    assert set(counts) == {5}
    assert Day((1,) * 24, 0.0, 1).peak == 1.0
