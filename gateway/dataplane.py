"""The one way of a study: files on disk → volume → network grid → Triton → discs and label image.

REST handlers and the command line only translate to and from this module.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from discgrade.result import Disc, GradingResult, InputDescription, ModelUsed, Pfirrmann, ResultWarning, Severity
from gateway.dicom_out import pack_source
from gateway.nifti_out import grey_image, label_image
from gateway.stopwatch import Stopwatch
from gateway.storage import IMAGE, RESULT, SEGMENTATION, SOURCE, new_result_id
from gateway.telemetry.signals import Signals, measure_signals
from gateway.triton_tensors import GradedTensors
from gateway.workers import Workers
from preprocess.grid import Grid, to_grid, to_source
from preprocess.levels import WARNING_MESSAGES
from preprocess.limits import Limits
from preprocess.measure import measure_discs
from preprocess.study import Study, read_study

__all__ = ["Dataplane", "Graded", "Grader", "Prepared"]

T = TypeVar("T", bound=Enum)


class Grader(Protocol):
    """What the dataplane needs of a Triton client."""

    async def ready(self) -> bool:
        """Whether the ensemble would answer now."""

    async def grade(self, grid: Grid) -> GradedTensors:
        """Run the ensemble."""

    async def models(self, release: str | None = None) -> list[ModelUsed]:
        """The ensemble and its members, of the release that answered, or by default of the one in service."""


@dataclass(frozen=True)
class Graded:
    """A graded study, ready to be kept.

    Attributes:
        result: What ``POST /v1/grade`` answers.
        segmentation: A gzipped NIfTI-1 label image in the input's geometry.
        image: What was graded, as gzipped NIfTI-1 on the same grid.
        study_uid: Study Instance UID, for the audit log's keyed hash alone; None where the input has none.
        source: What DICOM objects made of the result repeat of the graded series, as JSON; None for NIfTI.
        signals: How usual the input is, and how sure the masks are.
    """

    result: GradingResult
    segmentation: bytes
    image: bytes = field(repr=False)
    study_uid: str | None = field(repr=False)
    source: bytes | None = field(repr=False)
    signals: Signals

    def artefacts(self) -> dict[str, bytes]:
        """File name to contents, as the store keeps them."""
        kept = {
            RESULT: self.result.model_dump_json(indent=2).encode(),
            SEGMENTATION: self.segmentation,
            IMAGE: self.image,
        }
        return kept if self.source is None else {**kept, SOURCE: self.source}


@dataclass(frozen=True)
class Prepared:
    """A study that was read and is ready for the networks."""

    study: Study
    grid: Grid
    watch: Stopwatch


class Dataplane:
    """Grades studies.

    Args:
        workers: Threads for everything that is not waiting.
        limits: What the readers accept.
    """

    def __init__(self, workers: Workers, limits: Limits) -> None:
        self._workers = workers
        self._limits = limits

    async def prepare(
        self,
        files: list[Path],
        workdir: Path,
        watch: Stopwatch | None = None,
    ) -> Prepared:
        """Read a study and bring it onto the network grid.

        Args:
            files: What was sent; named by us, not by the sender.
            workdir: An empty folder the readers may unpack into; the caller removes it.
            watch: Times the stages; a new one when omitted.

        Raises:
            discgrade.errors.InputError: The study cannot be graded, and why.
        """
        watch = watch or Stopwatch()
        with watch.stage("read"):
            study = await self._workers.compute(read_study, files, workdir, self._limits)
        with watch.stage("preprocess"):
            grid = await self._workers.compute(to_grid, study.volume)
        return Prepared(study, grid, watch)

    async def grade(self, prepared: Prepared, grader: Grader) -> Graded:
        """Grade a study.

        Args:
            prepared: From :meth:`prepare`.
            grader: Talks to tritonserver.

        Raises:
            discgrade.errors.NoDiscsFound: The networks see no lumbar spine.
            discgrade.errors.ServiceError: Triton failed.
        """
        study = prepared.study
        with prepared.watch.stage("inference"):
            # Packed while the networks compute, it costs the sender next to no time where they have a GPU of their own.
            packing = asyncio.create_task(
                self._workers.compute(grey_image, study.volume, slices_first=_slices_first(study))
            )
            try:
                tensors = await grader.grade(prepared.grid)
                models = await grader.models(tensors.release)
            finally:
                image = await packing
        return await self._workers.compute(_finish, prepared, tensors, models, image)


def _finish(prepared: Prepared, tensors: GradedTensors, models: list[ModelUsed], image: bytes) -> Graded:
    study, grid = prepared.study, prepared.grid
    with prepared.watch.stage("postprocess"):
        discs = _discs(grid, tensors)
        labels = to_source(grid, tensors.instances, tensors.disc_probability)
        segmentation = label_image(labels, study.volume.affine, slices_first=_slices_first(study))
        source = None if study.source is None else pack_source(study.source)
        signals = measure_signals(grid, tensors)
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
        timings_ms=prepared.watch.timings_ms(),
        warnings=_warnings(study, tensors),
    )
    return Graded(result, segmentation, image, study.study_uid, source, signals)


def _slices_first(study: Study) -> bool:
    return study.format != "nifti"


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
        severity_probabilities = _probabilities(Severity, tensors.severity_probabilities[row])
        pfirrmann_probabilities = _probabilities(Pfirrmann, tensors.pfirrmann_probabilities[row])
        severity, pfirrmann = _grades(severity_probabilities, pfirrmann_probabilities)
        discs.append(
            Disc(
                level=tensors.levels[row],
                level_confidence=_rounded(tensors.level_confidence[row]),
                severity=severity,
                severity_probabilities=severity_probabilities,
                pfirrmann=pfirrmann,
                pfirrmann_probabilities=pfirrmann_probabilities,
                label=measured.label,
                centroid_mm_lps=(x, y, z),
                area_mm2=round(measured.area_mm2, 1),
                volume_mm3=None if measured.volume_mm3 is None else round(measured.volume_mm3, 1),
                height_mm=round(measured.height_mm, 2),
            )
        )
    return sorted(discs, key=lambda disc: disc.label, reverse=True)


def _grades(
    severity_probabilities: dict[Severity, float], pfirrmann_probabilities: dict[Pfirrmann, float]
) -> tuple[Severity, Pfirrmann]:
    """The most probable class, and the most probable grade in it: the likeliest grade of all may lie in another."""
    severity = max(severity_probabilities, key=severity_probabilities.__getitem__)
    within = [grade for grade in Pfirrmann if grade.severity is severity]
    return severity, max(within, key=pfirrmann_probabilities.__getitem__)


def _probabilities(names: type[T], values: NDArray[np.float32]) -> dict[T, float]:
    return {name: _rounded(value) for name, value in zip(names, values, strict=True)}


def _rounded(probability: float) -> float:
    return round(min(max(float(probability), 0.0), 1.0), 4)


def _warnings(study: Study, tensors: GradedTensors) -> list[ResultWarning]:
    of_input = [ResultWarning(code=warning.code, message=warning.message) for warning in study.warnings]
    return of_input + [ResultWarning(code=code, message=WARNING_MESSAGES.get(code, code)) for code in tensors.warnings]
