"""Judge a trained run on the patients that it never saw."""

from __future__ import annotations

import json
from pathlib import Path

from discgrade.errors import InvalidRequest
from training.config import Match
from training.data import DataSet, split_patients
from training.device import Compute, Device
from training.evaluation.predict import predict
from training.evaluation.rows import SeriesRow
from training.grading import read_checkpoint
from training.runs import grader_checkpoint, segmenter_checkpoint
from training.segmentation import segmenter

__all__ = ["held_out_patients", "judge"]


def held_out_patients(data: DataSet, run: Path) -> set[str]:
    """Patients that neither network of a run was trained on.

    A run without a record of its patients is one of the first release, trained on all but
    :func:`training.data.split_patients`.

    Raises:
        InvalidRequest: The run was trained on everybody.
    """
    records = [run / f"{network}.json" for network in ("segmentation", "grading")]
    seen = {
        patient for path in records if path.is_file() for patient in json.loads(path.read_text())["training_patients"]
    }
    patients = set(data.patients) - seen if seen else split_patients(data)[1]
    if not patients:
        raise InvalidRequest(
            "This run was trained on every patient of the data set: none is left to judge it on.",
            "Cross-validate its settings: discgrade evaluate --folds 5.",
        )
    return patients


def judge(data: DataSet, run: Path, device: Device = Device.AUTO, match: Match = "level") -> list[SeriesRow]:
    """What a run's networks answer for the patients they never saw.

    Raises:
        InvalidRequest: The run lacks a network, or nobody is left to judge it on.
    """
    patients = held_out_patients(data, run)
    segment = segmenter(segmenter_checkpoint(run), Compute.choose(device).device)
    return predict(data, patients, segment, read_checkpoint(grader_checkpoint(run)), match=match)
