"""Five-fold cross-validation of the segmenter by patient: ``python -m training.cross_validation RUN``.

Every patient with masks is held out once. The first fold is that of :func:`training.data.split_patients`, so that its
figures and those of the served network are of the same patients.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from rich.console import Console

from training.data import Spider2d, default_root, split_patients
from training.first_pass import dice_by_patient, made_slices, mean_of_patients, segmenter
from training.segmentation import SegmentationConfig, load_slices, train_segmentation

__all__ = ["folds", "main"]

_FOLDS = 5
_CONFIG = SegmentationConfig(steps=1800, window=(448, 352), compiled=shutil.which("c++") is not None)


def folds(data: Spider2d, *, seed: int = 2026) -> list[set[str]]:
    """Split the patients with masks into five groups of nearly the same size."""
    masked = sorted(series.patient for series in data.masked)
    _, first = split_patients(data, seed=seed)
    rest = [patient for patient in masked if patient not in first]
    random.Random(seed).shuffle(rest)
    return [first & set(masked), *(set(rest[start :: _FOLDS - 1]) for start in range(_FOLDS - 1))]


def main(arguments: Sequence[str] | None = None) -> None:
    """Train every fold that is not done yet, judge each on its own patients, and write RUN/cross_validation.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    run: Path = parser.parse_args(arguments).run
    console = Console()
    torch.set_num_threads(2)
    data = Spider2d(default_root())
    extra = made_slices()
    slices = {series.patient: load_slices(series) for series in data.masked}
    own: dict[str, float] = {}
    for number, held_out in enumerate(folds(data)):
        console.print(f"fold {number}: {len(held_out)} patients held out")
        shown = [item for patient, items in slices.items() if patient not in held_out for item in items]
        judged = [item for patient in sorted(held_out) for item in slices[patient][::4]]
        checkpoint = train_segmentation([*shown, *extra], judged, run / f"fold{number}", _CONFIG)
        figures, pooled = dice_by_patient(
            [series for series in data.masked if series.patient in held_out], segmenter(checkpoint)
        )
        own |= figures
        console.print({"pooled": pooled, **mean_of_patients(figures), **figures})
    report = {
        "patients": len(own),
        **mean_of_patients(own),
        "median": round(float(np.median(list(own.values()))), 4),
        "patient": {patient: own[patient] for patient in sorted(own, key=int)},
    }
    (run / "cross_validation.json").write_text(json.dumps(report, indent=2) + "\n")
    console.print_json(data=report)


if __name__ == "__main__":
    main()
