"""The part of TensorRT's Python API that is used here; TensorRT-RTX has the same.

Sources: the "TensorRT Python API Reference" and the "TensorRT-RTX Python API Reference" of NVIDIA's documentation. The
protocols are what :mod:`export.tensorrt_builder` is typed, and its recorded fake is written, against.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any, Protocol, cast

from export.errors import MissingTool

__all__ = ["Builder", "BuilderConfig", "HostMemory", "NetworkDefinition", "Parser", "TensorRT", "load_api"]


class ParserError(Protocol):
    """What the ONNX parser refuses."""

    def desc(self) -> str:
        """Why."""

    def node_name(self) -> str:
        """At which node."""

    def node_operator(self) -> str:
        """Which operator."""


class Parser(Protocol):
    """``OnnxParser``."""

    @property
    def num_errors(self) -> int:
        """How many."""

    def parse(self, model: bytes) -> bool:
        """Fill the network."""

    def get_error(self, index: int) -> ParserError:
        """One of them."""


class NetworkTensor(Protocol):
    """``ITensor``."""

    @property
    def name(self) -> str:
        """As in ONNX."""


class NetworkDefinition(Protocol):
    """``INetworkDefinition``."""

    @property
    def num_inputs(self) -> int:
        """How many."""

    def get_input(self, index: int) -> NetworkTensor:
        """One of them."""


class OptimizationProfile(Protocol):
    """``IOptimizationProfile``."""

    def set_shape(self, input: str, min: Sequence[int], opt: Sequence[int], max: Sequence[int]) -> None:
        """Of one input."""


class HostMemory(Protocol):
    """``IHostMemory``: a buffer; ``bytes(memory)`` copies it."""

    @property
    def nbytes(self) -> int:
        """Its size."""

    def __buffer__(self, flags: int, /) -> memoryview:
        """The bytes."""


class TimingCache(Protocol):
    """``ITimingCache``."""

    def serialize(self) -> HostMemory:
        """To keep for the next build."""


class BuilderConfig(Protocol):
    """``IBuilderConfig``."""

    def add_optimization_profile(self, profile: OptimizationProfile) -> int:
        """Returns its index, -1 where it is not valid."""

    def create_timing_cache(self, serialized_timing_cache: bytes) -> TimingCache:
        """From an earlier build; empty bytes make an empty one."""

    def set_timing_cache(self, cache: TimingCache, ignore_mismatch: bool) -> bool:
        """False where the cache is of another GPU or version."""

    def get_timing_cache(self) -> TimingCache | None:
        """Grown by the build."""


class Builder(Protocol):
    """``Builder``."""

    def create_network(self, flags: int) -> NetworkDefinition:
        """An empty one."""

    def create_builder_config(self) -> BuilderConfig:
        """With the defaults."""

    def create_optimization_profile(self) -> OptimizationProfile:
        """An empty one."""

    def build_serialized_network(self, network: NetworkDefinition, config: BuilderConfig) -> HostMemory | None:
        """None where it fails; the log says why."""


class TensorRT(Protocol):
    """The module ``tensorrt``, or ``tensorrt_rtx_bindings``."""

    __version__: str
    ILogger: Any
    NetworkDefinitionCreationFlag: Any

    def Builder(self, logger: Any) -> Builder:  # noqa: N802 - the API's own name
        """Needs a GPU, but for TensorRT-RTX."""

    def OnnxParser(self, network: NetworkDefinition, logger: Any) -> Parser:  # noqa: N802
        """Fills a network."""


def load_api(*, rtx: bool) -> TensorRT:
    """Import TensorRT, or TensorRT-RTX.

    Raises:
        MissingTool: It is not installed.
    """
    name, extra = ("tensorrt_rtx_bindings", "rtx") if rtx else ("tensorrt", "gpu")
    try:
        return cast(TensorRT, importlib.import_module(name))
    except ImportError as error:
        raise MissingTool(f"The package {name} is not installed.", f"pip install 'discgrade[{extra}]'.") from error
