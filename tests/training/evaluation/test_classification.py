"""Our vectorised figures are those of scikit-learn, on the patients as they are and on every draw."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics

from training.evaluation.bootstrap import DRAWS, Bootstrap
from training.evaluation.classification import (
    auc,
    confusion,
    expected_calibration_error,
    pairwise_auc,
    rates,
    reliability,
    shared_by_patient,
)


@pytest.fixture
def discs() -> tuple[list[str], np.ndarray, np.ndarray]:  # type: ignore[type-arg]
    rng = np.random.default_rng(1)
    patients = [str(number) for number in rng.integers(0, 40, 300)]
    truth = rng.integers(0, 3, 300)
    logits = rng.normal(0, 1, (300, 3)) + 1.5 * np.eye(3)[truth]
    probability = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    return patients, truth, probability


def test_rates_are_those_of_scikit_learn(discs: tuple[list[str], np.ndarray, np.ndarray]) -> None:  # type: ignore[type-arg]
    patients, truth, probability = discs
    answer = probability.argmax(1)
    found = rates(sample := Bootstrap(patients), confusion(sample, truth, answer, 3))
    specificities = [metrics.recall_score(truth != k, answer != k) for k in range(3)]
    expected = {
        "accuracy": metrics.accuracy_score(truth, answer),
        "sensitivity": metrics.recall_score(truth, answer, average="macro"),
        "specificity": np.mean(specificities),
        "f1": metrics.f1_score(truth, answer, average="macro"),
        "within_one": np.mean(np.abs(truth - answer) <= 1),
        "quadratic_kappa": metrics.cohen_kappa_score(truth, answer, weights="quadratic"),
    }
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert found[name].value == pytest.approx(value, abs=5e-5), name
        low, high = found[name].low, found[name].high
        assert low is not None
        assert high is not None
        assert low < value < high


def test_every_draw_counts_a_patient_as_often_as_it_was_drawn(discs: tuple[list[str], np.ndarray, np.ndarray]) -> None:  # type: ignore[type-arg]
    patients, truth, probability = discs
    sample = Bootstrap(patients)
    tables = confusion(sample, truth, probability.argmax(1), 3)
    for draw in (1, 17, DRAWS):
        times = sample.weights[draw][sample.index].astype(int)
        rows = np.repeat(np.arange(300), times)
        np.testing.assert_array_equal(
            tables[draw], metrics.confusion_matrix(truth[rows], probability.argmax(1)[rows], labels=range(3))
        )
    assert (sample.weights.sum(1) == sample.count).all()


def test_areas_are_those_of_scikit_learn_with_ties(discs: tuple[list[str], np.ndarray, np.ndarray]) -> None:  # type: ignore[type-arg]
    patients, truth, probability = discs
    sample, score = Bootstrap(patients), probability[:, 2].round(1)
    assert auc(sample, score, truth == 2).value == pytest.approx(metrics.roc_auc_score(truth == 2, score), abs=5e-5)
    pairs = pairwise_auc(sample, probability, truth, ("mild", "moderate", "severe"))
    assert set(pairs) == {"mild/moderate", "mild/severe", "moderate/severe"}
    among = truth != 1
    share = probability[:, 2] / (probability[:, 0] + probability[:, 2])
    expected = metrics.roc_auc_score(truth[among] == 2, share[among])
    assert pairs["mild/severe"].value == pytest.approx(expected, abs=5e-5)


def test_intervals_of_weighted_areas_hold_those_of_drawn_rows(discs: tuple[list[str], np.ndarray, np.ndarray]) -> None:  # type: ignore[type-arg]
    patients, truth, probability = discs
    sample, score = Bootstrap(patients), probability[:, 0]
    drawn = [
        metrics.roc_auc_score(truth == 0, score, sample_weight=weights[sample.index]) for weights in sample.weights[1:]
    ]
    found = auc(sample, score, truth == 0)
    np.testing.assert_allclose(np.array([found.low, found.high], float), np.percentile(drawn, [2.5, 97.5]), atol=1e-4)


def test_a_class_that_does_not_occur_has_no_say() -> None:
    sample = Bootstrap(["1", "2", "3", "4"])
    truth = np.array([0, 0, 1, 1])
    found = rates(sample, confusion(sample, truth, np.array([0, 0, 1, 2]), 3))
    assert found["sensitivity"].value == pytest.approx(0.75)
    assert auc(sample, np.arange(4.0), np.zeros(4, bool)).value is None


def test_a_single_patient_has_no_interval() -> None:
    figure = Bootstrap(["7", "7"]).mean(np.array([0.5, 0.7]))
    assert (figure.value, figure.low, figure.high) == (0.6, None, None)
    assert str(figure) == "0.600"


def test_confidence_that_is_right_as_often_as_it_says_is_calibrated() -> None:
    rng = np.random.default_rng(3)
    sure = rng.uniform(0.5, 1.0, 20_000)
    truth = (rng.random(20_000) > sure).astype(int)
    honest = np.stack([sure, 1 - sure], 1)
    sample = Bootstrap([str(i % 50) for i in range(20_000)])
    assert (expected_calibration_error(sample, honest, truth).value or 0) < 0.02
    boastful = np.stack([np.full(20_000, 0.99), np.full(20_000, 0.01)], 1)
    gap = 0.99 - float((truth == 0).mean())
    assert expected_calibration_error(sample, boastful, truth).value == pytest.approx(gap, abs=1e-3)
    count, confidence, right = reliability(honest, truth)
    assert count.sum() == 20_000
    np.testing.assert_allclose(confidence[5:], right[5:], atol=0.03)


def test_what_all_rows_of_a_patient_differ_by_is_shared() -> None:
    rng = np.random.default_rng(1)
    patients = [str(number // 8) for number in range(1600)]
    own, common = rng.normal(0, 0.6, 1600), np.repeat(rng.normal(0, 0.8, 200), 8)
    found = shared_by_patient(Bootstrap(patients), own + common)
    assert found.value == pytest.approx(0.64, abs=0.05)
    assert found.low is not None
    assert found.low < 0.64
    assert shared_by_patient(Bootstrap(patients), own).value == pytest.approx(0.0, abs=0.03)
    assert shared_by_patient(Bootstrap(["1", "2", "3"]), np.array([0.1, 0.2, 0.5])).value is None
