"""Train the segmenter."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from torch import Tensor
from torch.nn import functional

from preprocess.grid import Grid, to_grid
from training.augment import augment_batch
from training.data import Series, sagittal_volume
from training.metrics import dice
from training.networks import SpineUNet

__all__ = ["SegmentationConfig", "Slice", "evaluate_dice", "labels_on_grid", "load_slices", "train_segmentation"]


@dataclass(frozen=True)
class SegmentationConfig:
    """What a run depends on besides its data.

    Attributes:
        steps: Optimiser steps.
        batch: Slices a step.
        window: Height and width of a training window on the 0.5 mm grid.
        learning_rate: Peak of the one-cycle schedule.
        augmentation: Share of the full range of every change of intensity and sharpness, at the first step and at
            the last; linear between: the end of a run sees images as they are served.
        seed: Of everything random.
        checkpoint_every: Steps between checkpoints.
        compiled: Compile the network for this machine first: a minute or two of a C++ compiler for steps that take
            a third of the time on a CPU.
    """

    steps: int = 1100
    batch: int = 8
    window: tuple[int, int] = (512, 384)
    learning_rate: float = 4e-3
    augmentation: tuple[float, float] = (1.0, 0.25)
    seed: int = 2026
    checkpoint_every: int = 100
    compiled: bool = False


@dataclass(frozen=True, eq=False)
class Slice:
    """One slice on the network grid.

    Attributes:
        image: uint8 (H, W).
        labels: int8 (H, W), tissue 0–3, or −1 where unknown.
        weight: How often to draw it, relative to others.
    """

    image: NDArray[np.uint8]
    labels: NDArray[np.int8]
    weight: float = 1.0


def load_slices(series: Series) -> list[Slice]:
    """Bring a masked series onto the network grid.

    Labels are interpolated as one image a tissue, so outlines keep sub-pixel truth, and the strongest wins.
    """
    volume = series.volume()
    slices = []
    labels = series.labels()
    for index in range(len(labels)):
        # The data set normalised each slice on its own, so each is normalised on its own here too.
        grid = to_grid(sagittal_volume(volume.array[index : index + 1], series.spacing_mm))
        slices.append(Slice(grid.pixels[0], labels_on_grid(labels[index], grid).astype(np.int8)))
    return slices


def labels_on_grid(labels: NDArray[np.uint8], grid: Grid) -> NDArray[np.uint8]:
    """Bring one slice's tissue labels onto the network grid.

    Args:
        labels: uint8 (rows, columns), upright, anterior to the left, on the pixels of the grid's source.
        grid: The grid made from that slice.

    Returns:
        uint8 (H, W).
    """
    height, width = grid.pixels.shape[1:]
    to_source = np.linalg.inv(grid.source.affine) @ grid.affine
    rows = to_source[1, 1] * np.arange(height) + to_source[1, 3]
    columns = to_source[2, 2] * np.arange(width) + to_source[2, 3]
    onehot = torch.from_numpy(np.eye(4, dtype=np.float32)[labels].transpose(2, 0, 1)[None])
    y = torch.from_numpy(2 * (rows + 0.5) / labels.shape[0] - 1).float()
    x = torch.from_numpy(2 * (columns + 0.5) / labels.shape[1] - 1).float()
    where = torch.stack(torch.meshgrid(y, x, indexing="ij")[::-1], dim=-1)[None]
    sampled = functional.grid_sample(onehot, where, mode="bilinear", padding_mode="zeros", align_corners=False)
    return sampled[0].argmax(0).numpy().astype(np.uint8)


def _loss(logits: Tensor, target: Tensor, known: Tensor) -> Tensor:
    """Cross-entropy plus soft Dice over disc, vertebra and canal (Milletari et al., 3DV 2016), where known."""
    weight = known.unsqueeze(1).float()
    entropy = -(target * functional.log_softmax(logits, 1) * weight).sum() / weight.sum().clamp(min=1)
    probability, truth = torch.softmax(logits, 1)[:, 1:] * weight, target[:, 1:] * weight
    overlap = (probability * truth).sum((0, 2, 3))
    total = probability.sum((0, 2, 3)) + truth.sum((0, 2, 3))
    return entropy + (1 - (2 * overlap + 1) / (total + 1)).mean()


def _batch(slices: Sequence[Slice], chosen: Sequence[int]) -> tuple[Tensor, Tensor]:
    height = max(slices[i].image.shape[0] for i in chosen)
    width = max(slices[i].image.shape[1] for i in chosen)
    images = np.zeros((len(chosen), 1, height, width), dtype=np.float32)
    labels = np.zeros((len(chosen), height, width), dtype=np.int64)
    for row, i in enumerate(chosen):
        h, w = slices[i].image.shape
        top, left = (height - h) // 2, (width - w) // 2
        images[row, 0, top : top + h, left : left + w] = slices[i].image / 255.0
        labels[row, top : top + h, left : left + w] = slices[i].labels
    return torch.from_numpy(images), torch.from_numpy(labels)


@torch.no_grad()
def evaluate_dice(network: SpineUNet, slices: Sequence[Slice]) -> float:
    """Disc Dice over all given slices taken as one volume, on the network grid."""
    network.eval()
    predicted, reference = [], []
    for item in slices:
        logits = network(torch.from_numpy(item.image[None, None]).float() / 255.0)
        predicted.append((logits[0].argmax(0) == 1).numpy().ravel())
        reference.append((item.labels == 1).ravel())
    return dice(np.concatenate(predicted), np.concatenate(reference))


def train_segmentation(
    training: Sequence[Slice],
    validation: Sequence[Slice],
    run: Path,
    config: SegmentationConfig,
    *,
    start: Path | None = None,
) -> Path:
    """Train, checkpointing into ``run``; continues an interrupted run found there.

    Args:
        training: Slices to learn from.
        validation: Slices of other patients, measured at every checkpoint.
        run: Folder for ``checkpoint.pt``.
        config: Settings.
        start: A checkpoint whose weights to start from.

    Returns:
        Path of the final checkpoint.
    """
    run.mkdir(parents=True, exist_ok=True)
    checkpoint = run / "checkpoint.pt"
    torch.manual_seed(config.seed)
    console = Console()
    network = SpineUNet()
    if start is not None:
        network.load_state_dict(torch.load(start, weights_only=True)["ema"])
    network = cast(SpineUNet, network.to(memory_format=torch.channels_last))  # type: ignore[call-overload]
    average = torch.optim.swa_utils.AveragedModel(
        network, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.99), use_buffers=True
    )
    optimiser = torch.optim.AdamW(network.parameters(), lr=config.learning_rate, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda step: min(1.0, (step + 1) / 60) * 0.5 * (1 + math.cos(math.pi * step / config.steps))
    )
    first = 0
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        network.load_state_dict(state["network"])
        average.module.load_state_dict(state["ema"])
        average.n_averaged.fill_(state["step"])
        optimiser.load_state_dict(state["optimiser"])
        schedule.load_state_dict(state["schedule"])
        first = state["step"]
    forward = torch.compile(network) if config.compiled else network
    weights = np.array([item.weight for item in training])
    weights /= weights.sum()
    for step in range(first, config.steps):
        chosen = np.random.default_rng([config.seed, step]).choice(len(training), config.batch, p=weights)
        gentler = step / max(config.steps - 1, 1)
        images, target, known = augment_batch(
            *_batch(training, [int(i) for i in chosen]),
            config.window,
            torch.Generator().manual_seed(config.seed * 1_000_003 + step),
            config.augmentation[0] + (config.augmentation[1] - config.augmentation[0]) * gentler,
        )
        network.train()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits = forward(images.contiguous(memory_format=torch.channels_last))
        loss = _loss(logits.float(), target, known)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        average.update_parameters(network)
        if (step + 1) % config.checkpoint_every == 0 or step + 1 == config.steps:
            score = evaluate_dice(cast(SpineUNet, average.module), validation)
            console.print(f"step {step + 1}/{config.steps} loss {loss.item():.3f} validation disc Dice {score:.4f}")
            partial = checkpoint.with_suffix(".partial")
            torch.save(
                {
                    "network": network.state_dict(),
                    "ema": average.module.state_dict(),
                    "optimiser": optimiser.state_dict(),
                    "schedule": schedule.state_dict(),
                    "step": step + 1,
                    "dice": score,
                },
                partial,
            )
            partial.replace(checkpoint)
    return checkpoint
