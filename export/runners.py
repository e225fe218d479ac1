"""What computes a network for comparison: torch, ONNX Runtime on the CPU, TensorRT on a GPU."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

from engines import ENGINES, CPUPrecision, load_engine
from export.errors import MissingTool
from export.models import Network
from export.precision import Feed
from export.samples import Runner

if TYPE_CHECKING:
    from torch import nn

__all__ = ["engine_runner", "onnx_runner", "plan_runner", "torch_runner"]


def torch_runner(module: nn.Module, network: Network, device: str = "cpu") -> Runner:
    """Compute with torch a network that is in evaluation mode."""
    import torch  # not needed where engines are built from ONNX

    placed = module.to(device)

    @torch.inference_mode()
    def run(feed: Feed) -> Mapping[str, NDArray[Any]]:
        answers = placed(*(torch.tensor(feed[tensor.name], device=device) for tensor in network.inputs))
        return {tensor.name: a.cpu().numpy() for tensor, a in zip(network.outputs, answers, strict=True)}

    return run


def engine_runner(model: onnx.ModelProto, prefer: Sequence[str] = tuple(ENGINES)) -> Runner:
    """Compute an ONNX graph with the CPU engine that serves it."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        onnx.save(model, path)
        engine = load_engine(path, prefer=prefer, precision=CPUPrecision.FP32)  # of the file, which may hold any
    return lambda feed: engine.run({name: np.ascontiguousarray(feed[name]) for name in engine.inputs})


def onnx_runner(model: onnx.ModelProto) -> Runner:
    """Compute an ONNX graph of any precision with ONNX Runtime on the CPU."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]

    def run(feed: Feed) -> Mapping[str, NDArray[Any]]:
        return dict(zip(names, session.run(names, dict(feed)), strict=True))

    return run


@contextmanager
def plan_runner(plan: bytes, network: Network) -> Iterator[Runner]:
    """Compute with a TensorRT engine on the GPU, in the optimisation profile that holds each batch.

    Args:
        plan: The engine, of the TensorRT that is installed.
        network: Its optimisation profiles.

    Raises:
        MissingTool: polygraphy is not installed.
    """
    try:
        from polygraphy.backend.trt import EngineFromBytes, TrtRunner
    except ImportError:
        raise MissingTool("polygraphy is not installed.", "pip install 'discgrade[gpu]'.") from None
    with TrtRunner(EngineFromBytes(plan)) as active:

        def run(feed: Feed) -> Mapping[str, NDArray[Any]]:
            rows = len(feed[network.inputs[0].name])
            active.set_profile(next(i for i, (low, _, high) in enumerate(network.profiles) if low <= rows <= high))
            return {name: np.array(answer) for name, answer in active.infer(dict(feed)).items()}

        yield run
