from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from discgrade.errors import UnreadableFile
from tests.support.spider import small_phantom, write_spider
from training.data import DataSet, open_data
from training.evaluation.figures import evaluate
from training.evaluation.held_out import held_out_patients
from training.evaluation.overlap import Overlap
from training.evaluation.predict import predict
from training.evaluation.protocol import compare, once
from training.evaluation.rows import GradedDisc, OutlinedDisc, ReferenceDisc, SeriesRow, read_rows, write_rows
from training.grading import SEVERITY_OF_GRADE, read_checkpoint
from training.networks import ExportedGrader
from training.runs import grader_checkpoint, segmenter_checkpoint
from training.segmentation import Segment, segmenter

WEIGHTS = Path(__file__).parents[3] / "training" / "weights"


def series(patient: str, sequence: str = "t2", **about: Any) -> SeriesRow:
    made = {"sex": "F", "scanner": "Siemens Aera", "field_strength": "3 T"} | about
    return SeriesRow(patient=patient, name=f"{patient}_{sequence}", sequence=sequence, slices=1, **made)


def reference(number: int, dice: float, level: str | None, cut: bool = False) -> ReferenceDisc:
    return ReferenceDisc(number=number, cut=cut, dice=dice, level=level, height_mm=8.0, predicted_height_mm=7.5)


def graded(position: int, grade: int, answer: int) -> GradedDisc:
    five = np.full(5, 0.05)
    five[answer] = 0.8
    three = [five[:2].sum(), five[2], five[3:].sum()]
    truth = {"severity": int(SEVERITY_OF_GRADE[grade]), "pfirrmann": grade, "modic": grade % 2}
    probabilities = {"severity": three, "pfirrmann": five.tolist(), "modic": [0.4, 0.6]}
    return GradedDisc(position=position, truth=truth, probabilities=probabilities)


def test_a_disc_is_named_rightly_where_its_disc_has_its_name() -> None:
    row = series("1", "t2_SPACE", levels=["L5/S1", "L4/L5", "L2/L3"], extra=1)
    row.overlap = Overlap(predicted=90, reference=100, common=80, hd95_mm=1.0, assd_mm=0.3)
    row.reference = [
        reference(1, 0.9, "L5/S1"),
        reference(2, 0.4, "L4/L5"),  # too small an overlap to count as found
        reference(3, 0.9, "L2/L3"),  # found, but counted wrongly
        reference(4, 0.0, None, cut=True),  # not asked for
    ]
    figures = evaluate([row, row.model_copy(update={"patient": "2"})])
    naming = figures.naming["t2_SPACE by masks"]
    assert naming.discs == 6
    assert naming.found is not None
    assert naming.found.value == pytest.approx(2 / 3, abs=1e-3)
    assert naming.named.value == pytest.approx(1 / 3, abs=1e-3)
    assert naming.right_count.value == 1.0
    assert naming.extra is not None
    assert naming.extra.value == 1.0
    assert figures.segmentation["all"].dice.value == pytest.approx(160 / 190, abs=1e-4)
    assert figures.segmentation["all"].height_bias_mm.value == -0.5
    assert figures.segmentation["scanner: Siemens Aera"].patients == 2
    assert figures.levels["L3/L4"].dice.value == 0.9
    assert "T12/L1" not in figures.levels


def test_a_second_observer_is_compared_by_sequence() -> None:
    masked, bare = series("1", "t2_SPACE"), series("2")
    masked.outlined = [OutlinedDisc(number=1, dice=0.8, area_ratio=0.7, mask_dice=0.6, predicted_mask_dice=0.9)]
    bare.outlined = [OutlinedDisc(number=n, dice=n / 10, area_ratio=1.0) for n in (6, 8)]
    outlined = evaluate([masked, bare]).outlined
    assert outlined["t2"].dice.value == pytest.approx(0.7)
    assert (outlined["t2"].discs, outlined["t2"].mask_dice) == (2, None)
    against = outlined["t2_SPACE"]
    assert against.mask_dice is not None
    assert against.predicted_mask_dice is not None
    assert (against.mask_dice.value, against.predicted_mask_dice.value, against.area_ratio.value) == (0.6, 0.9, 0.7)


def test_discs_on_both_sequences_are_compared() -> None:
    rows = []
    for patient in ("1", "2"):
        for sequence, answers in (("t2", (0, 2, 4)), ("t2_SPACE", (0, 2, 2))):
            row = series(patient, sequence)
            row.discs = [graded(position, 0, answer) for position, answer in enumerate(answers, start=1)]
            rows.append(row)
    repeat = evaluate(rows).repeat
    assert repeat is not None
    assert (repeat.discs, repeat.patients) == (6, 2)
    assert repeat.same.value == pytest.approx(2 / 3, abs=1e-4)
    assert repeat.wrong.value == pytest.approx(2 / 3, abs=1e-4)  # two of three discs, on both sequences
    assert repeat.wrong_alike.value == 0.5
    assert evaluate(rows[::2]).repeat is None


def test_without_masks_a_name_among_those_found_counts() -> None:
    row = series("1", levels=["L5/S1", "L4/L5", "L3/L4"], graded=[1, 2, 3, 4])
    naming = evaluate([row]).naming["t2 by gradings"]
    assert (naming.named.value, naming.right_count.value, naming.found) == (0.75, 0.0, None)
    assert evaluate([row]).unpaired == ["1_t2"]


