"""The graders: discs paired with gradings, training, and checkpoints."""

from __future__ import annotations

from training.grading.checkpoint import read_checkpoint, write_checkpoint
from training.grading.samples import (
    HEADS,
    SEVERITY_OF_GRADE,
    UNKNOWN,
    DiscSample,
    graded_discs,
    pair_discs,
    phantom_discs,
    targets_of,
)
from training.grading.train import train_grader, train_grading

__all__ = [
    "HEADS",
    "SEVERITY_OF_GRADE",
    "UNKNOWN",
    "DiscSample",
    "graded_discs",
    "pair_discs",
    "phantom_discs",
    "read_checkpoint",
    "targets_of",
    "train_grader",
    "train_grading",
    "write_checkpoint",
]
