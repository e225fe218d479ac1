"""A model of Triton's Python backend that computes the ``model.onnx`` beside its ``model.py`` with a CPU engine.

All requests Triton hands over together become one batch wherever their shapes agree. Each ``model.py`` only imports
:class:`TritonPythonModel` from here.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils
from numpy.typing import NDArray

from engines.engine import load_engine

__all__ = ["TritonPythonModel"]

ENGINE_OUTPUT = "ENGINE"
"""Output of one row per batch row that names the engine; computed when it is asked for."""


class TritonPythonModel:
    """Serves one ONNX network; the interface is the Python backend's."""

    def initialize(self, args: dict[str, str]) -> None:
        """Load the network.

        Args:
            args: From Triton: among others ``model_config`` (JSON), ``model_repository`` (this model's folder) and
                ``model_version``. The config's parameter ``rows_per_run`` bounds the batch rows of one engine run,
                and with it the memory and cache that intermediate results take.
        """
        parameters = json.loads(args["model_config"])["parameters"]
        self._rows = int(parameters["rows_per_run"]["string_value"])
        self._engine = load_engine(Path(args["model_repository"]) / args["model_version"] / "model.onnx")
        pb_utils.Logger.log_info(f"{args['model_name']} version {args['model_version']}: engine {self._engine.name}")

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """Answer the requests of one dynamic batch, in their order."""
        responses: list[Any] = [None] * len(requests)
        groups: dict[tuple[tuple[int, ...], ...], list[int]] = defaultdict(list)
        tensors: list[list[NDArray[Any]]] = []
        for index, request in enumerate(requests):
            tensors.append([pb_utils.get_input_tensor_by_name(request, n).as_numpy() for n in self._engine.inputs])
            if request.is_cancelled():
                responses[index] = _failure("the caller cancelled the request", pb_utils.TritonError.CANCELLED)
            else:
                groups[tuple(tensor.shape[1:] for tensor in tensors[index])].append(index)
        for members in groups.values():
            batch = [np.concatenate(parts) for parts in zip(*(tensors[index] for index in members), strict=True)]
            try:
                outputs = self._run(batch)
            except Exception as error:  # one bad batch must not take the others' answers along
                for index in members:
                    responses[index] = _failure(f"{self._engine.name}: {error}", pb_utils.TritonError.INTERNAL)
                continue
            ends = np.cumsum([len(tensors[index][0]) for index in members])
            parts_by_name = {name: np.split(value, ends[:-1]) for name, value in outputs.items()}
            for place, index in enumerate(members):
                answer = {name: parts[place] for name, parts in parts_by_name.items()}
                responses[index] = self._response(requests[index], answer)
        return responses

    def _run(self, batch: list[NDArray[Any]]) -> dict[str, NDArray[Any]]:
        chunks = [
            self._engine.run({n: t[start : start + self._rows] for n, t in zip(self._engine.inputs, batch, strict=True)})
            for start in range(0, len(batch[0]), self._rows)
        ]
        return {name: np.concatenate([chunk[name] for chunk in chunks]) for name in self._engine.outputs}

    def _response(self, request: Any, answer: dict[str, NDArray[Any]]) -> Any:
        if ENGINE_OUTPUT in request.requested_output_names():
            rows = len(next(iter(answer.values())))
            answer[ENGINE_OUTPUT] = np.full((rows, 1), self._engine.name.encode(), dtype=np.object_)
        return pb_utils.InferenceResponse([pb_utils.Tensor(name, value) for name, value in answer.items()])


def _failure(message: str, code: int) -> Any:
    return pb_utils.InferenceResponse([], pb_utils.TritonError(message, code))
