from __future__ import annotations

import numpy as np
import pytest

from training.metrics import accuracy, dice, interval_by_patient, quadratic_kappa


def test_dice_of_known_masks() -> None:
    a, b = np.zeros((4, 4), bool), np.zeros((4, 4), bool)
    a[:2], b[1:3] = True, True
    assert dice(a, b) == 0.5
    assert dice(a, a) == 1.0
    assert dice(np.zeros(3, bool), np.zeros(3, bool)) == 1.0


def test_quadratic_kappa_of_known_tables() -> None:
    truth = np.array([0, 1, 2, 3, 4, 0, 1, 2, 3, 4])
    assert quadratic_kappa(truth, truth, 5) == 1.0
    assert quadratic_kappa(4 - truth, truth, 5) == pytest.approx(-1.0)
    near, far = truth.copy(), truth.copy()
    near[0], far[0] = 1, 4
    assert quadratic_kappa(near, truth, 5) > quadratic_kappa(far, truth, 5)
    assert accuracy(near, truth) == accuracy(far, truth) == 0.9


def test_an_interval_by_patient_narrows_with_patients_and_holds_their_mean() -> None:
    values = np.random.default_rng(4).normal(0.8, 0.1, 200)
    few = interval_by_patient(10, lambda drawn: float(values[:10][drawn].mean()))
    many = interval_by_patient(200, lambda drawn: float(values[drawn].mean()))
    for (low, high), n in ((few, 10), (many, 200)):
        assert low < values[:n].mean() < high
    assert many[1] - many[0] < (few[1] - few[0]) / 2
