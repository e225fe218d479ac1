"""A model of Triton's Python backend that computes the ``model.onnx`` beside its ``model.py`` with a CPU engine.

All requests Triton hands over together become one batch wherever their shapes agree; but where only the spine of an
image is computed, each goes alone. Each ``model.py`` only imports :class:`TritonPythonModel` from here.
"""

from __future__ import annotations

import json
from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils
from numpy.typing import NDArray

from engines.engine import load_engine
from preprocess.region import segment_spine

__all__ = ["TritonPythonModel"]

ENGINE_OUTPUT = "ENGINE"
"""Output of one row per batch row that names the engine; computed when it is asked for."""


class TritonPythonModel:
    """Serves one ONNX network; the interface is the Python backend's."""

    def initialize(self, args: dict[str, str]) -> None:
        """Load the network.

        Args:
            args: From Triton: among others ``model_config`` (JSON), ``model_repository`` (this model's folder) and
                ``model_version``. The config's parameter ``rows_per_thread`` bounds the batch rows of one engine run,
                and with them the memory that intermediate results take and the wait of those who come next; where it
                has ``spine_only``, the network is a segmenter of which only the spine is computed
                (:func:`preprocess.region.segment_spine`).
        """
        parameters = json.loads(args["model_config"])["parameters"]
        self._engine = load_engine(Path(args["model_repository"]) / args["model_version"] / "model.onnx")
        self._spine_only = "spine_only" in parameters
        self._rows = int(parameters["rows_per_thread"]["string_value"]) * self._engine.threads
        pb_utils.Logger.log_info(f"{args['model_name']} version {args['model_version']}: engine {self._engine.name}")

    def execute(self, requests: Sequence[Any]) -> None:
        """Answer the requests of one dynamic batch, each as soon as its last row is computed."""
        groups: dict[tuple[tuple[int, ...], ...], list[tuple[Any, list[NDArray[Any]]]]] = defaultdict(list)
        for request in requests:
            tensors = [pb_utils.get_input_tensor_by_name(request, name).as_numpy() for name in self._engine.inputs]
            groups[tuple(tensor.shape[1:] for tensor in tensors)].append((request, tensors))
        for members in groups.values():
            if self._spine_only:
                for request, (image,) in members:
                    self._answer_spine(request, image)
            else:
                self._answer(members)

    def _answer_spine(self, request: Any, image: NDArray[np.uint8]) -> None:
        """Segment one study."""

        def network(pixels: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
            outputs: dict[str, NDArray[Any]] = {}
            for _ in self._runs([pixels[:, None]], outputs):
                pass
            return outputs["LABELS"], outputs["DISC_PROBABILITY"]

        try:
            labels, probability = segment_spine(image[:, 0], network)
        except Exception as error:  # the other requests of this batch must still be answered
            self._fail(request, error)
        else:
            self._send(request, {"LABELS": labels, "DISC_PROBABILITY": probability})

    def _answer(self, members: list[tuple[Any, list[NDArray[Any]]]]) -> None:
        """Compute requests of one shape in runs of a few rows, across their borders."""
        batch = [np.concatenate(parts) for parts in zip(*(tensors for _, tensors in members), strict=True)]
        waiting = deque(zip((request for request, _ in members), _borders(members), strict=True))
        outputs: dict[str, NDArray[Any]] = {}
        try:
            for done in self._runs(batch, outputs):
                while waiting and waiting[0][1].stop <= done:
                    request, own = waiting.popleft()
                    self._send(request, {name: value[own] for name, value in outputs.items()})
        except Exception as error:  # the other groups of this batch must still be answered
            for request, _ in waiting:
                self._fail(request, error)

    def _runs(self, batch: list[NDArray[Any]], outputs: dict[str, NDArray[Any]]) -> Iterator[int]:
        """Fill ``outputs`` in runs of a few rows; gives the number of rows done after each."""
        count = len(batch[0])
        for start in range(0, count, self._rows):
            rows = slice(start, min(start + self._rows, count))
            run = self._engine.run({n: t[rows] for n, t in zip(self._engine.inputs, batch, strict=True)})
            for name, value in run.items():
                whole = outputs.setdefault(name, np.empty((count, *value.shape[1:]), dtype=value.dtype))
                whole[rows] = value
            yield rows.stop

    def _fail(self, request: Any, error: Exception) -> None:
        failure = pb_utils.TritonError(f"{self._engine.name}: {error}", pb_utils.TritonError.INTERNAL)
        _finish(request, pb_utils.InferenceResponse([], failure))

    def _send(self, request: Any, answer: dict[str, NDArray[Any]]) -> None:
        if ENGINE_OUTPUT in request.requested_output_names():
            rows = len(next(iter(answer.values())))
            answer[ENGINE_OUTPUT] = np.full((rows, 1), self._engine.name.encode(), dtype=np.object_)
        tensors = [pb_utils.Tensor(name, value) for name, value in answer.items()]
        _finish(request, pb_utils.InferenceResponse(tensors))


def _borders(members: list[tuple[Any, list[NDArray[Any]]]]) -> list[slice]:
    ends = np.cumsum([len(tensors[0]) for _, tensors in members]).tolist()
    return [slice(start, end) for start, end in zip([0, *ends], ends, strict=False)]


def _finish(request: Any, response: Any) -> None:
    request.get_response_sender().send(response, flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)
