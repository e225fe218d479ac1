"""The one way of a study: files on disk → volume → network grid → Triton → discs, label image and overlay.

REST handlers and the command line only translate to and from this module.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from discgrade.errors import NoDiscsFound
from discgrade.result import Disc, GradingResult, InputDescription, ModelUsed, Pfirrmann, ResultWarning, Severity
from gateway.metrics import STAGES
from gateway.nifti_out import label_image
from gateway.overlay import draw_overlay
from gateway.store import OVERLAY, RESULT, SEGMENTATION, new_result_id
from gateway.triton_tensors import GradedTensors
from gateway.workers import Workers
from preprocess.grid import Grid, to_grid, to_source
from preprocess.levels import WARNING_MESSAGES
from preprocess.limits import Limits
from preprocess.measure import measure_discs
from preprocess.study import Study, read_study

__all__ = ["Dataplane", "Graded", "Grader"]

T = TypeVar("T", bound=Enum)


class Grader(Protocol):
    """What the dataplane needs of a Triton client."""

    async def ready(self) -> bool:
        """Whether the ensemble would answer now."""

    async def grade(self, grid: Grid) -> GradedTensors:
        """Run the ensemble."""

    async def models(self) -> list[ModelUsed]:
        """The models behind the ensemble."""


@dataclass(frozen=True)
class Graded:
    """A graded study, ready to be kept.

    Attributes:
        result: What ``POST /v1/grade`` answers.
        segmentation: A gzipped NIfTI-1 label image in the input's geometry.
        overlay: A PNG picture.
    """

    result: GradingResult
    segmentation: bytes
    overlay: bytes

    def artefacts(self) -> dict[str, bytes]:
        """File name to contents, as the store and the command line write them."""
        return {
            RESULT: self.result.model_dump_json(indent=2).encode(),
            SEGMENTATION: self.segmentation,
            OVERLAY: self.overlay,
        }


class _Stopwatch:
    """Milliseconds per stage, and since its start."""

    def __init__(self, upload_ms: float, progress: Callable[[str], None] | None) -> None:
        self.timings_ms = {"upload": round(upload_ms, 1)}
        self._progress = progress
        self._started = self._lap = time.perf_counter()
        self._upload_ms = upload_ms
        self._announce(1)

    def stage_done(self, stage: str) -> None:
        now = time.perf_counter()
        self.timings_ms[stage] = round((now - self._lap) * 1000, 1)
        self._lap = now
        self._announce(STAGES.index(stage) + 1)

    def total(self) -> dict[str, float]:
        whole = self._upload_ms + (time.perf_counter() - self._started) * 1000
        return {**self.timings_ms, "total": round(whole, 1)}

    def _announce(self, index: int) -> None:
        if self._progress is not None and index < len(STAGES):
            self._progress(STAGES[index])


class Dataplane:
    """Grades studies.

    Args:
        grader: Talks to tritonserver.
        workers: Threads for everything that is not waiting.
        limits: What the readers accept.
    """

    def __init__(self, grader: Grader, workers: Workers, limits: Limits) -> None:
        self.grader = grader
        self._workers = workers
        self._limits = limits

    async def grade(
        self,
        files: list[Path],
        workdir: Path,
        upload_ms: float = 0.0,
        progress: Callable[[str], None] | None = None,
    ) -> Graded:
        """Grade one study.

        Args:
            files: What was sent; named by us, not by the sender.
            workdir: An empty folder the readers may unpack into; the caller removes it.
            upload_ms: Milliseconds already spent receiving the files.
            progress: Told the name of each of :data:`gateway.metrics.STAGES` as it begins.

        Returns:
            The result, with ``timings_ms`` up to this return.

        Raises:
            discgrade.errors.InputError: The study cannot be graded, and why.
            discgrade.errors.ServiceError: Triton failed.
        """
        watch = _Stopwatch(upload_ms, progress)
        study = await self._workers.compute(read_study, files, workdir, self._limits)
        watch.stage_done("read")
        grid = await self._workers.compute(to_grid, study.volume)
        watch.stage_done("preprocess")
        tensors = await self.grader.grade(grid)
        if len(tensors.levels) == 0:
            raise NoDiscsFound("The networks found no disc in this series.")
        models = await self.grader.models()
        watch.stage_done("inference")
        return await self._workers.compute(_finish, study, grid, tensors, models, watch)


def _finish(study: Study, grid: Grid, tensors: GradedTensors, models: list[ModelUsed], watch: _Stopwatch) -> Graded:
    discs = _discs(grid, tensors)
    labels = to_source(grid, tensors.instances, tensors.disc_probability)
    segmentation = label_image(labels, study.volume.affine, slices_first=study.format != "nifti")
    overlay = draw_overlay(grid, tensors.instances, tensors.disc_probability, tensors.middle_slices, discs)
    watch.stage_done("postprocess")
    result = GradingResult(
        result_id=new_result_id(),
        input=InputDescription(
            format=study.format,
            chosen_series=study.chosen_series,
            chosen_because=study.chosen_because,
            slices=len(grid.pixels),
            spacing_mm=_grid_order_spacing(grid),
        ),
        discs=discs,
        models=models,
        timings_ms=watch.total(),
        warnings=_warnings(study, tensors),
    )
    return Graded(result, segmentation, overlay)


def _grid_order_spacing(grid: Grid) -> tuple[float, float, float]:
    """Spacing of the source in mm: between sagittal slices, rows and columns."""
    slices, rows, columns = (grid.source.spacing[axis] for axis in grid.axes)
    return round(slices, 4), round(rows, 4), round(columns, 4)


def _discs(grid: Grid, tensors: GradedTensors) -> list[Disc]:
    """Discs from top to bottom; the tensors hold them from bottom to top."""
    measurements = measure_discs(grid, tensors.instances, tensors.middle_slices)
    discs = []
    for measured in measurements:
        row = measured.label - 1
        x, y, z = (round(value, 2) for value in measured.centroid_mm_lps)
        severity = _probabilities(Severity, tensors.severity_probabilities[row])
        pfirrmann = _probabilities(Pfirrmann, tensors.pfirrmann_probabilities[row])
        discs.append(
            Disc(
                level=tensors.levels[row],
                level_confidence=_rounded(tensors.level_confidence[row]),
                severity=max(severity, key=severity.__getitem__),
                severity_probabilities=severity,
                pfirrmann=max(pfirrmann, key=pfirrmann.__getitem__),
                pfirrmann_probabilities=pfirrmann,
                label=measured.label,
                centroid_mm_lps=(x, y, z),
                area_mm2=round(measured.area_mm2, 1),
                volume_mm3=None if measured.volume_mm3 is None else round(measured.volume_mm3, 1),
                height_mm=round(measured.height_mm, 2),
            )
        )
    return sorted(discs, key=lambda disc: disc.label, reverse=True)


def _probabilities(names: type[T], values: NDArray[np.float32]) -> dict[T, float]:
    return {name: _rounded(value) for name, value in zip(names, values, strict=True)}


def _rounded(probability: float) -> float:
    return round(min(max(float(probability), 0.0), 1.0), 4)


def _warnings(study: Study, tensors: GradedTensors) -> list[ResultWarning]:
    of_input = [ResultWarning(code=warning.code, message=warning.message) for warning in study.warnings]
    return of_input + [ResultWarning(code=code, message=WARNING_MESSAGES.get(code, code)) for code in tensors.warnings]