def test_gradings_are_split_up_by_what_is_known() -> None:
    rows = []
    for number in range(10):
        about: dict[str, Any] = {"sex": "M" if number % 2 else "", "graded": [1, 2]}
        discs = [graded(1, number % 5, number % 5), graded(2, number % 5, (number + 1) % 5)]
        rows.append(series(str(number), discs=discs, levels=["L5/S1", "L4/L5"], **about))
    figures = evaluate(rows)
    assert figures.grading["all"].discs == 20
    assert figures.grading["sex: M"].patients == 5
    assert "sex: " not in figures.grading
    assert figures.grading["level: L5/S1"].pfirrmann["accuracy"].value == 1.0
    assert figures.grading["level: L4/L5"].pfirrmann["accuracy"].value == 0.0
    modic = figures.findings["modic"]
    assert (modic.discs, modic.present) == (20, 8)
    assert modic.auc.value == 0.5
    assert figures.findings.keys() == {"modic"}


def test_no_rows_have_no_figures() -> None:
    figures = evaluate([])
    assert (figures.patients, figures.segmentation, figures.grading, figures.uncalibrated) == (0, {}, {}, None)


def test_rows_come_back_as_they_were_kept(tmp_path: Path) -> None:
    rows = [series("1", discs=[graded(1, 2, 3)], reference=[reference(1, 0.5, None)])]
    write_rows(rows, tmp_path / "rows.json.gz")
    first = (tmp_path / "rows.json.gz").read_bytes()
    assert read_rows(tmp_path / "rows.json.gz") == rows
    write_rows(rows, tmp_path / "rows.json.gz")
    assert (tmp_path / "rows.json.gz").read_bytes() == first
    (tmp_path / "rows.json.gz").write_bytes(b"nothing")
    with pytest.raises(UnreadableFile, match=r"rows\.json\.gz"):
        read_rows(tmp_path / "rows.json.gz")


def test_the_protocol_judges_a_disc_once_and_calibrates_on_validation_patients() -> None:
    space = series("1", "t2_SPACE", discs=[graded(1, 2, 2), graded(2, 1, 1)], group="test")
    ordinary = series("1", "t2", discs=[graded(1, 2, 3)], group="test")
    kept = once([space, ordinary])
    assert [(row.sequence, [disc.position for disc in row.discs]) for row in kept] == [("t2", [1]), ("t2_SPACE", [2])]
    others = [series(str(n), discs=[graded(1, n % 5, n % 5)], group="validation") for n in range(2, 20)]
    found = compare({seed: [space, ordinary, *others] for seed in (0, 1)})
    assert found["accuracy"].ours == 0.5
    assert (found["accuracy"].low, found["accuracy"].theirs) == (0.5, 0.913)
    assert found["disc Dice"].ours is None


def test_an_interval_of_the_protocol_stays_among_rates() -> None:
    good = [series("1", discs=[graded(1, 2, 2), graded(2, 1, 1)], group="test")]
    poor = [series("1", discs=[graded(1, 2, 2), graded(2, 1, 3)], group="test")]
    others = [series(str(n), discs=[graded(1, n % 5, n % 5)], group="validation") for n in range(2, 20)]
    found = compare({0: [*good, *others], 1: [*poor, *others]})["accuracy"]
    assert (found.ours, found.low, found.high) == (0.75, 0.0, 1.0)


def networks() -> tuple[Segment, ExportedGrader]:
    return segmenter(segmenter_checkpoint(WEIGHTS)), read_checkpoint(grader_checkpoint(WEIGHTS))


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> DataSet:
    root = tmp_path_factory.mktemp("phantoms")
    write_spider(root, [small_phantom(seed, slices=2) for seed in range(3)])
    return open_data(root)


def test_the_served_networks_find_and_name_the_discs_of_phantoms(phantoms: DataSet) -> None:
    rows = predict(phantoms, {"1", "2"}, *networks(), group="x")
    assert [row.name for row in rows] == ["1_t2", "2_t2"]
    for row in rows:
        assert row.group == "x"
        assert row.overlap is not None
        assert row.overlap.dice > 0.7
        whole = [disc for disc in row.reference if not disc.cut]
        assert sum(disc.dice > 0.5 and disc.level is not None for disc in whole) >= len(whole) - 1
        heights = [(disc.height_mm, disc.predicted_height_mm) for disc in whole if disc.height_mm]
        assert np.mean([abs(a - b) for a, b in heights if b]) < 2.0
    assert any(row.discs for row in rows)
    figures = evaluate(rows)
    assert figures.segmentation["all"].patients == 2
    assert {"severity", "pfirrmann"} <= set(figures.temperatures)


def test_nobody_who_was_trained_on_is_judged(phantoms: DataSet, tmp_path: Path) -> None:
    (tmp_path / "segmentation.json").write_text('{"training_patients": ["1"]}')
    (tmp_path / "grading.json").write_text('{"training_patients": ["2"]}')
    assert held_out_patients(phantoms, tmp_path) == {"3"}


def test_what_the_committed_weights_measured_is_measured_again(spider2d: Path) -> None:
    """Two held-out patients of the first release, to four digits."""
    data, patients = open_data(spider2d), {"118", "234"}
    assert patients < held_out_patients(data, WEIGHTS)
    rows = predict(data, patients, *networks())
    assert evaluate(rows).segmentation["all"].by_patient == pytest.approx({"118": 0.9397, "234": 0.7908}, abs=2e-4)
