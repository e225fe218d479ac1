from __future__ import annotations

import numpy as np
import pytest

from training.evaluation.bootstrap import Bootstrap
from training.evaluation.calibration import fit_temperatures, groups_of, served
from training.evaluation.classification import expected_calibration_error
from training.evaluation.rows import GradedDisc, SeriesRow
from training.evaluation.table import discs_of
from training.grading import SEVERITY_OF_GRADE


def softmax(logits: np.ndarray) -> np.ndarray:  # type: ignore[type-arg]
    return np.asarray(np.exp(logits) / np.exp(logits).sum(1, keepdims=True))


def overconfident(discs: int, factor: float) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:  # type: ignore[type-arg]
    """Answers whose logits are too large by a factor, and truths drawn from what they should have been."""
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 1.2, (discs, 5))
    honest = softmax(logits)
    grades = np.array([rng.choice(5, p=row) for row in honest])
    present = rng.normal(0, 1.5, discs)
    modic = (rng.random(discs) < 1 / (1 + np.exp(-present))).astype(int)
    summed = np.stack([honest[:, :2].sum(1), honest[:, 2], honest[:, 3:].sum(1)], 1)
    heads = {
        "severity": softmax(np.log(summed) * factor),
        "pfirrmann": softmax(logits * factor),
        "modic": softmax(np.stack([np.zeros(discs), present * factor], 1)),
    }
    truth = {"severity": SEVERITY_OF_GRADE[grades], "pfirrmann": grades, "modic": modic}
    return heads, truth


def test_temperatures_undo_what_made_answers_too_sure() -> None:
    heads, truth = overconfident(4000, 2.5)
    found = fit_temperatures(heads, truth)
    assert found["modic"] == pytest.approx(2.5, rel=0.15)
    assert found["pfirrmann"] > 1.5
    sample = Bootstrap([str(i % 100) for i in range(4000)])
    for name in heads:
        before = expected_calibration_error(sample, served(heads)[name], truth[name]).value
        after = expected_calibration_error(sample, served(heads, found)[name], truth[name]).value
        assert before is not None
        assert after is not None
        assert after < before / 2, name


def test_what_was_not_graded_is_left_out() -> None:
    heads, truth = overconfident(500, 2.0)
    truth["modic"][:] = -1
    assert "modic" not in fit_temperatures(heads, truth)


def test_served_probabilities_agree_whatever_the_temperatures() -> None:
    heads, _ = overconfident(50, 2.0)
    answers = served(heads, {"severity": 0.5, "pfirrmann": 3.0})
    five = answers["pfirrmann"]
    summed = np.stack([five[:, :2].sum(1), five[:, 2], five[:, 3:].sum(1)], 1)
    np.testing.assert_allclose(summed, answers["severity"], atol=1e-3)


def test_patients_of_one_fold_are_dealt_into_groups_whole() -> None:
    patients = [str(i // 3) for i in range(60)]
    groups = groups_of(patients, ["fold0"] * 60)
    assert len(set(groups)) == 5
    assert len({(patient, group) for patient, group in zip(patients, groups, strict=True)}) == 20
    assert groups_of(patients, ["a"] * 30 + ["b"] * 30) == ["a"] * 30 + ["b"] * 30


def test_no_disc_is_calibrated_on_its_own_fold() -> None:
    """Changing the truth of one fold changes the temperatures of the others alone."""
    heads, truth = overconfident(200, 2.0)

    def rows(turned: bool) -> list[SeriesRow]:
        made = []
        for i in range(200):
            group = "a" if i % 2 else "b"
            grade = int(truth["pfirrmann"][i])
            grade = 4 - grade if turned and group == "a" else grade
            disc = GradedDisc(
                position=1,
                truth={"pfirrmann": grade, "severity": int(SEVERITY_OF_GRADE[grade])},
                probabilities={name: heads[name][i].tolist() for name in ("severity", "pfirrmann")},
            )
            about = {"sequence": "t2", "slices": 1, "sex": "", "scanner": "", "field_strength": ""}
            made.append(SeriesRow(patient=str(i), name=f"{i}_t2", group=group, discs=[disc], **about))  # type: ignore[arg-type]
        return made

    straight, turned = discs_of(rows(False)).warm["severity"], discs_of(rows(True)).warm["severity"]
    own = np.arange(200) % 2 == 1
    np.testing.assert_array_equal(straight[own], turned[own])
    assert np.abs(straight[~own] - turned[~own]).max() > 0.01
