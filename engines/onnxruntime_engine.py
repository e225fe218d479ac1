"""ONNX Runtime on the CPU: the portable engine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnxruntime
from numpy.typing import NDArray

from engines.engine import Tensors

__all__ = ["ONNXRuntimeEngine"]


class ONNXRuntimeEngine:
    """A network in an ONNX Runtime session; see :class:`engines.engine.Engine`."""

    name = "onnxruntime"

    def __init__(self, onnx_path: Path, threads: int) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.enable_mem_pattern = False  # patterns are planned for one fixed shape
        # Threads that spin while they wait take the cores from the other model and from the gateway.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self.threads = threads
        self._session = onnxruntime.InferenceSession(onnx_path, options, providers=["CPUExecutionProvider"])
        self.inputs = tuple(node.name for node in self._session.get_inputs())
        self.outputs = tuple(node.name for node in self._session.get_outputs())

    def run(self, inputs: Tensors) -> dict[str, NDArray[Any]]:
        """See :meth:`engines.engine.Engine.run`."""
        values = self._session.run(self.outputs, {name: inputs[name] for name in self.inputs})
        return dict(zip(self.outputs, values, strict=True))
