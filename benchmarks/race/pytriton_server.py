"""The whole pipeline as one function bound with PyTriton.

    python -m benchmarks.race.pytriton_server GRPC_PORT HTTP_PORT METRICS_PORT

Takes the ensemble's three tensors, prepared, and computes with the engines that discgrade serves.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pytriton.model_config import ModelConfig, Tensor
from pytriton.triton import Triton, TritonConfig

import model_repository
from engines import load_engine
from export.repository import Repository
from preprocess.discs import find_and_crop

__all__ = ["MODEL"]

MODEL = "bound_function"
"""Its name."""


def main() -> None:
    """Serve until ended."""
    segmenter, grader = (
        load_engine(Repository(model_repository.path()).network(name)) for name in ("disc_segmentation", "disc_grading")
    )

    def infer(requests: list[Any]) -> list[dict[str, NDArray[Any]]]:
        return [grade(request["IMAGE"], request["FIELD_OF_VIEW"], request["SLICE_SPACING"]) for request in requests]

    def grade(
        image: NDArray[np.uint8], field_of_view: NDArray[np.int32], spacing: NDArray[np.float32]
    ) -> dict[str, NDArray[Any]]:
        tissue = segmenter.run({"IMAGE": image})
        top, bottom, left, right = field_of_view.tolist()
        discs = find_and_crop(
            image[:, 0], (top, bottom, left, right), float(spacing[0]), tissue["LABELS"], tissue["DISC_PROBABILITY"]
        )
        levels = np.array([level.encode() for level in discs.levels])
        grades = grader.run({"CROPS": discs.crops, "FEATURES": discs.features})
        return {"INSTANCES": discs.instances, "BOXES": discs.boxes, "LEVELS": levels, **grades}

    grpc, http, metrics = (int(port) for port in sys.argv[1:4])
    with Triton(config=TritonConfig(grpc_port=grpc, http_port=http, metrics_port=metrics)) as triton:
        triton.bind(
            MODEL,
            infer,
            inputs=[
                Tensor(name="IMAGE", dtype=np.uint8, shape=(-1, 1, -1, -1)),
                Tensor(name="FIELD_OF_VIEW", dtype=np.int32, shape=(4,)),
                Tensor(name="SLICE_SPACING", dtype=np.float32, shape=(1,)),
            ],
            outputs=[
                Tensor(name="INSTANCES", dtype=np.uint8, shape=(-1, -1, -1)),
                Tensor(name="BOXES", dtype=np.int32, shape=(-1, 6)),
                Tensor(name="LEVELS", dtype=np.bytes_, shape=(-1,)),
                Tensor(name="SEVERITY_PROBABILITIES", dtype=np.float32, shape=(-1, 3)),
                Tensor(name="PFIRRMANN_PROBABILITIES", dtype=np.float32, shape=(-1, 5)),
            ],
            config=ModelConfig(batching=False),
        )
        triton.serve()


if __name__ == "__main__":
    main()
