from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from training import segmentation
from training.augment import augment_batch
from training.cross_validation import folds
from training.data import Spider2d, split_patients
from training.grading import (
    DiscSample,
    GradingConfig,
    match_grades,
    read_checkpoint,
    scores,
    train_grading,
    write_checkpoint,
)
from training.metrics import accuracy, dice, interval_by_patient, quadratic_kappa
from training.networks import CROP_SHAPE, FEATURES
from training.segmentation import SegmentationConfig, Slice, load_slices, train_segmentation


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


def stripes(seed: int) -> Slice:
    """Bright discs on dark ground, easy to learn."""
    rng = np.random.default_rng(seed)
    labels = np.zeros((96, 96), np.int8)
    for top in (10, 40, 70):
        labels[top : top + 12, 20:70] = 1
    image = np.where(labels == 1, 200, 40) + rng.normal(0, 8, labels.shape)
    return Slice(np.clip(image, 0, 255).astype(np.uint8), labels)


def test_augmentation_moves_image_and_labels_together() -> None:
    item = stripes(0)
    images = torch.from_numpy(np.stack([item.image] * 16)[:, None] / 255.0).float()
    labels = torch.from_numpy(np.stack([item.labels] * 16)).long()
    image, tissues, known = augment_batch(images, labels, (64, 64), torch.Generator().manual_seed(1))
    assert image.shape == (16, 1, 64, 64)
    assert tissues.shape == (16, 4, 64, 64)
    assert known.all()
    assert 0 <= float(image.min()) <= float(image.max()) <= 1
    assert torch.allclose(tissues.sum(1), torch.ones(16, 64, 64), atol=1e-5)
    for one, own in zip(image[:, 0], tissues.argmax(1), strict=True):
        if 50 < int((own == 1).sum()) < 3500:
            assert one[own == 1].mean() > 1.2 * one[own == 0].mean()


def test_outlines_keep_their_place_between_pixels_when_turned() -> None:
    item = stripes(0)
    images = torch.from_numpy(np.stack([item.image] * 8)[:, None] / 255.0).float()
    labels = torch.from_numpy(np.stack([item.labels] * 8)).long()
    _, tissues, _ = augment_batch(images, labels, (64, 64), torch.Generator().manual_seed(2), strength=0.0)
    shares = tissues[:, 1]
    assert ((shares > 0.1) & (shares < 0.9)).any()


def test_unknown_labels_stay_unknown() -> None:
    labels = torch.full((2, 64, 64), -1)
    _, tissues, known = augment_batch(torch.rand(2, 1, 64, 64), labels, (32, 32), torch.Generator().manual_seed(0))
    assert not known.all()
    assert set(tissues.argmax(1)[known].unique().tolist()) <= {0}  # what is known lies outside the image


def test_an_interrupted_run_ends_as_if_it_had_not_been(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slices = [stripes(seed) for seed in range(4)]
    config = SegmentationConfig(steps=4, batch=2, window=(64, 64), checkpoint_every=1)
    straight = train_segmentation(slices, slices[:1], tmp_path / "straight", config)

    calls = iter(range(10))

    def interrupt(*_: object) -> float:
        if next(calls) == 2:
            raise KeyboardInterrupt
        return 0.0

    with monkeypatch.context() as patch:
        patch.setattr(segmentation, "evaluate_dice", interrupt)
        with pytest.raises(KeyboardInterrupt):
            train_segmentation(slices, slices[:1], tmp_path / "parts", config)
    assert torch.load(tmp_path / "parts" / "checkpoint.pt", weights_only=True)["step"] == 2
    resumed = train_segmentation(slices, slices[:1], tmp_path / "parts", config)

    expected = torch.load(straight, weights_only=True)
    for kind in ("network", "ema"):
        for name, value in torch.load(resumed, weights_only=True)[kind].items():
            torch.testing.assert_close(value, expected[kind][name])


def sample(grade: int, seed: int, patient: str = "1") -> DiscSample:
    rng = np.random.default_rng(seed)
    crops = np.full(CROP_SHAPE, 1.6 - 0.3 * grade, np.float32) + rng.normal(0, 0.05, CROP_SHAPE).astype(np.float32)
    features = np.full(FEATURES, -0.5 * grade, np.float32) + rng.normal(0, 0.1, FEATURES).astype(np.float32)
    return DiscSample(patient, "t2", 1, grade, crops, features)


def test_a_grader_learns_from_signal_and_survives_a_checkpoint(tmp_path: Path) -> None:
    training = [sample(grade, seed) for seed in range(12) for grade in range(5)]
    grader = train_grading(training, GradingConfig(epochs=80, batch=20, width=4))
    write_checkpoint([grader], tmp_path / "checkpoint.pt")
    unseen = [sample(grade, seed, str(seed)) for seed in range(100, 104) for grade in range(5)]
    reached = scores(read_checkpoint(tmp_path / "checkpoint.pt"), unseen)
    assert reached["severity_accuracy"] > 0.6
    assert reached["pfirrmann_quadratic_kappa"] > 0.6


def test_gradings_are_matched_only_where_the_counts_agree() -> None:
    class Found:
        levels = ("L5/S1", "L4/L5", "L3/L4")
        crops = np.zeros((3, *CROP_SHAPE), np.float32)
        features = np.arange(3 * FEATURES, dtype=np.float32).reshape(3, FEATURES)

    matched = match_grades(Found(), {1: 5, 2: 3, 3: 1}, "7", "t2")  # type: ignore[arg-type]
    assert [(one.position, one.grade) for one in matched] == [(1, 4), (2, 2), (3, 0)]
    assert matched[1].features[0] == FEATURES
    assert match_grades(Found(), {1: 5, 2: 3}, "7", "t2") == []  # type: ignore[arg-type]


def test_patients_are_split_whole_and_the_same_every_time(spider2d: Path) -> None:
    data = Spider2d(spider2d)
    training, validation = split_patients(data)
    assert not training & validation
    assert training | validation == set(data.patients)
    assert split_patients(Spider2d(spider2d)) == (training, validation)
    masked = {series.patient for series in data.masked}
    assert 0.1 < len(validation & masked) / len(masked) < 0.3


def test_masks_land_on_their_image(spider2d: Path) -> None:
    """The canal is brighter than the discs beside it, in every masked slice on the grid."""
    for series in Spider2d(spider2d).masked[:6]:
        for item in load_slices(series)[::4]:
            canal, disc = item.image[item.labels == 3], item.image[item.labels == 1]
            assert np.percentile(canal, 75) > np.median(disc)


def test_every_patient_with_masks_is_held_out_in_one_fold(spider2d: Path) -> None:
    data = Spider2d(spider2d)
    masked = {series.patient for series in data.masked}
    groups = folds(data)
    assert sorted(patient for group in groups for patient in group) == sorted(masked)
    assert groups[0] == masked & split_patients(data)[1]
    assert max(map(len, groups)) - min(map(len, groups)) <= 1
