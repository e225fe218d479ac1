"""The trained networks of a run, in the form in which they are served."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import nn

from export.errors import BadCheckpoint
from export.models import GRADING, SEGMENTATION
from training.grading import read_checkpoint
from training.networks import ExportedSegmenter, SpineUNet

__all__ = ["Trained", "load_trained"]

_LAST_STAGE = "sharpening/checkpoint.pt"
"""The segmenter of a run that keeps every stage; a run that keeps one has it in a folder of any name."""
_GRADERS = "grading/checkpoint.pt"
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
    others = [path for path in sorted(run.glob("*/checkpoint.pt")) if path != run / _GRADERS]
    segmenter = run / _LAST_STAGE if run / _LAST_STAGE in others or len(others) != 1 else others[0]
    if missing := [path.relative_to(run) for path in (segmenter, run / _GRADERS) if not path.is_file()]:
        raise BadCheckpoint(f"{run} holds no {missing[0]}.")
    try:
        networks = {SEGMENTATION.name: _segmenter(segmenter), GRADING.name: read_checkpoint(run / _GRADERS)}
    except (RuntimeError, LookupError, EOFError, ValueError, OSError, UnpicklingError) as error:
        raise BadCheckpoint(f"The checkpoints of {run} do not fit the networks: {error}") from error
    figures = run / _FIGURES
    read = [segmenter, run / _GRADERS, *([figures] if figures.is_file() else [])]
    return Trained(
        networks={name: network.eval() for name, network in networks.items()},
        sources={str(path.relative_to(run)): hashlib.sha256(path.read_bytes()).hexdigest() for path in read},
        figures=json.loads(figures.read_text()) if figures.is_file() else {},
    )


def _segmenter(checkpoint: Path) -> ExportedSegmenter:
    weights = torch.load(checkpoint, weights_only=True, map_location="cpu")["ema"]
    levels = sorted(name for name in weights if name.startswith("down.") and name.endswith(".0.weight"))
    network = SpineUNet(tuple(len(weights[name]) for name in levels))  # the widths are the first convolutions' outputs
    network.load_state_dict(weights)
    return ExportedSegmenter(network)
