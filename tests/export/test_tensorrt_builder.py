"""What only TensorRT on a GPU does: timing caches and want of memory; with a recorded fake of its builder.

Network, parser and profiles run for real in test_tensorrt_rtx.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch

from export.errors import BadNetwork, ExportError, MissingTool, TooLittleMemory
from export.models import GRADING, SEGMENTATION, Precision
from export.tensorrt_api import load_api
from export.tensorrt_builder import build_plan, build_with_cache
from export.torch_tensorrt_builder import build_module, load_torch_tensorrt, saved
from training.config import Architecture
from training.networks import DiscGrader, ExportedGrader

# What TensorRT 10 logs, as reported in its issue tracker.
OUT_OF_MEMORY = "[virtualMemoryBuffer.cpp::resizePhysical::154] Error Code 2: OutOfMemory (Requested size was 2 bytes.)"
NO_TACTIC = "Error Code 10: Internal Error (Could not find any implementation for node {ForeignNode[conv1]}.)"


class _Logger:
    ERROR, INTERNAL_ERROR, WARNING = "error", "internal error", "warning"


@dataclass
class FakeTensorRT:
    """Records what it is told; builds an engine that names its shapes, or fails as it is told to."""

    errors: tuple[str, ...] = ()
    cache_fits: bool = True
    calls: list[tuple[str, Any]] = field(default_factory=list)
    __version__: str = "10.13.3.9"
    ILogger: Any = _Logger

    class NetworkDefinitionCreationFlag:
        STRONGLY_TYPED = 1

    def Builder(self, logger: Any) -> Any:  # noqa: N802
        self._logger = logger
        return self

    def OnnxParser(self, network: Any, logger: Any) -> Any:  # noqa: N802
        return self

    def parse(self, model: bytes) -> bool:
        return True

    def create_network(self, flags: int) -> Any:
        self.calls.append(("network", flags))
        return self

    num_inputs = len(GRADING.inputs)

    def get_input(self, index: int) -> Any:
        return GRADING.inputs[index]

    def create_builder_config(self) -> Any:
        return self

    def create_optimization_profile(self) -> Any:
        return self

    def set_shape(self, name: str, *shapes: Any) -> None:
        self.calls.append((name, shapes))

    def add_optimization_profile(self, profile: Any) -> int:
        return 0

    def create_timing_cache(self, serialized: bytes) -> bytes:
        return serialized

    def set_timing_cache(self, cache: bytes, ignore_mismatch: bool) -> bool:
        self.calls.append(("cache", cache))
        return self.cache_fits or cache == b""

    def get_timing_cache(self) -> Any:
        return self

    def serialize(self) -> bytes:
        return b"measured"

    def build_serialized_network(self, network: Any, config: Any) -> bytes | None:
        for message in self.errors:
            self._logger.log("error", message)
        return None if self.errors else b"engine"


def test_strongly_typed_with_the_profiles_of_the_network() -> None:
    fake = FakeTensorRT()
    plan = build_plan(fake, b"network", GRADING, b"")  # type: ignore[arg-type]
    assert (plan.engine, plan.timing_cache, plan.tensorrt) == (b"engine", b"measured", "10.13.3.9")
    assert ("network", 1 << 1) in fake.calls
    assert ("CROPS", ((1, 3, 2, 56, 96), (8, 3, 2, 56, 96), (64, 3, 2, 56, 96))) in fake.calls
    assert ("FEATURES", ((1, 16), (8, 16), (64, 16))) in fake.calls


def test_the_profiles_of_the_segmenter_leave_no_batch_out() -> None:
    batches = [range(low, high + 1) for low, _, high in SEGMENTATION.profiles]
    assert sorted(size for sizes in batches for size in sizes) == list(range(1, SEGMENTATION.max_batch + 1))
    (image,) = SEGMENTATION.inputs
    assert image.shapes((1, 16, 64)) == ((1, 1, 32, 32), (16, 1, 576, 576), (64, 1, 1024, 1024))


def test_a_timing_cache_is_kept_for_the_next_build(tmp_path: Path) -> None:
    for expected in (b"", b"measured"):
        fake = FakeTensorRT()
        build_with_cache(fake, onnx.ModelProto(), GRADING, tmp_path, "H200")  # type: ignore[arg-type]
        assert ("cache", expected) in fake.calls


def test_a_timing_cache_of_another_gpu_is_left_aside() -> None:
    fake = FakeTensorRT(cache_fits=False)
    assert build_plan(fake, b"network", GRADING, b"of another").engine == b"engine"  # type: ignore[arg-type]
    assert [cache for what, cache in fake.calls if what == "cache"] == [b"of another", b""]


def test_too_little_memory() -> None:
    fake = FakeTensorRT(errors=(OUT_OF_MEMORY, NO_TACTIC))
    with pytest.raises(TooLittleMemory, match="Could not find any implementation"):
        build_plan(fake, b"network", GRADING)  # type: ignore[arg-type]


def test_any_other_failure_quotes_the_builder() -> None:
    with pytest.raises(ExportError, match="Could not find any implementation") as raised:
        build_plan(FakeTensorRT(errors=(NO_TACTIC,)), b"network", GRADING)  # type: ignore[arg-type]
    assert type(raised.value) is ExportError


def test_packages_that_are_not_installed_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("tensorrt", "tensorrt_rtx_bindings", "torch_tensorrt"):
        monkeypatch.setitem(__import__("sys").modules, name, None)
    with pytest.raises(MissingTool, match="tensorrt is not installed"):
        load_api(rtx=False)
    with pytest.raises(MissingTool, match="tensorrt_rtx_bindings is not installed"):
        load_api(rtx=True)
    with pytest.raises(MissingTool, match="torch_tensorrt cannot be imported"):
        load_torch_tensorrt()


class FakeTorchTensorRT:
    """Records what the compiler is told, and gives the traced program back."""

    __version__ = "2.13.0"

    def __init__(self, error: str | None = None) -> None:
        self.settings: dict[str, Any] = {}
        self.dynamo = self
        self._error = error

    def Input(self, **shapes: Any) -> dict[str, Any]:  # noqa: N802
        return shapes

    def compile(self, program: torch.export.ExportedProgram, **settings: Any) -> Any:
        self.settings = settings
        if self._error:
            raise RuntimeError(self._error)
        return program.module()

    def save(self, module: Any, file_path: str, *, output_format: str, arg_inputs: Any) -> None:
        assert output_format == "exported_program"
        Path(file_path).write_bytes(f"{len(arg_inputs)} inputs".encode())


@pytest.fixture
def grader() -> ExportedGrader:
    torch.manual_seed(0)
    return ExportedGrader([DiscGrader(Architecture(width=4))]).eval()


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
def test_torch_tensorrt_gets_the_traced_network_and_its_shapes(grader: ExportedGrader) -> None:
    fake = FakeTorchTensorRT()
    module = build_module(fake, grader, GRADING, Precision.FP16, device="cpu")
    crops, features = fake.settings["arg_inputs"]
    assert (crops["min_shape"], crops["max_shape"]) == ((1, 3, 2, 56, 96), (64, 3, 2, 56, 96))
    assert (features["opt_shape"], features["dtype"]) == ((8, 16), torch.float32)
    assert torch.float16 in fake.settings["enabled_precisions"]
    assert fake.settings["require_full_compilation"]
    assert saved(fake, module, GRADING, device="cpu") == b"2 inputs"
    inputs = torch.rand(5, 3, 2, 56, 96), torch.randn(5, 16)  # another batch than the traced one
    for found, expected in zip(module(*inputs), grader(*inputs), strict=True):
        torch.testing.assert_close(found, expected)


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
def test_torch_tensorrt_says_what_it_cannot_compile(grader: ExportedGrader) -> None:
    with pytest.raises(BadNetwork, match="no converter for aten::odd"):
        build_module(FakeTorchTensorRT("no converter for aten::odd"), grader, GRADING, Precision.FP32, device="cpu")


def test_torch_tensorrt_does_not_do_int8(grader: ExportedGrader) -> None:
    with pytest.raises(BadNetwork, match="another package"):
        build_module(FakeTorchTensorRT(), grader, GRADING, Precision.INT8)
