"""Finds, names and crops the discs of a segmented image, on Triton's Python backend."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils

from discgrade.errors import NoDiscsFound
from preprocess.discs import find_and_crop


class TritonPythonModel:
    """The tensors are described in docs/tensors.md."""

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """Answer each request on its own: images differ in size."""
        return [_answer(request) for request in requests]


def _answer(request: Any) -> Any:
    image, field_of_view, spacing, labels, probability = (
        pb_utils.get_input_tensor_by_name(request, name).as_numpy()
        for name in ("IMAGE", "FIELD_OF_VIEW", "SLICE_SPACING", "LABELS", "DISC_PROBABILITY")
    )
    top, bottom, left, right = (int(edge) for edge in field_of_view)
    try:
        found = find_and_crop(image[:, 0], (top, bottom, left, right), float(spacing[0]), labels, probability)
    except NoDiscsFound as error:
        failure = pb_utils.TritonError(f"NO_DISCS_FOUND {error}", pb_utils.TritonError.INVALID_ARG)
        return pb_utils.InferenceResponse([], failure)
    outputs = {
        "INSTANCES": found.instances,
        "BOXES": found.boxes,
        "MIDDLE_SLICES": found.middle_slices,
        "LEVELS": np.array([level.encode() for level in found.levels], dtype=np.object_),
        "LEVEL_CONFIDENCE": found.level_confidence,
        "WARNINGS": np.array([" ".join(found.warnings).encode()], dtype=np.object_),
        "CROPS": found.crops,
        "FEATURES": found.features,
    }
    return pb_utils.InferenceResponse([pb_utils.Tensor(name, value) for name, value in outputs.items()])
