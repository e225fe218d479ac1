"""The trained networks of a run, in the form in which they are served."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

from torch import nn

from discgrade.errors import InvalidRequest
from export.errors import BadCheckpoint
from export.models import GRADING, SEGMENTATION
from training.grading import read_checkpoint
from training.runs import GRADERS, segmenter_checkpoint
from training.segmentation.segment import read_segmenter

__all__ = ["Trained", "load_trained"]

_FIGURES = "figures.json"


@dataclass(frozen=True)
class Trained:
    """What a training run made.

    Attributes:
        networks: By name in the model repository; in evaluation mode, taking and giving what Triton does.
        sources: SHA-256 of every file that was read, by its path in the run.
        figures: What the run measured on its validation patients; empty where it kept none.
    """

    networks: Mapping[str, nn.Module]
    sources: Mapping[str, str]
    figures: Mapping[str, Any]


def load_trained(run: Path) -> Trained:
    """Load the networks of a training run: the only place that knows how runs keep them.

    Args:
        run: A folder such as ``training/weights``.

    Raises:
        BadCheckpoint: A file is missing or does not fit the networks.
    """
    try:
        segmenter = segmenter_checkpoint(run)
    except InvalidRequest as error:
        raise BadCheckpoint(error.detail) from error
    if not (run / GRADERS).is_file():
        raise BadCheckpoint(f"{run} holds no {GRADERS}.")
    try:
        networks = {SEGMENTATION.name: read_segmenter(segmenter), GRADING.name: read_checkpoint(run / GRADERS)}
    except (RuntimeError, LookupError, EOFError, ValueError, OSError, UnpicklingError) as error:
        raise BadCheckpoint(f"The checkpoints of {run} do not fit the networks: {error}") from error
    figures = run / _FIGURES
    read = [segmenter, run / GRADERS, *([figures] if figures.is_file() else [])]
    return Trained(
        networks={name: network.eval() for name, network in networks.items()},
        sources={str(path.relative_to(run)): hashlib.sha256(path.read_bytes()).hexdigest() for path in read},
        figures=json.loads(figures.read_text()) if figures.is_file() else {},
    )
