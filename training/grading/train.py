"""Train the graders on discs found by the segmenter, as they will see them in service."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from torch import Tensor
from torch.nn import functional

from discgrade.errors import InvalidRequest
from training.config import GradingConfig, Optimisation
from training.data import FINDINGS, DataSet
from training.device import Compute, Device
from training.fit import Fit
from training.grading.augment import augment_discs
from training.grading.checkpoint import write_checkpoint
from training.grading.samples import (
    HEADS,
    UNKNOWN,
    DiscSample,
    graded_discs,
    phantom_discs,
    read_samples,
    write_samples,
)
from training.networks import DiscGrader
from training.segmentation.segment import segmenter

__all__ = ["grading_loss", "train_grader", "train_grading"]

Batch = tuple[Tensor, Tensor, Tensor]
_WARM_UP = 0.3
_PHANTOM_SEED = 100_000


def grading_loss(
    logits: dict[str, Tensor], targets: Tensor, balance: dict[str, Tensor], finding_weight: float
) -> Tensor:
    """Sum of the heads' losses, each over the discs whose grading is known.

    Args:
        logits: Of every head, float32.
        targets: int64 (D, len(HEADS)); −1 unknown.
        balance: Class weights of severity (3,) and of each finding (2,): absent, present.
        finding_weight: Of each finding's loss.
    """
    known = {name: targets[:, column] != UNKNOWN for column, name in enumerate(HEADS)}
    truth = {name: targets[:, column] for column, name in enumerate(HEADS)}
    total = logits["severity"].sum() * 0.0
    graded = known["severity"]
    if graded.any():
        total = total + functional.cross_entropy(
            logits["severity"][graded], truth["severity"][graded], weight=balance["severity"], label_smoothing=0.1
        )
    graded = known["pfirrmann"]
    if graded.any():
        thresholds = torch.arange(4, device=targets.device)
        above = (truth["pfirrmann"][graded].unsqueeze(1) > thresholds).float() * 0.92 + 0.04  # raters differ by a grade
        total = total + functional.binary_cross_entropy_with_logits(logits["pfirrmann"][graded], above)
    for name in (name for name in FINDINGS if name in logits):
        if (graded := known[name]).any():
            present = truth[name][graded]
            losses = functional.binary_cross_entropy_with_logits(
                logits[name][graded], present.float() * 0.92 + 0.04, weight=balance[name][present]
            )
            total = total + finding_weight * losses
    return total


def _balance(targets: Tensor) -> dict[str, Tensor]:
    """Square roots of inverse class shares: rare classes count more, but not so much that they decide."""
    weights = {}
    for column, name in enumerate(HEADS):
        known = targets[:, column]
        classes = {"severity": 3, "pfirrmann": 5}.get(name, 2)
        counts = torch.bincount(known[known != UNKNOWN], minlength=classes).float()
        weights[name] = (counts.sum() / (classes * counts.clamp(min=1))) ** 0.5
    return weights


def _without_rare(config: GradingConfig, targets: Tensor) -> GradingConfig:
    """The settings without findings of which a class is too rare to be learned."""
    kept = []
    for name in config.architecture.findings:
        known = targets[:, HEADS.index(name)]
        counts = torch.bincount(known[known != UNKNOWN], minlength=2)
        if int(counts.min()) >= config.rarest:
            kept.append(name)
    form = config.architecture.model_copy(update={"findings": tuple(kept)})
    return config.model_copy(update={"architecture": form})


def train_grader(
    training: Sequence[DiscSample],
    config: GradingConfig,
    checkpoint: Path,
    *,
    member: int = 0,
    compute: Compute | None = None,
) -> DiscGrader:
    """Train one grader; continues an interrupted run.

    Args:
        training: Discs of the training patients.
        config: Settings.
        checkpoint: Of this grader's run.
        member: Which of the graders.
        compute: Where and in what precision; by default as the settings say.

    Returns:
        The network with its averaged weights, in evaluation mode.

    Raises:
        InvalidRequest: Fewer than two discs, or the checkpoint is of other settings or discs.
    """
    if len(training) < 2:
        raise InvalidRequest("Fewer than two graded discs to train on.", "Check gradings and segmenter.")
    compute = compute or Compute.choose(mixed_precision=config.mixed_precision)
    crops = torch.from_numpy(np.stack([one.crops for one in training]))
    features = torch.from_numpy(np.stack([one.features for one in training]))
    targets = torch.from_numpy(np.stack([one.targets for one in training]))
    config = _without_rare(config, targets)
    balance = {name: weight.to(compute.device) for name, weight in _balance(targets).items()}
    per_epoch = math.ceil(len(training) / config.batch)
    steps = config.epochs * per_epoch
    plan = Optimisation(
        steps=steps,
        learning_rate=config.learning_rate,
        warm_up=max(1, round(_WARM_UP * steps)),
        weight_decay=config.weight_decay,
        ema=config.ema,
        clip=5.0,
        checkpoint_every=10 * per_epoch,
        seed=config.seed + member,
    )
    torch.manual_seed(plan.seed)
    network = DiscGrader(config.architecture)

    def batch(step: int, generator: torch.Generator) -> Batch:
        epoch, part = divmod(step, per_epoch)
        order = torch.randperm(len(training), generator=torch.Generator().manual_seed(plan.seed * 1009 + epoch))
        chosen = order[part * config.batch : (part + 1) * config.batch]
        if len(chosen) < 2:  # batch normalisation needs two
            chosen = order[:2]
        return (*augment_discs(crops[chosen], features[chosen], generator, config.slices), targets[chosen])

    def loss_of(forward: Callable[..., Any], batch: Batch, compute: Compute) -> Tensor:
        shown, measured, truth = (part.to(compute.device, non_blocking=True) for part in batch)
        with compute.autocast():
            logits = forward(shown, measured)
        floats = {name: value.float() for name, value in logits.items()}
        return grading_loss(floats, truth, balance, config.finding_weight)

    content = hashlib.sha256()
    for part in (crops, features, targets):
        content.update(part.numpy().tobytes())
    identity = f"{config.model_dump_json(exclude={'members'})} {content.hexdigest()}"
    fit = Fit(network, checkpoint, plan, compute, identity)
    return fit.run(batch, loss_of, None, f"grader {member + 1}", compiled=False)


def train_grading(
    data: DataSet,
    patients: Collection[str],
    segmentation: Path,
    run: Path,
    config: GradingConfig,
    device: Device = Device.AUTO,
) -> Path:
    """Find the discs of the training patients, train the graders on them, and keep them as one.

    Args:
        data: The data set.
        patients: To learn from.
        segmentation: Checkpoint of the segmenter that finds the discs.
        run: Folder of the run; ``grading/`` in it is written.
        config: Settings.
        device: Where to compute.

    Returns:
        Path of ``grading/checkpoint.pt``.
    """
    console = Console(stderr=True, highlight=False)
    compute = Compute.choose(device, mixed_precision=config.mixed_precision)
    folder = run / "grading"
    kept = folder / "discs.npz"
    source = hashlib.sha256(segmentation.read_bytes()).hexdigest()
    identity = f"{source} {config.match} {config.phantoms} {' '.join(sorted(patients))}"
    if not kept.is_file():
        segment = segmenter(segmentation, compute.device)
        shown = [series for series in data.series if series.patient in patients]
        found, left_out = graded_discs(shown, data.gradings, segment, config.match)
        found += phantom_discs(config.phantoms, _PHANTOM_SEED, segment)
        if not found:
            raise InvalidRequest("No graded disc to train on was found.", "Check the gradings, see docs/training.md.")
        write_samples(found, kept, left_out, identity)
    samples, dropped = read_samples(kept, identity)  # a resumed run must see what a first one saw: 16 bits
    console.print(
        f"{len(samples)} discs to learn from; {len(dropped)} series left out, for their discs cannot be paired"
    )
    members = [
        train_grader(samples, config, folder / f"member{number}.pt", member=number, compute=compute)
        for number in range(config.members)
    ]
    write_checkpoint(members, folder / "checkpoint.pt")
    return folder / "checkpoint.pt"
