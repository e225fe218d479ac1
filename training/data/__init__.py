"""Data sets to train on and to judge by: which series, masks and gradings belong to which patient."""

from __future__ import annotations

from training.data.dataset import DataSet, Layout, default_root, open_data
from training.data.gradings import FINDINGS, Grading
from training.data.series import Acquisition, Series, sagittal_volume
from training.data.spider import Spider
from training.data.spider2d import Spider2d
from training.data.splits import Split, folds, reference_split, split_patients

__all__ = [
    "FINDINGS",
    "Acquisition",
    "DataSet",
    "Grading",
    "Layout",
    "Series",
    "Spider",
    "Spider2d",
    "Split",
    "default_root",
    "folds",
    "open_data",
    "reference_split",
    "sagittal_volume",
    "split_patients",
]
