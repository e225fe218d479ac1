"""From a training run to weights that can be committed and exported: what is served, and where it is from."""

from __future__ import annotations

import shutil
from pathlib import Path

import torch

from discgrade.errors import InvalidRequest
from training.evaluation.calibration import fit_temperatures
from training.evaluation.rows import read_rows
from training.evaluation.table import discs_of
from training.fit import save
from training.runs import GRADERS, grader_checkpoint, segmenter_checkpoint
from training.segmentation import kept_weights

__all__ = ["publish"]


def publish(run: Path, to: Path, predictions: Path | None = None) -> dict[str, float]:
    """Write a run's weights without what only its training needs.

    Args:
        run: Folder of a run with both networks.
        to: Folder that gets them, such as ``training/weights``; must hold no weights yet.
        predictions: Out-of-fold answers (``predictions.json.gz`` of ``discgrade evaluate --folds``) of networks with
            the same settings, to fit the temperatures to; without, the graders keep theirs.

    Returns:
        The temperatures by head.

    Raises:
        InvalidRequest: The run lacks a network, or ``to`` holds weights.
        UnreadableFile: There are no predictions in the file.
    """
    segmenter, graders = segmenter_checkpoint(run), grader_checkpoint(run)
    if any(to.glob("*/checkpoint.pt")):
        raise InvalidRequest(f"The folder {to.name} holds weights already.", "Give an empty folder.")
    state = torch.load(graders, weights_only=True, map_location="cpu")
    if predictions is not None:
        discs = discs_of(read_rows(predictions))
        if not len(discs):
            raise InvalidRequest(f"{predictions.name} holds no graded discs.", "Evaluate with --folds first.")
        state["temperatures"] = fit_temperatures(discs.heads, discs.truth)
    save({"ema": dict(kept_weights(segmenter))}, to / segmenter.relative_to(run))
    save(state, to / GRADERS)
    for record in ("segmentation.json", "grading.json"):
        if (run / record).is_file():
            shutil.copyfile(run / record, to / record)
    return dict(state.get("temperatures") or {})
