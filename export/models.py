"""The two networks as Triton serves them: tensors, batches and TensorRT profiles, described once.

:mod:`export.configs` writes every engine's ``config.pbtxt`` from here, :mod:`export.tensorrt_builder` its optimisation
profiles. The tensors' meaning is in docs/tensors.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

__all__ = ["CANARY", "GRADING", "MEMBERS", "NETWORKS", "PIPELINE", "SEGMENTATION", "Network", "Precision", "Tensor"]

PIPELINE = "lumbar_grading"
"""The ensemble; each of its versions is a release."""

CANARY = f"{PIPELINE}_canary"
"""The same ensemble over the members of another release, which a share of the studies is graded with."""


class Precision(StrEnum):
    """What a network's graph computes in; its inputs and outputs keep their types."""

    FP32 = "fp32"
    FP16 = "fp16"
    INT8 = "int8"


@dataclass(frozen=True)
class Tensor:
    """An input or output.

    Attributes:
        name: As in docs/tensors.md.
        data_type: Triton's name without ``TYPE_``.
        dims: Without the batch; -1 is free.
        free: For each free dimension of ``dims`` the smallest, the usual and the largest size on a GPU.
    """

    name: str
    data_type: str
    dims: tuple[int, ...]
    free: tuple[tuple[int, int, int], ...] = ()

    def shapes(self, batches: tuple[int, int, int]) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
        """The smallest, usual and largest shape, batch included."""
        smallest, usual, largest = ((batch, *self._sized(place)) for place, batch in enumerate(batches))
        return smallest, usual, largest

    def _sized(self, place: int) -> tuple[int, ...]:
        sizes = iter(self.free)
        return tuple(next(sizes)[place] if dim < 0 else dim for dim in self.dims)


@dataclass(frozen=True)
class Network:
    """One network.

    Attributes:
        name: Folder in the model repository.
        rows: What the rows of a batch are, in a sentence for the config.
        inputs: In the order of the network's arguments.
        outputs: In the order of the network's results.
        profiles: Smallest, usual (tuned for) and largest batch of each TensorRT optimisation profile.
        preferred_batches: What the GPU's dynamic batcher waits for.
        graph_batches: Batch sizes that CUDA graphs are captured for, rising; smaller batches are padded to the next
            one. Empty where shapes do not repeat.
        warmup_batches: Batch sizes run before the first request, by variant of the config.
        warmup_dims: Size of each free dimension in a warm-up.
        rows_per_thread: Batch rows that one thread of a CPU engine computes at once; bounds memory and waiting.
        ragged: Whether the CPU engine takes requests of different sizes into one batch.
        spine_only: Whether the CPU engine computes of most slices the spine alone (``preprocess.region``).
    """

    name: str
    rows: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    profiles: tuple[tuple[int, int, int], ...]
    preferred_batches: tuple[int, ...]
    graph_batches: tuple[int, ...]
    warmup_batches: dict[str, tuple[int, ...]]
    warmup_dims: int
    rows_per_thread: int
    ragged: bool
    spine_only: bool

    @property
    def max_batch(self) -> int:
        """The largest batch of any profile."""
        return max(largest for _, _, largest in self.profiles)


_SIDE = (32, 576, 1024)  # pixels of 0.5 mm: what U-Net's halvings need, a usual field of view, 512 mm

SEGMENTATION = Network(
    name="disc_segmentation",
    rows="Slices are the batch; N of the gateway's largest series must fit (DISCGRADE_MAX_SLICES).",
    inputs=(Tensor("IMAGE", "UINT8", (1, -1, -1), (_SIDE, _SIDE)),),
    outputs=(Tensor("LABELS", "UINT8", (-1, -1)), Tensor("DISC_PROBABILITY", "UINT8", (-1, -1))),
    # A study of a 2-D sequence, or a few at once; a 3-D sequence. Each context reserves memory for its largest shape.
    profiles=((1, 16, 64), (65, 128, 256)),
    preferred_batches=(16, 32, 64),
    graph_batches=(),  # heights and widths differ from scanner to scanner
    warmup_batches={"tensorrt": (16,), "onnx": (4,), "cpu": (1, 15)},
    warmup_dims=512,
    rows_per_thread=2,
    ragged=True,
    spine_only=True,
)

GRADING = Network(
    name="disc_grading",
    rows="Discs of all requests are the batch.",
    inputs=(Tensor("CROPS", "FP32", (3, 2, 56, 96)), Tensor("FEATURES", "FP32", (16,))),
    outputs=(Tensor("SEVERITY_PROBABILITIES", "FP32", (3,)), Tensor("PFIRRMANN_PROBABILITIES", "FP32", (5,))),
    profiles=((1, 8, 64),),
    preferred_batches=(8, 16, 32, 64),
    graph_batches=(8, 16, 32, 64),
    warmup_batches={"tensorrt": (6,), "onnx": (6,), "cpu": (6,)},
    warmup_dims=0,
    rows_per_thread=32,
    ragged=False,
    spine_only=False,
)

NETWORKS = {network.name: network for network in (SEGMENTATION, GRADING)}
"""Networks by name, in the order of their work."""

MEMBERS = (SEGMENTATION.name, "disc_crop", GRADING.name)
"""The ensemble's steps, in the order of their work."""
