"""Train the segmenter, stage by stage."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from discgrade.errors import InvalidRequest
from training.augment import augment_batch
from training.config import SegmentationConfig, Stage
from training.data import DataSet
from training.device import Compute, Device
from training.fit import Fit
from training.metrics import dice
from training.networks import SpineUNet
from training.segmentation.segment import kept_weights, segmenter
from training.segmentation.slices import Slice, load_slices, made_slices, part_of, pseudo_labels

__all__ = ["evaluate_dice", "train_segmentation", "train_stage"]

Batch = tuple[Tensor, Tensor, Tensor]


def _loss(logits: Tensor, target: Tensor, known: Tensor) -> Tensor:
    """Cross-entropy plus soft Dice over disc, vertebra and canal (Milletari et al., 3DV 2016), where known."""
    weight = known.unsqueeze(1).float()
    entropy = -(target * functional.log_softmax(logits, 1) * weight).sum() / weight.sum().clamp(min=1)
    probability, truth = torch.softmax(logits, 1)[:, 1:] * weight, target[:, 1:] * weight
    overlap = (probability * truth).sum((0, 2, 3))
    total = probability.sum((0, 2, 3)) + truth.sum((0, 2, 3))
    return entropy + (1 - (2 * overlap + 1) / (total + 1)).mean()


def _loss_of(forward: Callable[..., Any], batch: Batch, compute: Compute) -> Tensor:
    images, target, known = (part.to(compute.device, non_blocking=True) for part in batch)
    with compute.autocast():
        logits = forward(images.contiguous(memory_format=torch.channels_last))
    return _loss(logits.float(), target, known)


def _batch(shown: Sequence[Slice]) -> tuple[Tensor, Tensor]:
    height = max(item.image.shape[0] for item in shown)
    width = max(item.image.shape[1] for item in shown)
    images = np.zeros((len(shown), 1, height, width), dtype=np.float32)
    labels = np.zeros((len(shown), height, width), dtype=np.int64)
    for row, item in enumerate(shown):
        h, w = item.image.shape
        top, left = (height - h) // 2, (width - w) // 2
        images[row, 0, top : top + h, left : left + w] = item.image / 255.0
        labels[row, top : top + h, left : left + w] = item.labels
    return torch.from_numpy(images), torch.from_numpy(labels)


@torch.no_grad()
def evaluate_dice(network: nn.Module, slices: Sequence[Slice]) -> float:
    """Disc Dice over all given slices taken as one volume, on the network grid."""
    network.eval()
    where = next(network.parameters()).device
    predicted, reference = [], []
    for item in slices:
        logits = network(torch.from_numpy(item.image[None, None]).float().to(where) / 255.0)
        predicted.append((logits[0].argmax(0) == 1).cpu().numpy().ravel())
        reference.append((item.labels == 1).ravel())
    return dice(np.concatenate(predicted), np.concatenate(reference))


def train_stage(
    training: Sequence[Slice],
    validation: Sequence[Slice],
    folder: Path,
    config: SegmentationConfig,
    stage: Stage,
    *,
    start: Path | None = None,
    compute: Compute | None = None,
) -> Path:
    """Train one stage, checkpointing into its folder; continues an interrupted run found there.

    Args:
        training: Slices to learn from.
        validation: Slices of other patients, measured at every checkpoint; may be empty.
        folder: For ``checkpoint.pt``.
        config: Of the run.
        stage: Which stage.
        start: A checkpoint whose weights to start from.
        compute: Where and in what precision; by default as the settings say.

    Returns:
        Path of the final checkpoint.
    """
    checkpoint = folder / "checkpoint.pt"
    torch.manual_seed(stage.seed)
    network = SpineUNet(config.widths, config.folded)
    if start is not None:
        network.load_state_dict(kept_weights(start))
    weights = np.array([item.weight for item in training])
    weights /= weights.sum()

    def batch(step: int, generator: torch.Generator) -> Batch:
        chance = np.random.default_rng([stage.seed, step])
        chosen = chance.choice(len(training), stage.batch, p=weights)
        gentler = step / max(stage.steps - 1, 1)
        strength = stage.augmentation[0] + (stage.augmentation[1] - stage.augmentation[0]) * gentler
        images, labels = _batch([part_of(training[i], stage.window, chance) for i in chosen.tolist()])
        return augment_batch(images, labels, stage.window, generator, strength)

    compute = compute or Compute.choose(mixed_precision=config.mixed_precision)
    fit = Fit(network, checkpoint, stage, compute, _identity(training, config, start))
    fit.run(
        batch,
        _loss_of,
        (lambda mean: {"disc_dice": evaluate_dice(mean, validation)}) if validation else None,
        stage.name,
        compiled=config.compile,
    )
    return checkpoint


def _identity(training: Sequence[Slice], config: SegmentationConfig, start: Path | None) -> str:
    """What a stage depends on besides its settings: the network's form, the slices, the weights it started from."""
    content = hashlib.sha256()
    for item in training:
        content.update(item.image.tobytes())
        content.update(item.labels.tobytes())
        content.update(str(item.weight).encode())
    for weight in kept_weights(start).values() if start else ():
        content.update(weight.numpy().tobytes())
    return f"{config.widths} {config.folded} {content.hexdigest()}"


def train_segmentation(
    data: DataSet,
    training: Collection[str],
    validation: Collection[str],
    run: Path,
    config: SegmentationConfig,
    device: Device = Device.AUTO,
) -> Path:
    """Train every stage that is not done yet.

    Args:
        data: The data set.
        training: Patients to learn from.
        validation: Patients to measure at every checkpoint; with ``patience`` they decide when to stop. May be empty.
        run: Folder of the run; each stage has a folder in it.
        config: Settings.
        device: Where to compute.

    Returns:
        Path of the last stage's checkpoint.

    Raises:
        InvalidRequest: No training patient has masks, or the run was started with other settings or data.
    """
    compute = Compute.choose(device, mixed_precision=config.mixed_precision)
    shown: list[Slice] = []
    measured: list[Slice] = []
    for series in data.masked:
        if series.patient in training:
            shown += load_slices(series, config.slices_per_series)
        elif series.patient in validation:
            measured += load_slices(series, config.slices_per_series)[::3]
    if not shown:
        raise InvalidRequest("No patient to train on has masks.", "Check the folder of masks, see docs/training.md.")
    made = made_slices(config.phantoms, config.non_spines) if any(stage.made for stage in config.stages) else []
    with_masks = {series.patient for series in data.masked}
    unlabelled = [
        series
        for series in data.series
        if not series.masked
        and series.patient in training
        and not (series.sequence == "t2_SPACE" and series.patient in with_masks)  # shown with its masks already
    ]
    checkpoint: Path | None = None
    labelled: list[Slice] | None = None
    for stage in config.stages:
        slices = [*shown, *(made if stage.made else ())]
        if stage.pseudo_labels and checkpoint is not None:
            if labelled is None:  # a minute or two, and the same for every stage
                first = run / config.stages[0].name / "checkpoint.pt"
                labelled = pseudo_labels(unlabelled, data.gradings, segmenter(first, compute.device))
            slices += [replace(one, weight=stage.pseudo_labels) for one in labelled]
        checkpoint = train_stage(slices, measured, run / stage.name, config, stage, start=checkpoint, compute=compute)
    assert checkpoint is not None  # there is at least one stage
    return checkpoint
