"""Discs found by a segmenter, paired with what radiologists graded."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from discgrade.errors import InvalidRequest
from preprocess.discs import DiscCrops
from preprocess.grid import to_grid
from preprocess.levels import LEVEL_NAMES
from training.config import Match
from training.data import FINDINGS, Grading, Series
from training.phantom import make_phantom, random_spec
from training.segmentation.segment import Segment, find_discs

__all__ = [
    "HEADS",
    "SEVERITY_OF_GRADE",
    "UNKNOWN",
    "DiscSample",
    "graded_discs",
    "pair_discs",
    "phantom_discs",
    "read_samples",
    "targets_of",
    "write_samples",
]

HEADS = ("severity", "pfirrmann", *FINDINGS)
"""What is graded, in the order of a disc's targets."""

UNKNOWN = -1

SEVERITY_OF_GRADE = np.array([0, 0, 1, 2, 2])
"""Severity class of Pfirrmann I … V: mild = I–II, moderate = III, severe = IV–V (discgrade's mapping)."""

_DOUBTS = {"field_of_view_cut", "transitional_vertebra_possible", "level_naming_uncertain", "disc_missing"}


@dataclass(frozen=True, eq=False)
class DiscSample:
    """One graded disc.

    Attributes:
        patient: Whose disc.
        sequence: ``t2``, ``t2_SPACE`` or ``phantom``.
        position: Counted from the bottom, 1 = L5/S1.
        targets: int64 (len(HEADS),), class of each of :data:`HEADS`; −1 where it was not graded.
        crops: float32 (3, 2, 56, 96).
        features: float32 (16,).
    """

    patient: str
    sequence: str
    position: int
    targets: NDArray[np.int64]
    crops: NDArray[np.float32]
    features: NDArray[np.float32]


def targets_of(grading: Grading) -> NDArray[np.int64]:
    """Classes in the order of :data:`HEADS`: severity, Pfirrmann 0 … 4, findings 0 or 1; −1 where unknown."""
    grade = UNKNOWN if grading.pfirrmann is None else grading.pfirrmann - 1
    severity = UNKNOWN if grade == UNKNOWN else int(SEVERITY_OF_GRADE[grade])
    return np.array([severity, grade, *(int(grading.findings.get(name, UNKNOWN)) for name in FINDINGS)])


def pair_discs(found: DiscCrops, graded: Mapping[int, Grading], match: Match = "level") -> dict[int, int]:
    """Pair the discs of a study with gradings by counting from the bottom.

    Args:
        found: Discs of the study, the lowest first.
        graded: By position, 1 = L5/S1.
        match: Whether the counts must agree, or may differ by one at the upper end while no warning casts doubt on
            the names.

    Returns:
        Index of the found disc by graded position; empty where a pair may be wrong.
    """
    if len(found.levels) == len(graded):
        return {position: position - 1 for position in range(1, len(graded) + 1) if position in graded}
    named = found.levels[:1] == LEVEL_NAMES[:1] and not _DOUBTS & set(found.warnings)
    if match == "level" and named and abs(len(found.levels) - len(graded)) == 1:
        return {LEVEL_NAMES.index(level) + 1: i for i, level in enumerate(found.levels) if _position(level) in graded}
    return {}


def _position(level: str) -> int:
    return LEVEL_NAMES.index(level) + 1 if level in LEVEL_NAMES else 0


def graded_discs(
    series: Iterable[Series],
    gradings: Mapping[str, Mapping[int, Grading]],
    segment: Segment,
    match: Match = "level",
) -> tuple[list[DiscSample], list[str]]:
    """The graded discs of series whose discs can be paired with the gradings, and the names of the other series.

    A patient may have several series, and a disc of theirs is there once a series.
    """
    samples: list[DiscSample] = []
    dropped = []
    for one in series:
        if one.patient not in gradings:
            continue
        grid = to_grid(one.volume())
        found = find_discs(grid, *segment(grid.pixels))
        pairs = {} if found is None else pair_discs(found, gradings[one.patient], match)
        if found is None or not pairs:
            dropped.append(one.name)
            continue
        samples += [
            DiscSample(
                one.patient,
                one.sequence,
                position,
                targets_of(gradings[one.patient][position]),
                found.crops[index],
                found.features[index],
            )
            for position, index in pairs.items()
            if (targets_of(gradings[one.patient][position]) != UNKNOWN).any()
        ]
    return samples, dropped


def phantom_discs(count: int, seed: int, segment: Segment) -> list[DiscSample]:
    """Discs of random phantoms, of which the Pfirrmann grade is known."""
    rng = np.random.default_rng(seed)
    samples: list[DiscSample] = []
    for index in range(count):
        phantom = make_phantom(replace(random_spec(rng), slices=1, slice_spacing_mm=4.0, shift_mm=(0.0, 0.0)))
        grid = to_grid(phantom.volume)
        found = find_discs(grid, *segment(grid.pixels))
        graded = {position: Grading(grade, {}) for position, grade in enumerate(phantom.grades, start=1)}
        for position, at in ({} if found is None else pair_discs(found, graded, "count")).items():
            assert found is not None
            targets = targets_of(graded[position])
            crops, features = found.crops[at], found.features[at]
            samples.append(DiscSample(f"phantom-{index}", "phantom", position, targets, crops, features))
    return samples


def write_samples(samples: Sequence[DiscSample], path: Path, dropped: Collection[str], identity: str) -> None:
    """Keep samples as a NumPy archive, crops in 16 bits.

    Args:
        samples: At least one.
        path: Ends in ``.npz``.
        dropped: Names of series whose discs could not be paired.
        identity: What the samples depend on.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}")
    np.savez_compressed(
        partial,
        patient=np.array([one.patient for one in samples]),
        sequence=np.array([one.sequence for one in samples]),
        position=np.array([one.position for one in samples], np.int64),
        targets=np.stack([one.targets for one in samples]),
        crops=np.stack([one.crops for one in samples]).astype(np.float16),
        features=np.stack([one.features for one in samples]),
        dropped=np.array(sorted(dropped), dtype=np.str_),
        identity=np.array(identity),
    )
    partial.replace(path)


def read_samples(path: Path, identity: str) -> tuple[list[DiscSample], list[str]]:
    """Read what :func:`write_samples` kept.

    Raises:
        InvalidRequest: The samples depend on something else.
    """
    with np.load(path) as kept:
        if str(kept["identity"]) != identity:
            raise InvalidRequest(
                f"The discs kept in the folder {path.parent.name} are of other patients or of another segmenter.",
                "Give another --run.",
            )
        rows = zip(
            *(kept[name].tolist() for name in ("patient", "sequence", "position")),
            kept["targets"],
            kept["crops"].astype(np.float32),
            kept["features"],
            strict=True,
        )
        return [DiscSample(*row) for row in rows], kept["dropped"].tolist()
