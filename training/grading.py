"""Train the grader on discs found by the segmenter, as it will see them in service."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from torch import Tensor
from torch.nn import functional

from discgrade.errors import NoDiscsFound
from preprocess.discs import DiscCrops, find_and_crop
from preprocess.grid import Grid
from training.metrics import accuracy, interval_by_patient, quadratic_kappa
from training.networks import DiscGrader, ExportedGrader

__all__ = ["SEVERITY_OF_GRADE", "DiscSample", "GradingConfig", "find_discs", "match_grades", "scores", "train_grading"]

SEVERITY_OF_GRADE = np.array([0, 0, 1, 2, 2])
"""Severity class of Pfirrmann I … V: mild = I–II, moderate = III, severe = IV–V (discgrade's mapping)."""

Segment = Callable[[NDArray[np.uint8]], tuple[NDArray[np.uint8], NDArray[np.uint8]]]
"""Slices uint8 (N, H, W) to labels and disc probability, both uint8 (N, H, W)."""


@dataclass(frozen=True)
class GradingConfig:
    """What a run depends on besides its data.

    Attributes:
        epochs: Passes over the discs.
        batch: Discs a step.
        width: Channels of the trunk's first level.
        learning_rate: Peak of the one-cycle schedule.
        seed: Of everything random.
    """

    epochs: int = 60
    batch: int = 64
    width: int = 16
    learning_rate: float = 3e-3
    seed: int = 2026


@dataclass(frozen=True, eq=False)
class DiscSample:
    """One graded disc.

    Attributes:
        patient: Whose disc.
        sequence: ``t2``, ``t2_SPACE`` or ``phantom``.
        position: Counted from the bottom, 1 = L5/S1.
        grade: Pfirrmann, 0 … 4.
        crops: float32 (3, 2, 56, 96).
        features: float32 (16,).
    """

    patient: str
    sequence: str
    position: int
    grade: int
    crops: NDArray[np.float32]
    features: NDArray[np.float32]


def find_discs(grid: Grid, labels: NDArray[np.uint8], probability: NDArray[np.uint8]) -> DiscCrops | None:
    """Find the discs in what a :data:`Segment` answered for a study; None where no spine is seen."""
    try:
        return find_and_crop(grid.pixels, grid.field_of_view, grid.slice_spacing_mm, labels, probability)
    except NoDiscsFound:
        return None


def match_grades(found: DiscCrops, grades: dict[int, int], patient: str, sequence: str) -> list[DiscSample]:
    """Pair discs with gradings by counting from the bottom.

    Args:
        found: Discs of the study, the lowest first.
        grades: Pfirrmann 1–5 by position, 1 = L5/S1.
        patient: Whose study.
        sequence: Of the study.

    Returns:
        The graded discs; none where the counts differ, for then a pair may be wrong.
    """
    if len(found.levels) != len(grades):
        return []
    return [
        DiscSample(
            patient, sequence, position, grades[position] - 1, found.crops[position - 1], found.features[position - 1]
        )
        for position in range(1, len(grades) + 1)
        if position in grades
    ]


def _stack(samples: Sequence[DiscSample]) -> tuple[Tensor, Tensor, Tensor]:
    return (
        torch.from_numpy(np.stack([sample.crops for sample in samples])),
        torch.from_numpy(np.stack([sample.features for sample in samples])),
        torch.tensor([sample.grade for sample in samples]),
    )


def _augment(crops: Tensor, features: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Turn, shift and scale a little; change gain, bias and noise of the image channel; jitter the features.

    One slice of the three is drawn, for most training studies have only one.
    """
    n = len(crops)
    pick = torch.randint(0, crops.shape[1], (n,), generator=generator)
    chosen = crops[torch.arange(n), pick]

    def uniform(low: float, high: float) -> Tensor:
        return torch.rand(n, generator=generator) * (high - low) + low

    angle, scale = uniform(-0.15, 0.15), torch.exp(uniform(-0.12, 0.12))
    ratio = chosen.shape[2] / chosen.shape[3]
    matrix = torch.zeros(n, 2, 3)
    matrix[:, 0, 0] = matrix[:, 1, 1] = torch.cos(angle) * scale
    matrix[:, 0, 1] = -torch.sin(angle) * scale * ratio
    matrix[:, 1, 0] = torch.sin(angle) * scale / ratio
    matrix[:, 0, 2], matrix[:, 1, 2] = uniform(-0.08, 0.08), uniform(-0.08, 0.08)
    grid = functional.affine_grid(matrix, list(chosen.shape), align_corners=False)
    moved = functional.grid_sample(chosen, grid, padding_mode="border", align_corners=False)
    image, mask = moved[:, :1], moved[:, 1:]
    image = image.clamp(min=1e-4) ** torch.exp(uniform(-0.12, 0.12)).view(n, 1, 1, 1)
    image = image * torch.exp(uniform(-0.1, 0.1)).view(n, 1, 1, 1)
    slope = torch.linspace(-1, 1, image.shape[3]).view(1, 1, 1, -1)
    image = image * torch.exp(slope * uniform(-0.15, 0.15).view(n, 1, 1, 1))
    image = image + torch.randn(image.shape, generator=generator) * uniform(0, 0.06).view(n, 1, 1, 1)
    jittered = features + torch.randn(features.shape, generator=generator) * 0.05
    return torch.cat([image, mask], dim=1).unsqueeze(1), jittered


def _loss(severity: Tensor, pfirrmann: Tensor, grades: Tensor, class_weights: Tensor) -> Tensor:
    target = torch.from_numpy(SEVERITY_OF_GRADE)[grades]
    classes = functional.cross_entropy(severity, target, weight=class_weights, label_smoothing=0.1)
    above = (grades.unsqueeze(1) > torch.arange(4)).float() * 0.92 + 0.04  # raters differ by a grade often
    return classes + functional.binary_cross_entropy_with_logits(pfirrmann, above)


def train_grading(training: Sequence[DiscSample], config: GradingConfig) -> DiscGrader:
    """Train one grader.

    Args:
        training: Discs of the training patients.
        config: Settings.

    Returns:
        The network with its averaged weights, in evaluation mode.
    """
    torch.manual_seed(config.seed)
    generator = torch.Generator().manual_seed(config.seed)
    crops, features, grades = _stack(training)
    counts = torch.bincount(torch.from_numpy(SEVERITY_OF_GRADE)[grades], minlength=3).float()
    class_weights = (counts.sum() / (3 * counts.clamp(min=1))) ** 0.5
    network = DiscGrader(config.width)
    network = cast(DiscGrader, network.to(memory_format=torch.channels_last))  # type: ignore[call-overload]
    average = torch.optim.swa_utils.AveragedModel(
        network, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.99), use_buffers=True
    )
    steps = config.epochs * math.ceil(len(training) / config.batch)
    optimiser = torch.optim.AdamW(network.parameters(), lr=config.learning_rate, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, config.learning_rate, total_steps=steps)
    for _ in range(config.epochs):
        order = torch.randperm(len(training), generator=generator)
        for chosen in order.split(config.batch):
            if len(chosen) < 2:  # batch normalisation needs two
                schedule.step()
                continue
            network.train()
            batch = _augment(crops[chosen], features[chosen], generator)
            with torch.autocast("cpu", dtype=torch.bfloat16):
                severity, pfirrmann = network(*batch)
            loss = _loss(severity.float(), pfirrmann.float(), grades[chosen], class_weights)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            schedule.step()
            average.update_parameters(network)
    return cast(DiscGrader, average.module.eval())


@torch.no_grad()
def scores(grader: ExportedGrader, samples: Sequence[DiscSample]) -> dict[str, Any]:
    """Judge a grader on given discs.

    Returns:
        Numbers of discs and patients; severity accuracy, Pfirrmann accuracy, share within one grade and quadratic κ;
        and for each but the numbers a 95 % interval from drawing patients 1,000 times with replacement.
    """
    crops, features, grades = _stack(samples)
    severity, pfirrmann = grader.eval()(crops, features)
    truth, predicted, classes = grades.numpy(), pfirrmann.argmax(1).numpy(), severity.argmax(1).numpy()

    def measure(rows: NDArray[np.int64]) -> list[float]:
        return [
            accuracy(classes[rows], SEVERITY_OF_GRADE[truth[rows]]),
            accuracy(predicted[rows], truth[rows]),
            float((np.abs(predicted[rows] - truth[rows]) <= 1).mean()),
            quadratic_kappa(predicted[rows], truth[rows], 5),
        ]

    by_patient: dict[str, list[int]] = {}
    for row, sample in enumerate(samples):
        by_patient.setdefault(sample.patient, []).append(row)
    own = [np.array(rows) for rows in by_patient.values()]
    low, high = interval_by_patient(len(own), lambda drawn: measure(np.concatenate([own[i] for i in drawn])))
    result: dict[str, Any] = {"discs": len(samples), "patients": len(own)}
    names = ("severity_accuracy", "pfirrmann_accuracy", "pfirrmann_within_one", "pfirrmann_quadratic_kappa")
    for index, (name, value) in enumerate(zip(names, measure(np.arange(len(samples))), strict=True)):
        result[name] = round(value, 4)
        result[f"{name}_95"] = [round(float(low[index]), 4), round(float(high[index]), 4)]
    return result


def write_checkpoint(graders: Sequence[DiscGrader], path: Path) -> None:
    """Save graders that are served as one, atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    torch.save({"width": graders[0].width, "members": [grader.state_dict() for grader in graders]}, partial)
    partial.replace(path)
    Console().print(f"wrote {path.name}")


def read_checkpoint(path: Path) -> ExportedGrader:
    """Load what :func:`write_checkpoint` saved."""
    state = torch.load(path, weights_only=True)
    members = []
    for weights in state["members"]:
        member = DiscGrader(state["width"])
        member.load_state_dict(weights)
        members.append(member)
    return ExportedGrader(members).eval()
