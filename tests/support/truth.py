"""A grader that knows the truth of a phantom, for tests in which tritonserver does not matter."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from discgrade.errors import InferenceFailed
from discgrade.result import ModelUsed
from gateway.canary import Canary
from gateway.triton_tensors import GradedTensors
from preprocess.grid import Grid
from training.phantom import Phantom

__all__ = ["TruthGrader", "truth_tensors"]


def truth_tensors(phantom: Phantom, grid: Grid) -> GradedTensors:
    """What a perfect ensemble would answer for a phantom's image on the network grid.

    Severity and Pfirrmann grade follow the phantom with probability 0.8.
    """
    instances = _on_grid(phantom.instances, phantom, grid)
    inside = (instances > 0).astype(np.float32)
    probability = np.where(inside > 0, np.maximum(128, 255 * ndimage.gaussian_filter(inside, (0, 1, 1))), 0)
    sizes = np.stack([(instances == label).sum(axis=(1, 2)) for label in range(1, len(phantom.levels) + 1)])
    boxes = [[s.start for s in box] + [s.stop for s in box] for box in ndimage.find_objects(instances)]
    severity = np.searchsorted([3, 4], phantom.grades, side="right")
    return GradedTensors(
        labels=_on_grid(phantom.labels, phantom, grid),
        disc_probability=probability.astype(np.uint8),
        instances=instances,
        boxes=np.array(boxes, dtype=np.int32),
        middle_slices=sizes.argmax(axis=1).astype(np.int32),
        levels=phantom.levels,
        level_confidence=np.full(len(phantom.levels), 0.9, np.float32),
        warnings=("incomplete_lumbar_spine",) if len(phantom.levels) < 5 else (),
        severity_probabilities=_confident(severity, 3),
        pfirrmann_probabilities=_confident(np.array(phantom.grades) - 1, 5),
        release="1",
    )


def _on_grid(labels: NDArray[np.uint8], phantom: Phantom, grid: Grid) -> NDArray[np.uint8]:
    to_source = np.linalg.inv(phantom.volume.affine) @ grid.affine
    index = np.indices(grid.pixels.shape).reshape(3, -1)
    source = np.rint(to_source[:3, :3] @ index + to_source[:3, 3:]).astype(int)
    inside = np.all((source >= 0) & (source < np.array(labels.shape)[:, None]), axis=0)
    out = np.zeros(grid.pixels.size, np.uint8)
    out[inside] = labels[tuple(source[:, inside])]
    return out.reshape(grid.pixels.shape)


def _confident(classes: NDArray[np.int64], count: int) -> NDArray[np.float32]:
    out = np.full((len(classes), count), 0.2 / (count - 1), np.float32)
    out[np.arange(len(classes)), classes] = 0.8
    return out


@dataclass
class TruthGrader:
    """Stands in for the Triton client where the server is irrelevant.

    Attributes:
        phantom: Whose truth it answers.
        is_ready: What :meth:`ready` says.
        lost: What the app is told about tritonserver's being lost for good.
        error: Raised by :meth:`grade` and :meth:`models` instead of an answer.
        instead: Answered in place of these attributes of the true tensors.
        hold: If set, :meth:`grade` waits until it is set.
        started: Set when :meth:`grade` has begun.
        cancelled: Whether a :meth:`grade` was cancelled.
        beside: The canary; it fails, always.
    """

    phantom: Phantom
    is_ready: bool = True
    lost: bool = False
    error: Exception | None = None
    instead: dict[str, Any] = field(default_factory=dict)
    hold: asyncio.Event | None = None
    started: asyncio.Event = field(default_factory=asyncio.Event)
    cancelled: bool = False
    beside: Canary | None = None

    async def __aenter__(self) -> TruthGrader:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    async def ready(self) -> bool:
        return self.is_ready

    async def grade(self, grid: Grid) -> GradedTensors:
        self.started.set()
        if self.error is not None:
            raise self.error
        if self.hold is not None:
            try:
                await self.hold.wait()
            except asyncio.CancelledError:
                self.cancelled = True
                raise
        return replace(truth_tensors(self.phantom, grid), **self.instead)

    async def grade_by_canary(self, grid: Grid) -> GradedTensors:
        raise InferenceFailed("A canary that fails.")

    async def canary(self) -> Canary | None:
        return self.beside

    async def models(self, release: str | None = None) -> list[ModelUsed]:
        if self.error is not None:
            raise self.error
        return [ModelUsed(name="lumbar_grading", version=release or "1", engine="ensemble")]
