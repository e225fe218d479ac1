"""What a phantom shall look like: the specification, its levels, and random specifications for training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

__all__ = ["LEVELS", "VERTEBRAE", "PhantomSpec", "Style", "random_spec"]

Style = Literal["tse", "space"]

VERTEBRAE = ("L5", "L4", "L3", "L2", "L1", "T12", "T11", "T10", "T9", "T8")
LEVELS = (
    "L5/S1", "L4/L5", "L3/L4", "L2/L3", "L1/L2", "T12/L1", "T11/T12", "T10/T11", "T9/T10", "T8/T9",
)  # fmt: skip
_UNNAMED_GRADE = 2


@dataclass(frozen=True)
class PhantomSpec:
    """One phantom study; the same specification always gives the same study, bit for bit.

    Attributes:
        seed: Chooses anatomy, texture and noise, each from a random stream of its own: changing a grade leaves the rest
            of the patient as it was.
        grades: Pfirrmann grades 1 to 5, either from L5/S1 upward (the last one holds for all levels above) or by level
            name (levels not named have grade 2).
        slices: Number of sagittal slices, centred on the spine.
        slice_spacing_mm: Distance between slice centres; a slice is 90 % as thick.
        pixel_mm: In-plane distance between pixel centres, rows and columns alike.
        matrix: Rows, columns.
        style: ``tse`` for 2-D turbo spin echo, ``space`` for 3-D T2 (finer noise, darker marrow and discs).
        jitter: How far tissue contrast, blur, noise and coil profile may stray from the style's own; 0 not at all.
        shift_mm: Field of view moved in posterior and superior direction; (0, 60) cuts the lumbosacral junction off.
        tilt_deg: How the patient lies in the scanner: rotation about the x, y and z axis (LPS), applied in this order.
        scoliosis_mm: Largest sideways deviation of the spine from the middle plane.
        remnant: Height of the S1/S2 disc remnant relative to the ordinary one.
        left_first: Slices run from left to right instead of from right to left.
    """

    seed: int = 0
    grades: tuple[int, ...] | Mapping[str, int] = (3, 4, 3, 2, 2, 1, 1)
    slices: int = 15
    slice_spacing_mm: float = 4.0
    pixel_mm: float = 0.625
    matrix: tuple[int, int] = (448, 448)
    style: Style = "tse"
    jitter: float = 1.0
    shift_mm: tuple[float, float] = (0.0, 0.0)
    tilt_deg: tuple[float, float, float] = (0.0, 0.0, 0.0)
    scoliosis_mm: float = 0.0
    remnant: float = 1.0
    left_first: bool = False

    def __post_init__(self) -> None:
        """Check the grades.

        Raises:
            ValueError: A grade is not 1 to 5, a level has no such name, or there is no grade at all.
        """
        if not self.grades:
            raise ValueError("at least one grade is needed")
        if isinstance(self.grades, Mapping):
            unknown = sorted(set(self.grades) - set(LEVELS))
            if unknown:
                raise ValueError(f"unknown levels: {', '.join(unknown)}")
        values = self.grades.values() if isinstance(self.grades, Mapping) else self.grades
        if any(grade not in (1, 2, 3, 4, 5) for grade in values):
            raise ValueError("Pfirrmann grades are 1 to 5")
        if self.slices < 1 or min(self.matrix) < 16:
            raise ValueError("at least one slice of 16 x 16 pixels is needed")

    @property
    def grade_of_level(self) -> dict[str, int]:
        """Grade of every level of `LEVELS`, from the lowest upward."""
        if isinstance(self.grades, Mapping):
            return {level: self.grades.get(level, _UNNAMED_GRADE) for level in LEVELS}
        last = len(self.grades) - 1
        return {level: self.grades[min(i, last)] for i, level in enumerate(LEVELS)}


def _correlated_grades(rng: np.random.Generator) -> tuple[int, ...]:
    """Grades from L5/S1 upward: a patient-wide state of wear, worse in the lower discs, with scatter of each disc."""
    wear = rng.normal(2.9, 0.9)
    gradient = rng.uniform(0.0, 0.35)
    depth = np.arange(len(LEVELS))
    grades = wear + gradient * (2 - depth) + rng.normal(0.0, 0.6, len(LEVELS))
    # The widely seen pattern of one or two much worse discs at the bottom.
    grades[int(rng.integers(0, 4))] += rng.choice([0.0, 0.0, 1.0, 2.0])
    return tuple(int(g) for g in np.clip(np.rint(grades), 1, 5))


def random_spec(rng: np.random.Generator) -> PhantomSpec:
    """Draw a specification for training: style, field of view, resolution, position and grades all vary.

    Args:
        rng: Source of randomness; the result depends on nothing else.

    Returns:
        In-plane spacing 0.45 to 0.9 mm and a field of view of 220 to 340 mm.
    """
    style: Style = "space" if rng.random() < 0.4 else "tse"
    spacing = float(rng.uniform(0.45, 0.9))
    height = float(rng.uniform(220.0, 340.0))
    width = height * float(rng.choice([1.0, 1.0, rng.uniform(0.65, 1.0)]))
    rows, columns = (max(16, round(side / spacing / 2) * 2) for side in (height, width))
    if style == "space":
        slices, step = int(rng.integers(40, 72)), float(rng.uniform(0.9, 1.4))
    else:
        slices, step = int(rng.integers(11, 22)), float(rng.uniform(3.3, 5.0))
    tilt = rng.normal(0.0, 1.0, 3) * (4.0, 3.0, 3.0)
    cut = rng.uniform(30.0, 90.0) if rng.random() < 0.12 else rng.normal(0.0, 15.0)
    return PhantomSpec(
        seed=int(rng.integers(0, 2**31)),
        grades=_correlated_grades(rng),
        slices=slices,
        slice_spacing_mm=step,
        pixel_mm=spacing,
        matrix=(rows, columns),
        style=style,
        shift_mm=(float(rng.normal(0.0, 12.0)), float(cut)),
        tilt_deg=(float(tilt[0]), float(tilt[1]), float(tilt[2])),
        scoliosis_mm=float(rng.choice([0.0, rng.normal(0.0, 5.0)])),
        remnant=float(rng.uniform(0.3, 2.5)),
        left_first=bool(rng.random() < 0.5),
    )
