"""How much is measured."""

from __future__ import annotations

from dataclasses import dataclass, replace

from training.phantom import PhantomSpec

__all__ = ["FULL", "QUICK", "Scale"]


@dataclass(frozen=True)
class Scale:
    """Studies and repetitions.

    Attributes:
        study: What all contenders grade.
        small: What memory is watched with.
        warm_up: Gradings of each contender before it is measured.
        rounds: Of one study at a time.
        clients: Numbers of clients at once.
        seconds: For which each of those numbers sends studies.
        repeats: Of each size.
        slices: Numbers of slices.
        matrices: Rows and columns, at one field of view.
        fields_mm: Fields of view, at one size of pixels.
        memory_studies: Studies while memory is watched.
    """

    study: PhantomSpec
    small: PhantomSpec
    warm_up: int
    rounds: int
    clients: tuple[int, ...]
    seconds: float
    repeats: int
    slices: tuple[int, ...]
    matrices: tuple[int, ...]
    fields_mm: tuple[int, ...]
    memory_studies: int

    def sizes(self) -> dict[str, dict[int, PhantomSpec]]:
        """Specifications of the studies of each size, by what differs."""
        extent = self.study.matrix[0] * self.study.pixel_mm
        return {
            "slices": {n: replace(self.study, slices=n, slice_spacing_mm=60 / max(n, 15)) for n in self.slices},
            "matrix": {n: replace(self.study, matrix=(n, n), pixel_mm=extent / n) for n in self.matrices},
            "field": {
                mm: replace(self.study, matrix=(n := round(mm / self.study.pixel_mm), n)) for mm in self.fields_mm
            },
        }


_SMALL = PhantomSpec(slices=3, pixel_mm=1.0, matrix=(256, 200))

FULL = Scale(
    study=PhantomSpec(),
    small=_SMALL,
    warm_up=3,
    rounds=10,
    clients=(1, 2, 4, 8),
    seconds=4.0,
    repeats=7,
    slices=(1, 3, 4, 6, 10, 15, 20, 25, 30),
    matrices=(256, 384, 512, 768),
    fields_mm=(200, 280, 340, 400),
    memory_studies=240,
)
"""For the report."""

QUICK = Scale(
    study=replace(_SMALL, slices=4),
    small=_SMALL,
    warm_up=1,
    rounds=1,
    clients=(1, 2),
    seconds=0.5,
    repeats=1,
    slices=(1, 4),
    matrices=(192,),
    fields_mm=(220,),
    memory_studies=4,
)
"""To see that it works."""
