"""Small things to train on, and settings under which a run takes a second or two."""

from __future__ import annotations

import numpy as np

from training.config import Architecture, GradingConfig, SegmentationConfig, Stage
from training.data import FINDINGS
from training.grading import HEADS, SEVERITY_OF_GRADE, DiscSample
from training.networks import CROP_SHAPE, FEATURES
from training.segmentation import Slice

__all__ = ["TINY_GRADING", "TINY_SEGMENTATION", "random_disc", "stripes"]

TINY_SEGMENTATION = SegmentationConfig(
    widths=(4, 4),
    stages=(Stage(steps=40, batch=2, window=(64, 64), checkpoint_every=2, warm_up=2),),
    phantoms=1,
    non_spines=1,
    compiled=False,
    mixed_precision=False,
)
TINY_GRADING = GradingConfig(
    epochs=30,
    batch=20,
    members=1,
    phantoms=0,
    slices="all",
    architecture=Architecture(width=4, findings=FINDINGS),
    rarest=1,
    mixed_precision=False,
)


def stripes(seed: int) -> Slice:
    """Bright discs on dark ground, easy to learn."""
    rng = np.random.default_rng(seed)
    labels = np.zeros((96, 96), np.int8)
    for top in (10, 40, 70):
        labels[top : top + 12, 20:70] = 1
    image = np.where(labels == 1, 200, 40) + rng.normal(0, 8, labels.shape)
    return Slice(np.clip(image, 0, 255).astype(np.uint8), labels)


def random_disc(grade: int, seed: int, patient: str = "1") -> DiscSample:
    """A disc whose signal and features follow its grade 0 … 4; every finding is present from grade 3 on."""
    rng = np.random.default_rng(seed)
    crops = np.full(CROP_SHAPE, 1.6 - 0.3 * grade, np.float32) + rng.normal(0, 0.05, CROP_SHAPE).astype(np.float32)
    features = np.full(FEATURES, -0.5 * grade, np.float32) + rng.normal(0, 0.1, FEATURES).astype(np.float32)
    targets = np.array([SEVERITY_OF_GRADE[grade], grade, *([int(grade >= 3)] * (len(HEADS) - 2))])
    return DiscSample(patient, "t2", 1, targets, crops, features)
