"""OpenVINO on the CPU: the fastest engine on x86-64 (docs/decisions)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import openvino
from numpy.typing import NDArray

from engines.engine import Tensors

__all__ = ["OpenVINOEngine"]


class OpenVINOEngine:
    """A network compiled once with its dynamic shapes; see :class:`engines.engine.Engine`.

    A static compilation for each shape is no faster once it runs, and costs 0.1–0.2 s at each new shape.
    """

    name = "openvino"

    def __init__(self, onnx_path: Path, threads: int) -> None:
        compiled = openvino.Core().compile_model(
            onnx_path,
            "CPU",
            {
                "INFERENCE_PRECISION_HINT": "f32",  # else bfloat16 wherever the CPU has it, and grades differ by host
                "INFERENCE_NUM_THREADS": threads,
                "NUM_STREAMS": 1,
            },
        )
        self.inputs = tuple(port.get_any_name() for port in compiled.inputs)
        self.outputs = tuple(port.get_any_name() for port in compiled.outputs)
        self._request = compiled.create_infer_request()

    def run(self, inputs: Tensors) -> dict[str, NDArray[Any]]:
        """See :meth:`engines.engine.Engine.run`."""
        self._request.infer({name: inputs[name] for name in self.inputs}, share_inputs=True)
        # The request's output memory is used again by the next run: hand out copies.
        return {name: np.array(self._request.get_tensor(name).data) for name in self.outputs}
