"""The ensemble's tensors as NumPy arrays and as gRPC messages; docs/tensors.md describes them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from tritonclient.grpc import InferInput

from discgrade.errors import InferenceFailed

__all__ = ["OUTPUTS", "GradedTensors", "GridTensors", "checked", "from_answer", "to_input"]


class GridTensors(Protocol):
    """What the ensemble takes; :class:`preprocess.grid.Grid` is one."""

    @property
    def pixels(self) -> NDArray[np.uint8]:
        """uint8, shape (N, H, W); H and W multiples of 32."""

    @property
    def field_of_view(self) -> tuple[int, int, int, int]:
        """Row start, row end, column start, column end (half-open) of the image within its padding."""

    @property
    def slice_spacing_mm(self) -> float:
        """Distance in mm between slice centres; 0 for a single slice."""


@dataclass(frozen=True, eq=False)
class GradedTensors:
    """What the ensemble answers, for N slices and D discs; row d of each disc tensor is label d + 1, from the lowest.

    Attributes:
        labels: uint8 (N, H, W); 0 background, 1 disc, 2 vertebra, 3 spinal canal.
        disc_probability: uint8 (N, H, W); 255 × probability of disc.
        instances: uint8 (N, H, W); 0 or the disc's label.
        boxes: int32 (D, 6); slice, row, column start, then slice, row, column end (half-open).
        middle_slices: int32 (D,); 0-based.
        levels: Names such as ``L5/S1``, or ``unknown``.
        level_confidence: float32 (D,); 0 to 1.
        warnings: Codes.
        severity_probabilities: float32 (D, 3); mild, moderate, severe.
        pfirrmann_probabilities: float32 (D, 5); I to V.
        release: Version of the ensemble that answered; it names the versions of its members.
    """

    labels: NDArray[np.uint8]
    disc_probability: NDArray[np.uint8]
    instances: NDArray[np.uint8]
    boxes: NDArray[np.int32]
    middle_slices: NDArray[np.int32]
    levels: tuple[str, ...]
    level_confidence: NDArray[np.float32]
    warnings: tuple[str, ...]
    severity_probabilities: NDArray[np.float32]
    pfirrmann_probabilities: NDArray[np.float32]
    release: str


OUTPUTS = (
    *("LABELS", "DISC_PROBABILITY", "INSTANCES", "BOXES", "MIDDLE_SLICES"),
    *("LEVELS", "LEVEL_CONFIDENCE", "WARNINGS", "SEVERITY_PROBABILITIES", "PFIRRMANN_PROBABILITIES"),
)
"""Names of the outputs, one for each tensor of :class:`GradedTensors` in its order."""


def to_input(name: str, array: NDArray[Any]) -> InferInput:
    """One input of a request; uint8, int32 or float32."""
    types = {"uint8": "UINT8", "int32": "INT32", "float32": "FP32"}
    tensor = InferInput(name, list(array.shape), types[array.dtype.name])
    tensor.set_data_from_numpy(np.ascontiguousarray(array))
    return tensor


def from_answer(answer: Any, name: str) -> NDArray[Any]:
    """One output; a server whose Python has NumPy 2 gives the shape of a tensor without its data."""
    try:
        array: NDArray[Any] | None = answer.as_numpy(name)
    except ValueError:
        array = None
    if array is None or array.size == 0:
        raise InferenceFailed(f"tritonserver answered with an empty tensor {name}.")
    return array


def checked(arrays: dict[str, NDArray[Any]], shape: tuple[int, ...], release: str) -> GradedTensors:
    """Bring a complete answer together.

    Args:
        arrays: One for each of :data:`OUTPUTS`.
        shape: (N, H, W) of the image asked about.
        release: Version of the ensemble that answered.

    Raises:
        InferenceFailed: A tensor's shape does not fit the image, or the number of discs, or a probability is no number.
    """
    discs = len(arrays["LEVELS"])
    expected: dict[str, tuple[int, ...]] = {
        **dict.fromkeys(("LABELS", "DISC_PROBABILITY", "INSTANCES"), shape),
        **dict.fromkeys(("LEVELS", "LEVEL_CONFIDENCE", "MIDDLE_SLICES"), (discs,)),
        "BOXES": (discs, 6),
        "WARNINGS": (1,),
        "SEVERITY_PROBABILITIES": (discs, 3),
        "PFIRRMANN_PROBABILITIES": (discs, 5),
    }
    for name, wanted in expected.items():
        if arrays[name].shape != wanted:
            raise InferenceFailed(f"tritonserver answered with {name} of shape {arrays[name].shape}, not {wanted}.")
    for name in ("LEVEL_CONFIDENCE", "SEVERITY_PROBABILITIES", "PFIRRMANN_PROBABILITIES"):
        if not np.isfinite(arrays[name]).all():
            raise InferenceFailed(f"tritonserver answered with {name} that are no numbers.")
    return GradedTensors(
        labels=arrays["LABELS"],
        disc_probability=arrays["DISC_PROBABILITY"],
        instances=arrays["INSTANCES"],
        boxes=arrays["BOXES"],
        middle_slices=arrays["MIDDLE_SLICES"],
        levels=tuple(level.decode() for level in arrays["LEVELS"]),
        level_confidence=arrays["LEVEL_CONFIDENCE"],
        warnings=tuple(arrays["WARNINGS"][0].decode().split()),
        severity_probabilities=arrays["SEVERITY_PROBABILITIES"],
        pfirrmann_probabilities=arrays["PFIRRMANN_PROBABILITIES"],
        release=release,
    )
