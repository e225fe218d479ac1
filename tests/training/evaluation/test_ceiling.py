from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score, cohen_kappa_score, recall_score

from training.evaluation.ceiling import ceiling

SHARES = (0.18, 0.23, 0.27, 0.19, 0.13)


@pytest.mark.parametrize("kappa", [0.4, 0.8])
def test_simulated_readers_meet_the_bound(kappa: float) -> None:
    """Readers made by the same model, drawn instead of integrated; the error's size found by its κ alone."""
    random = np.random.default_rng(1)
    grades = np.repeat(np.arange(5), [round(share * 1000) for share in SHARES])
    bound = ceiling(grades, kappa)
    truth, noise = random.normal(size=(1, 200_000)), random.normal(size=(2, 200_000))

    def read(size: float) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        seen = truth + size * noise
        cuts = np.quantile(seen, np.cumsum(SHARES)[:-1])
        return np.digitize(seen, cuts), cuts

    low, high = 0.01, 3.0
    for _ in range(30):
        size = (low + high) / 2
        readings, cuts = read(size)
        low, high = (size, high) if cohen_kappa_score(*readings) > kappa else (low, size)
    severity = np.array([0, 0, 1, 2, 2])
    one, other = severity[readings]
    assert accuracy_score(one, other) == pytest.approx(bound.readers_agree, abs=0.005)
    perfect = severity[np.digitize(truth[0], cuts)]
    # Who cuts the true degeneration where readers cut comes close to the bound, and never passes it.
    assert bound.accuracy - 0.02 < accuracy_score(one, perfect) < bound.accuracy + 0.004
    assert recall_score(one, perfect, average="macro") == pytest.approx(bound.sensitivity, abs=0.02)


def test_better_readers_allow_a_better_network() -> None:
    grades = np.repeat(np.arange(5), 20)
    bounds = [ceiling(grades, kappa) for kappa in (0.2, 0.5, 0.8, 0.95)]
    assert [bound.accuracy for bound in bounds] == sorted(bound.accuracy for bound in bounds)
    assert all(bound.accuracy > bound.readers_agree for bound in bounds)
