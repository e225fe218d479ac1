"""Results to make pictures of: graded phantoms, and discs that lie as they never do."""

from __future__ import annotations

import asyncio
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from discgrade.result import Disc, GradingResult, InputDescription, ModelUsed, Pfirrmann, ResultWarning, Severity
from gateway.dataplane import Dataplane
from gateway.pictures.planes import Planes
from gateway.workers import Workers
from preprocess.levels import LEVEL_NAMES, UNKNOWN, WARNING_MESSAGES
from preprocess.limits import Limits
from tests.support.truth import TruthGrader
from training.phantom import Phantom, write_dicom

__all__ = ["Layout", "along", "crosses", "kept_of", "layouts", "overlap", "pictured"]

Rectangle = tuple[float, float, float, float]


@dataclass(frozen=True)
class Layout:
    """Where discs lie, and what is said of them.

    Attributes:
        shape: Slices, rows, columns.
        spacing: mm between them.
        centres: Slice, row, column of each, as shares of the shape; the lowest first.
        levels: Of each.
        sure: Confidence of each level.
        grades: Of each.
        warnings: Codes.
    """

    shape: tuple[int, int, int]
    spacing: tuple[float, float, float]
    centres: tuple[tuple[float, float, float], ...]
    levels: tuple[str, ...]
    sure: tuple[float, ...]
    grades: tuple[Pfirrmann, ...]
    warnings: tuple[str, ...]


@st.composite
def layouts(draw: st.DrawFn) -> Layout:
    """Up to two dozen discs anywhere, on each other too, in images of any proportion."""
    count = draw(st.integers(1, 24))
    part = st.floats(0, 1)
    shape = draw(st.integers(1, 5)), draw(st.integers(16, 160)), draw(st.integers(16, 160))
    named = draw(st.booleans()) and count <= len(LEVEL_NAMES)
    return Layout(
        shape=shape,
        spacing=(4.0, draw(st.floats(0.3, 2.5)), draw(st.floats(0.3, 2.5))),
        centres=tuple(draw(st.lists(st.tuples(part, part, part), min_size=count, max_size=count))),
        levels=LEVEL_NAMES[:count] if named else (UNKNOWN,) * count,
        sure=tuple(draw(st.lists(part, min_size=count, max_size=count))),
        grades=tuple(draw(st.lists(st.sampled_from(Pfirrmann), min_size=count, max_size=count))),
        warnings=tuple(draw(st.lists(st.sampled_from(sorted(WARNING_MESSAGES)), unique=True))),
    )


def pictured(layout: Layout) -> tuple[Planes, GradingResult]:
    """The discs as ellipses on noise."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 2000, layout.shape).astype(np.int16)
    labels = np.zeros(layout.shape, np.uint8)
    rows, columns = np.indices(layout.shape[1:])
    for label, centre in enumerate(layout.centres, start=1):
        index, row, column = (min(int(share * n), n - 1) for share, n in zip(centre, layout.shape, strict=True))
        inside = ((rows - row) / 3) ** 2 + ((columns - column) / 9) ** 2 <= 1
        labels[index][inside] = label  # one that others cover is left without a pixel
    affine = np.diag([*layout.spacing, 1.0])
    centres = [np.array(centre) * layout.shape * layout.spacing for centre in layout.centres]
    discs = [_disc(label, layout, centre) for label, centre in enumerate(centres, start=1)]
    return Planes(pixels, labels, layout.spacing, affine), GradingResult(
        result_id="0" * 32,
        input=InputDescription(
            format="dicom",
            chosen_series=None,
            chosen_because="The only sagittal T2-weighted series.",
            slices=layout.shape[0],
            spacing_mm=layout.spacing,
        ),
        discs=discs[::-1],
        models=[
            ModelUsed(name=name, version="12", engine=engine)
            for name, engine in (
                ("lumbar_grading", "ensemble"),
                ("disc_segmentation", "tensorrt"),
                ("disc_crop", "python"),
                ("disc_grading", "tensorrt"),
            )
        ],
        timings_ms={},
        warnings=[ResultWarning(code=code, message=WARNING_MESSAGES[code]) for code in layout.warnings],
    )


def _disc(label: int, layout: Layout, centre: NDArray[np.float64]) -> Disc:
    x, y, z = (float(value) for value in centre)
    level, grade = layout.levels[label - 1], layout.grades[label - 1]
    return Disc(
        level=level,
        level_confidence=0.0 if level == UNKNOWN else layout.sure[label - 1],
        severity=grade.severity,
        severity_probabilities={**dict.fromkeys(Severity, 0.0), grade.severity: 1.0},
        pfirrmann=grade,
        pfirrmann_probabilities={**dict.fromkeys(Pfirrmann, 0.0), grade: 1.0},
        label=label,
        centroid_mm_lps=(x, y, z),
        area_mm2=1234.5,
        volume_mm3=12345.6,
        height_mm=12.34,
    )


@cache
def kept_of(phantom: Phantom) -> dict[str, bytes]:
    """What is kept of a phantom that was sent as DICOM and graded with the truth."""
    with tempfile.TemporaryDirectory() as folder:
        files = write_dicom(phantom, Path(folder, "study"))
        workdir = Path(folder, "work")
        workdir.mkdir()

        async def run() -> dict[str, bytes]:
            dataplane = Dataplane(Workers(1), Limits())
            graded = await dataplane.grade(await dataplane.prepare(files, workdir), TruthGrader(phantom))
            return graded.artefacts()

        return asyncio.run(run())


def overlap(one: Rectangle, other: Rectangle) -> bool:
    """Whether two rectangles (left, top, right, bottom) have room in common."""
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def crosses(points: NDArray[np.float64], box: Rectangle) -> bool:
    """Whether one of many points, float64 of shape (n, 2), lies within a rectangle."""
    x, y = points.T
    return bool(np.any((x > box[0]) & (x < box[2]) & (y > box[1]) & (y < box[3])))


def along(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """A line as points that lie close together."""
    at = np.linspace(0, len(points) - 1, 120 * len(points))
    return np.column_stack([np.interp(at, np.arange(len(points)), axis) for axis in points.T])
