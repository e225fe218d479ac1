"""Whether an engine computes what the trained network computes: measured, compared with limits, written down."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.errors import ParityLost
from export.models import GRADING, SEGMENTATION, Precision
from export.samples import Runner, Samples, discs_feed, edge_discs, edge_slices, find_discs
from preprocess.discs import DiscCrops
from training.metrics import dice

__all__ = ["LIMITS", "Limits", "Parity", "measure", "require_parity"]

_DISC = 1
_SEVERITY, _PFIRRMANN = (tensor.name for tensor in GRADING.outputs)


@dataclass(frozen=True)
class Limits:
    """What an engine may differ by; beyond it the export fails.

    Attributes:
        disc_dice: Least Dice of the discs, all real slices together.
        slice_dice: Least Dice of the discs on any real slice.
        pixels: Largest share of pixels whose tissue differs, on any edge image.
        probability: Largest difference of a grade's probability, on any disc.
        flips: Largest share of real discs whose severity differs, from end to end too.
        counts: Largest share of real slices on which another number of discs is found.
    """

    disc_dice: float
    slice_dice: float
    pixels: float
    probability: float
    flips: float
    counts: float


LIMITS = {
    Precision.FP32: Limits(0.9999, 0.999, 1e-3, 1e-3, 0.0, 0.0),
    Precision.FP16: Limits(0.998, 0.99, 0.01, 0.02, 0.01, 0.02),
    Precision.INT8: Limits(0.98, 0.95, 0.05, 0.15, 0.04, 0.05),
}
"""By precision; docs/decisions/0012 says how they were chosen."""


@dataclass(frozen=True)
class Parity:
    """One engine in one precision against the FP32 network.

    Attributes:
        engine: What computed, such as ``onnxruntime``.
        precision: Of its graph.
        samples: What it was compared on.
        slices: Real slices.
        discs: Real discs.
        disc_dice: Of all real slices together, engine against network.
        slice_dice: The least of any real slice.
        mask_probability: Largest difference of a pixel's disc probability, 0 to 1, real slices and edge images.
        probability: Largest difference of a grade's probability, real and edge discs.
        severity_flips: Real discs whose most probable severity differs, on the same crops.
        pfirrmann_flips: Real discs whose most probable Pfirrmann grade differs, on the same crops.
        count_changes: Real slices on which another number of discs is found.
        chain_flips: Discs whose severity differs when engine masks are cropped and graded by the engine too.
        edge_pixels: Share of pixels whose tissue differs, by edge image.
        edge_probability: Largest difference of a grade's probability, by edge batch of discs.
        limits: What it was held against.
    """

    engine: str
    precision: str
    samples: str
    slices: int
    discs: int
    disc_dice: float
    slice_dice: float
    mask_probability: float
    probability: float
    severity_flips: int
    pfirrmann_flips: int
    count_changes: int
    chain_flips: int
    edge_pixels: Mapping[str, float]
    edge_probability: Mapping[str, float]
    limits: Limits

    def failures(self) -> list[str]:
        """What lies beyond the limits, in sentences; empty where the engine may be served."""
        limits, worst = self.limits, max(self.edge_pixels.values())
        checks = [
            (self.disc_dice >= limits.disc_dice, f"disc Dice {self.disc_dice:.5f} < {limits.disc_dice}"),
            (self.slice_dice >= limits.slice_dice, f"disc Dice of a slice {self.slice_dice:.4f} < {limits.slice_dice}"),
            (worst <= limits.pixels, f"{worst:.2%} of an edge image's pixels differ, more than {limits.pixels:.2%}"),
            (
                self.probability <= limits.probability,
                f"a grade's probability differs by {self.probability:.4f} > {limits.probability}",
            ),
            (
                max(self.severity_flips, self.chain_flips) <= limits.flips * self.discs,
                f"{self.severity_flips} severities differ, {self.chain_flips} from end to end, of {self.discs}",
            ),
            (
                self.count_changes <= limits.counts * self.slices,
                f"another number of discs on {self.count_changes} of {self.slices} slices",
            ),
        ]
        return [text for holds, text in checks if not holds]

    def as_json(self) -> dict[str, Any]:
        """For ``parity.json`` and the manifest."""
        return {**asdict(self), "failures": self.failures()}


def measure(
    engine: str,
    precision: Precision,
    reference: Mapping[str, Runner],
    candidate: Mapping[str, Runner],
    samples: Samples,
) -> Parity:
    """Compare an engine with the trained networks.

    Args:
        engine: Its name, for the report.
        precision: Of its graph; chooses the limits.
        reference: The FP32 networks, by model name.
        candidate: The engine's, by model name.
        samples: Real studies.

    Raises:
        ParityLost: The trained networks find nothing to compare.
    """
    segment, resegment = reference[SEGMENTATION.name], candidate[SEGMENTATION.name]
    masks = _Masks()
    expected: list[DiscCrops | None] = []
    found: list[DiscCrops | None] = []
    for grid in samples.grids:
        feed = {"IMAGE": grid.pixels[:, None]}
        pair = segment(feed), resegment(feed)
        masks.add(*pair)
        for answer, discs in zip(pair, (expected, found), strict=True):
            discs.append(find_discs(grid, answer))
    edge_pixels = {name: masks.edge(segment(feed), resegment(feed)) for name, feed in edge_slices().items()}
    graded, regraded = reference[GRADING.name], candidate[GRADING.name]
    real = [one for one in expected if one is not None]
    if not real:
        raise ParityLost("The trained segmenter finds no disc in any of the samples: there is nothing to compare.")
    pairs = [(graded(discs_feed(one)), regraded(discs_feed(one))) for one in real]
    edges = {name: _largest(graded(feed), regraded(feed)) for name, feed in edge_discs(real).items()}
    chain = [
        (graded(discs_feed(one)), regraded(discs_feed(other)))
        for one, other in zip(expected, found, strict=True)
        if one is not None and other is not None and len(one.levels) == len(other.levels)
    ]
    return Parity(
        engine=engine,
        precision=precision,
        samples=samples.source,
        slices=len(samples.grids),
        discs=sum(len(one.levels) for one in real),
        disc_dice=masks.pooled(),
        slice_dice=min(masks.by_slice),
        mask_probability=masks.probability,
        probability=max([*(_largest(*pair) for pair in pairs), *edges.values()]),
        severity_flips=sum(_flips(*pair, _SEVERITY) for pair in pairs),
        pfirrmann_flips=sum(_flips(*pair, _PFIRRMANN) for pair in pairs),
        count_changes=sum(_count(one) != _count(other) for one, other in zip(expected, found, strict=True)),
        chain_flips=sum(_flips(*pair, _SEVERITY) for pair in chain),
        edge_pixels=edge_pixels,
        edge_probability=edges,
        limits=LIMITS[precision],
    )


def require_parity(parity: Parity) -> None:
    """Refuse an engine that differs too much.

    Raises:
        ParityLost: Says which limits were passed.
    """
    if failures := parity.failures():
        raise ParityLost(f"{parity.engine} in {parity.precision}: {'; '.join(failures)}.")


class _Masks:
    """Segmentations compared, one after the other."""

    def __init__(self) -> None:
        self.by_slice: list[float] = []
        self.probability = 0.0
        self._both = 0
        self._sum = 0

    def add(self, expected: _Answer, found: _Answer) -> None:
        """Compare a real slice."""
        one, other = expected["LABELS"] == _DISC, found["LABELS"] == _DISC
        self.by_slice.append(dice(other, one))
        self._both += int((one & other).sum())
        self._sum += int(one.sum()) + int(other.sum())
        self._compare_probability(expected, found)

    def edge(self, expected: _Answer, found: _Answer) -> float:
        """Compare an edge image: the share of pixels whose tissue differs."""
        self._compare_probability(expected, found)
        return float((expected["LABELS"] != found["LABELS"]).mean())

    def pooled(self) -> float:
        """Dice of all real slices together."""
        return 2.0 * self._both / self._sum if self._sum else 1.0

    def _compare_probability(self, expected: _Answer, found: _Answer) -> None:
        difference = expected["DISC_PROBABILITY"].astype(int) - found["DISC_PROBABILITY"].astype(int)
        self.probability = max(self.probability, float(np.abs(difference).max()) / 255)


_Answer = Mapping[str, NDArray[Any]]


def _largest(expected: _Answer, found: _Answer) -> float:
    return max(float(np.abs(expected[name] - found[name]).max()) for name in (_SEVERITY, _PFIRRMANN))


def _flips(expected: _Answer, found: _Answer, name: str) -> int:
    return int((expected[name].argmax(axis=1) != found[name].argmax(axis=1)).sum())


def _count(found: DiscCrops | None) -> int:
    return 0 if found is None else len(found.levels)
