from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from discgrade.errors import InvalidRequest
from tests.support.training import TINY_GRADING, random_disc
from training.config import Architecture
from training.data import FINDINGS, Grading
from training.grading import (
    HEADS,
    SEVERITY_OF_GRADE,
    pair_discs,
    read_checkpoint,
    targets_of,
    train_grader,
    write_checkpoint,
)
from training.grading.augment import augment_discs
from training.grading.samples import read_samples, write_samples
from training.grading.train import grading_loss
from training.networks import CROP_SHAPE, FEATURES, DiscGrader


def test_a_grader_learns_every_head_from_signal_and_survives_a_checkpoint(tmp_path: Path) -> None:
    training = [random_disc(grade, seed) for seed in range(12) for grade in range(5)]
    config = TINY_GRADING.model_copy(
        update={"epochs": 40, "slices": "one", "architecture": Architecture(width=4, findings=FINDINGS)}
    )
    grader = train_grader(training, config, tmp_path / "member.pt")
    write_checkpoint([grader], tmp_path / "checkpoint.pt", {"severity": 1.5})
    unseen = [random_disc(grade, seed, str(seed)) for seed in range(100, 104) for grade in range(5)]
    read = read_checkpoint(tmp_path / "checkpoint.pt")
    assert read.temperatures == {"severity": 1.5}
    with torch.no_grad():
        heads = read.heads(
            torch.from_numpy(np.stack([one.crops for one in unseen])),
            torch.from_numpy(np.stack([one.features for one in unseen])),
        )
    truth = np.stack([one.targets for one in unseen])
    for column, name in enumerate(HEADS):
        worst = truth[:, column] == truth[:, column].max()
        answer = heads[name][:, -1].numpy()
        assert answer[worst].mean() > answer[~worst].mean() + 0.05, name


def test_gradings_become_targets() -> None:
    targets = targets_of(Grading(4, {"modic": True, "bulging": False}))
    named = dict(zip(HEADS, targets.tolist(), strict=True))
    assert named["severity"] == SEVERITY_OF_GRADE[3] == 2
    assert named["pfirrmann"] == 3
    assert (named["modic"], named["bulging"], named["herniation"]) == (1, 0, -1)
    assert targets_of(Grading(None, {}))[:2].tolist() == [-1, -1]


class Found:
    """What is asked of the discs that were found."""

    def __init__(self, *levels: str, warnings: tuple[str, ...] = ()) -> None:
        self.levels, self.warnings = levels, warnings


GRADED = {position: Grading(3, {}) for position in (1, 2, 3)}


def test_gradings_are_paired_where_the_counts_agree() -> None:
    assert pair_discs(Found("L5/S1", "L4/L5", "L3/L4"), GRADED, "count") == {1: 0, 2: 1, 3: 2}  # type: ignore[arg-type]
    assert pair_discs(Found("L5/S1", "L4/L5"), GRADED, "count") == {}  # type: ignore[arg-type]


def test_one_disc_more_or_less_at_the_upper_end_may_be_paired_by_level() -> None:
    more = Found("L5/S1", "L4/L5", "L3/L4", "L2/L3")
    assert pair_discs(more, GRADED, "level") == {1: 0, 2: 1, 3: 2}  # type: ignore[arg-type]
    assert pair_discs(Found("L5/S1", "L4/L5"), GRADED, "level") == {1: 0, 2: 1}  # type: ignore[arg-type]
    doubtful = Found("L5/S1", "L4/L5", warnings=("transitional_vertebra_possible",))
    assert pair_discs(doubtful, GRADED, "level") == {}  # type: ignore[arg-type]
    assert pair_discs(Found("unknown", "unknown"), GRADED, "level") == {}  # type: ignore[arg-type]
    assert pair_discs(Found("L5/S1"), GRADED, "level") == {}  # type: ignore[arg-type]


def logits(discs: int) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    network = DiscGrader(Architecture(width=2, findings=FINDINGS)).train()
    return network(torch.rand(discs, *CROP_SHAPE), torch.randn(discs, FEATURES))  # type: ignore[no-any-return]


BALANCE = {name: torch.ones(3 if name == "severity" else 2) for name in HEADS}


def test_what_was_not_graded_teaches_nothing() -> None:
    answers = logits(4)
    for answer in answers.values():
        answer.retain_grad()
    targets = torch.full((4, len(HEADS)), -1)
    targets[:, HEADS.index("modic")] = torch.tensor([0, 1, -1, 1])
    grading_loss(answers, targets, BALANCE, 0.25).backward()
    modic = answers["modic"].grad
    assert modic is not None
    assert (modic != 0).tolist() == [True, True, False, True]
    for name, answer in answers.items():
        if name != "modic":
            assert answer.grad is None or not answer.grad.any(), name


def test_a_batch_without_any_grading_has_no_loss() -> None:
    loss = grading_loss(logits(3), torch.full((3, len(HEADS)), -1), BALANCE, 0.25)
    assert float(loss.detach()) == 0.0


def test_a_finding_that_hardly_occurs_is_not_learned(tmp_path: Path) -> None:
    discs = [random_disc(grade, seed) for seed in range(3) for grade in range(5)]
    for disc in discs[1:]:
        disc.targets[HEADS.index("spondylolisthesis")] = 0
    config = TINY_GRADING.model_copy(update={"epochs": 1, "rarest": 3})
    trained = train_grader(discs, config, tmp_path / "checkpoint.pt")
    assert "spondylolisthesis" not in trained.form.findings
    assert "modic" in trained.form.findings


@pytest.mark.parametrize(("slices", "shown"), [("one", 1), ("all", 3)])
def test_slices_of_a_disc_move_together(slices: str, shown: int) -> None:
    crops = torch.rand(5, 1, *CROP_SHAPE[1:]).expand(-1, 3, -1, -1, -1)
    moved, features = augment_discs(crops, torch.zeros(5, FEATURES), torch.Generator().manual_seed(0), slices)  # type: ignore[arg-type]
    assert moved.shape == (5, shown, *CROP_SHAPE[1:])
    assert features.shape == (5, FEATURES)
    for other in range(shown):
        torch.testing.assert_close(moved[:, 0, 1], moved[:, other, 1])  # the mask channel gets no noise


def test_samples_are_kept_with_what_they_depend_on(tmp_path: Path) -> None:
    path = tmp_path / "discs.npz"
    write_samples([random_disc(2, 0, "7")], path, ["9_t2"], "one")
    (sample,), dropped = read_samples(path, "one")
    assert (sample.patient, sample.sequence, sample.position, dropped) == ("7", "t2", 1, ["9_t2"])
    np.testing.assert_allclose(sample.crops, random_disc(2, 0).crops, atol=2e-3)
    with pytest.raises(InvalidRequest, match="other patients"):
        read_samples(path, "another")
