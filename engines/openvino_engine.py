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
    """A network compiled with its dynamic shapes; see :class:`engines.engine.Engine`.

    A static compilation for each shape is no faster once it runs, and costs 0.1–0.2 s at each new shape. The network is
    compiled twice: for batches smaller than the number of threads, which all work on the whole batch; and for larger
    ones, of which each thread computes its own part and need not wait for the others after every layer.
    """

    name = "openvino"
    precision_hint = "f32"
    """Of what is not INT8; by itself OpenVINO takes bfloat16 wherever the CPU has it, and grades differ by host."""

    def __init__(self, onnx_path: Path, threads: int) -> None:
        core = openvino.Core()
        model = core.read_model(onnx_path)
        settings = {
            "INFERENCE_PRECISION_HINT": self.precision_hint,
            "INFERENCE_NUM_THREADS": threads,
        }
        together = core.compile_model(model, "CPU", {**settings, "NUM_STREAMS": 1})
        apart = core.compile_model(model, "CPU", {**settings, "NUM_STREAMS": threads}) if threads > 1 else together
        self.threads = threads
        self.inputs = tuple(port.get_any_name() for port in together.inputs)
        self.outputs = tuple(port.get_any_name() for port in together.outputs)
        self._together = together.create_infer_request()
        self._apart = [apart.create_infer_request() for _ in range(threads)]

    def run(self, inputs: Tensors) -> dict[str, NDArray[Any]]:
        """See :meth:`engines.engine.Engine.run`."""
        rows = len(inputs[self.inputs[0]])
        requests = self._apart if rows >= len(self._apart) else [self._together]
        parts = {name: np.array_split(inputs[name], len(requests)) for name in self.inputs}
        try:
            for place, request in enumerate(requests):
                request.start_async({name: parts[name][place] for name in self.inputs}, share_inputs=True)
        finally:
            for request in requests:
                request.wait()
        # The requests' output memory is used again by the next run: this makes copies, of a single part too.
        return {name: np.concatenate([request.get_tensor(name).data for request in requests]) for name in self.outputs}
