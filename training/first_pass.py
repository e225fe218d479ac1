"""The first trained networks, start to end: ``python -m training.first_pass RUN``.

Stages, each resumed from what RUN already holds:

1. segmenter on the masked T2 SPACE slices of the training patients;
2. labels for ordinary T2 slices of training patients from that segmenter, kept only where the number of discs agrees
   with the gradings; the segmenter goes on with these and with phantoms, at last with gentle augmentation;
3. graders on the discs that the segmenter finds in training patients and phantoms;
4. figures on the validation patients.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console

from preprocess.grid import to_grid, to_source
from preprocess.volume import Volume
from training.data import Series, Spider2d, default_root, split_patients
from training.grading import (
    DiscSample,
    GradingConfig,
    Segment,
    find_discs,
    match_grades,
    read_checkpoint,
    scores,
    train_grading,
    write_checkpoint,
)
from training.metrics import dice, interval_by_patient
from training.networks import ExportedSegmenter, SpineUNet
from training.phantom import make_phantom, random_spec
from training.phantom.nonspine import make_non_spine
from training.segmentation import (
    SegmentationConfig,
    Slice,
    labels_on_grid,
    load_slices,
    train_segmentation,
)

__all__ = ["main", "segmenter"]

_PHANTOMS = 60
_NON_SPINES = 16
_GRADERS = 3
_SEGMENTATION = SegmentationConfig(augmentation=(1.0, 1.0))
_ADAPTATION = SegmentationConfig(steps=500, learning_rate=2.5e-3, augmentation=(1.0, 1.0), seed=2027)
_SHARPENING = SegmentationConfig(steps=300, learning_rate=1.5e-3, augmentation=(0.35, 0.35), seed=2028)


def segmenter(checkpoint: Path) -> Segment:
    """The segmenter of a checkpoint, as it will be served: uint8 slices to labels and disc probability."""
    network = SpineUNet()
    network.load_state_dict(torch.load(checkpoint, weights_only=True)["ema"])
    served = ExportedSegmenter(network).eval()

    @torch.no_grad()
    def segment(pixels: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        answers = [served(torch.from_numpy(pixels[index : index + 1, None])) for index in range(len(pixels))]
        return np.concatenate([a.numpy() for a, _ in answers]), np.concatenate([b.numpy() for _, b in answers])

    return segment


def pseudo_labels(series: Iterable[Series], data: Spider2d, segment: Segment) -> list[Slice]:
    """Label ordinary T2 slices, keeping those whose number of discs agrees with the gradings."""
    slices = []
    for one in series:
        grid = to_grid(one.volume())
        labels, probability = segment(grid.pixels)
        found = find_discs(grid, labels, probability)
        if found is None or len(found.levels) != len(data.gradings.get(one.patient, {})):
            continue
        # A disc that was not kept as an instance (an S1/S2 remnant, say) is left out of the loss, not taught.
        taught = labels.astype(np.int8)
        taught[(labels == 1) & (found.instances == 0)] = -1
        slices.append(Slice(grid.pixels[0], taught[0], weight=1.0))
    return slices


def phantom_slices(count: int, seed: int) -> list[Slice]:
    """One slice near the middle of each of many random phantoms, with its labels."""
    rng = np.random.default_rng(seed)
    slices = []
    for _ in range(count):
        spec = replace(random_spec(rng), slices=1, slice_spacing_mm=4.0)
        phantom = make_phantom(spec)
        grid = to_grid(phantom.volume)
        slices.append(Slice(grid.pixels[0], labels_on_grid(phantom.labels[0], grid).astype(np.int8), weight=0.7))
    return slices


def non_spine_slices(count: int, seed: int) -> list[Slice]:
    """Slices of objects that are no spine: everything is background."""
    slices = []
    for index in range(count):
        volume = make_non_spine(seed + index)
        middle = len(volume.array) // 2
        grid = to_grid(Volume(volume.array[middle : middle + 1], volume.affine))
        slices.append(Slice(grid.pixels[0], np.zeros(grid.pixels.shape[1:], dtype=np.int8), weight=0.7))
    return slices


def made_slices() -> list[Slice]:
    """The phantoms and the objects that are no spine which a segmenter sees beside patients."""
    return [*phantom_slices(_PHANTOMS, seed=1), *non_spine_slices(_NON_SPINES, seed=1)]


def phantom_discs(count: int, seed: int, segment: Segment) -> list[DiscSample]:
    """Graded discs of random phantoms."""
    rng = np.random.default_rng(seed)
    samples: list[DiscSample] = []
    for index in range(count):
        phantom = make_phantom(replace(random_spec(rng), slices=1, slice_spacing_mm=4.0, shift_mm=(0.0, 0.0)))
        grid = to_grid(phantom.volume)
        found = find_discs(grid, *segment(grid.pixels))
        if found is not None:
            grades = dict(enumerate(phantom.grades, start=1))
            samples += match_grades(found, grades, f"phantom-{index}", "phantom")
    return samples


def graded_discs(data: Spider2d, segment: Segment) -> tuple[list[DiscSample], int, list[str]]:
    """All discs whose series shows as many discs as were graded, the number of such series, and the series left out.

    A patient may have up to three series (T2, and T2 SPACE as one slice and as masked neighbours), and a disc of theirs
    is there once a series.
    """
    samples: list[DiscSample] = []
    agreeing, dropped = 0, []
    for series in [*data.masked, *data.midsagittal]:
        grades = data.gradings.get(series.patient)
        if grades is None:
            continue
        grid = to_grid(series.volume())
        found = find_discs(grid, *segment(grid.pixels))
        matched = [] if found is None else match_grades(found, grades, series.patient, series.sequence)
        samples += matched
        if matched:
            agreeing += 1
        else:
            dropped.append(f"{series.patient}_{series.sequence}")
    return samples, agreeing, dropped


def dice_by_patient(masked: Iterable[Series], segment: Segment) -> tuple[dict[str, float], float]:
    """Dice of the discs that are served against the masks, on the pixels of the source.

    Returns:
        Each patient's, and that of all voxels of all patients pooled.
    """
    overlap, total, own = 0, 0, {}
    for series in masked:
        grid = to_grid(series.volume())
        labels, probability = segment(grid.pixels)
        found = find_discs(grid, labels, probability)
        instances = np.zeros_like(labels) if found is None else found.instances
        predicted = to_source(grid, instances, probability) > 0
        reference = series.labels() == 1
        own[series.patient] = round(dice(predicted, reference), 4)
        overlap += int((predicted & reference).sum())
        total += int(predicted.sum()) + int(reference.sum())
    return own, round(2 * overlap / total, 4)


def mean_of_patients(own: Mapping[str, float]) -> dict[str, float | list[float]]:
    """``mean`` over patients and ``mean_95``, its 95 % interval from drawing patients 1,000 times with replacement."""
    values = np.array(list(own.values()))
    low, high = interval_by_patient(len(values), lambda drawn: float(values[drawn].mean()))
    return {"mean": round(float(values.mean()), 4), "mean_95": [round(float(low), 4), round(float(high), 4)]}


def _only(samples: Sequence[DiscSample], patients: set[str]) -> list[DiscSample]:
    return [sample for sample in samples if sample.patient in patients]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run every stage that is not done yet and write RUN/figures.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    run: Path = parser.parse_args(arguments).run
    console = Console()
    torch.set_num_threads(2)
    data = Spider2d(default_root())
    training, validation = split_patients(data)

    masked = [item for series in data.masked if series.patient in training for item in load_slices(series)]
    held_out = [item for series in data.masked if series.patient in validation for item in load_slices(series)]
    first = run / "segmentation" / "checkpoint.pt"
    train_segmentation(masked, held_out[::3], first.parent, _SEGMENTATION)

    adapted = run / "adaptation" / "checkpoint.pt"
    ordinary = [series for series in data.midsagittal if series.patient in training and series.sequence == "t2"]
    labelled = pseudo_labels(ordinary, data, segmenter(first))
    console.print(f"labelled {len(labelled)} of {len(ordinary)} ordinary T2 slices")
    extra = made_slices()
    mixed = [*masked, *labelled, *labelled, *extra]
    train_segmentation(mixed, held_out[::3], adapted.parent, _ADAPTATION, start=first)

    sharp = run / "sharpening" / "checkpoint.pt"
    train_segmentation([*masked, *labelled, *extra], held_out[::3], sharp.parent, _SHARPENING, start=adapted)

    segment = segmenter(sharp)
    samples, agreeing, dropped = graded_discs(data, segment)
    graders = run / "grading" / "checkpoint.pt"
    if not graders.exists():
        shown = _only(samples, training) + phantom_discs(_PHANTOMS, seed=100_000, segment=segment)
        console.print(f"{len(shown)} training discs; count mismatch in {len(dropped)} series")
        members = [train_grading(shown, GradingConfig(seed=2026 + member)) for member in range(_GRADERS)]
        write_checkpoint(members, graders)

    judged = _only(samples, validation)
    own, pooled = dice_by_patient([series for series in data.masked if series.patient in validation], segment)
    figures = {
        "validation_patients": sorted(validation, key=int),
        "space_disc_dice": {"pooled": pooled, **mean_of_patients(own), **own},
        "series_with_count_mismatch": dropped,
        "series_graded": agreeing + len(dropped),
        "grading": {
            name: scores(read_checkpoint(graders), [s for s in judged if s.sequence in sequences])
            for name, sequences in {"all": ("t2", "t2_SPACE"), "t2": ("t2",), "t2_SPACE": ("t2_SPACE",)}.items()
        },
    }
    (run / "figures.json").write_text(json.dumps(figures, indent=2) + "\n")
    console.print_json(data=figures)


if __name__ == "__main__":
    main()
