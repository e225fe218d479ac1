"""What one would write without a model server: FastAPI, pydicom and eager PyTorch in one process.

    python -m benchmarks.race.baseline PORT

It does what ``POST /v1/grade`` answers and no more: no limits, no checks of the series, nothing kept. The handler is a
plain function, so FastAPI runs it in its pool of threads; PyTorch takes all cores for each of them.
"""

from __future__ import annotations

import sys
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
import uvicorn
from fastapi import FastAPI, UploadFile
from numpy.typing import NDArray
from pydicom import dcmread
from torch.nn import functional

import training
from preprocess.discs import find_and_crop
from preprocess.grid import GRID_MULTIPLE, GRID_SPACING_MM
from training.grading import read_checkpoint
from training.runs import grader_checkpoint, segmenter_checkpoint
from training.segmentation.segment import read_segmenter

WEIGHTS = Path(training.__file__).parent / "weights"
SLICES_AT_ONCE = 4  # as fast as any number, in a tenth of the memory that a whole study takes
REFERENCE_LEVEL = 85.0

app = FastAPI()
segmenter = read_segmenter(segmenter_checkpoint(WEIGHTS))
grader = read_checkpoint(grader_checkpoint(WEIGHTS))


@app.get("/ready")
def ready() -> str:
    """Answers once the networks are loaded."""
    return "ready"


@app.post("/grade")
def grade(files: list[UploadFile]) -> list[dict[str, Any]]:
    """Grade the slices of one sagittal T2 series."""
    volume, pixel_mm, spacing_mm = _read(files)
    image, field_of_view = _to_grid(volume, pixel_mm)
    with torch.inference_mode():
        parts = [segmenter(part[:, None]) for part in torch.from_numpy(image).split(SLICES_AT_ONCE)]
        labels, probability = (torch.cat(part).numpy() for part in zip(*parts, strict=True))
        discs = find_and_crop(image, field_of_view, spacing_mm, labels, probability)
        severity, pfirrmann = grader(torch.from_numpy(discs.crops), torch.from_numpy(discs.features))
    return [
        {"level": level, "severity": s.tolist(), "pfirrmann": p.tolist()}
        for level, s, p in zip(discs.levels, severity, pfirrmann, strict=True)
    ]


def _read(files: list[UploadFile]) -> tuple[NDArray[np.float32], tuple[float, float], float]:
    """Slices from right to left, mm between rows and columns, mm between slices."""
    slices = sorted(
        (dcmread(BytesIO(file.file.read())) for file in files), key=lambda s: float(s.ImagePositionPatient[0])
    )
    volume = np.stack([one.pixel_array for one in slices]).astype(np.float32)
    rows, columns = slices[0].PixelSpacing
    gap = float(slices[1].ImagePositionPatient[0] - slices[0].ImagePositionPatient[0]) if len(slices) > 1 else 0.0
    return volume, (float(rows), float(columns)), gap


def _to_grid(
    volume: NDArray[np.float32], pixel_mm: tuple[float, float]
) -> tuple[NDArray[np.uint8], tuple[int, int, int, int]]:
    """Resample to the grid, bring intensities to bytes, pad to what the network's halvings need."""
    values, counts = np.unique(volume, return_counts=True)
    signal = np.cumsum(values * counts)
    reference = values[np.searchsorted(signal, signal[-1] / 2)]
    size = [round(count * mm / GRID_SPACING_MM) for count, mm in zip(volume.shape[1:], pixel_mm, strict=True)]
    scaled = torch.from_numpy(volume)[:, None] * float(REFERENCE_LEVEL / reference)
    resized = functional.interpolate(scaled, size=size, mode="bilinear", antialias=False)[:, 0]
    pixels = resized.round().clamp(0, 255).to(torch.uint8).numpy()
    before = [(-count % GRID_MULTIPLE) // 2 for count in size]
    after = [-count % GRID_MULTIPLE - first for count, first in zip(size, before, strict=True)]
    padded = np.pad(pixels, ((0, 0), (before[0], after[0]), (before[1], after[1])))
    return padded, (before[0], before[0] + size[0], before[1], before[1] + size[1])


if __name__ == "__main__":
    uvicorn.run(app, port=int(sys.argv[1]), log_level="warning")
