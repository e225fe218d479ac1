"""The segmenter: what it learns from, its training, and its use."""

from __future__ import annotations

from training.segmentation.segment import Segment, discs_on_source, find_discs, kept_weights, segmenter
from training.segmentation.slices import Slice, labels_on_grid, load_slices, made_slices, pseudo_labels
from training.segmentation.train import evaluate_dice, train_segmentation, train_stage

__all__ = [
    "Segment",
    "Slice",
    "discs_on_source",
    "evaluate_dice",
    "find_discs",
    "kept_weights",
    "labels_on_grid",
    "load_slices",
    "made_slices",
    "pseudo_labels",
    "segmenter",
    "train_segmentation",
    "train_stage",
]
