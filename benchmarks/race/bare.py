"""Both networks on a study's own tensors, with nothing around them: what no server can go below."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import model_repository
from benchmarks.race.studies import Study
from benchmarks.segmenting import segment
from engines import Engine
from export.repository import Repository
from preprocess.discs import find_and_crop
from preprocess.region import segment_spine

__all__ = ["Networks"]


class Networks:
    """The two networks in one engine; what the grader takes is made beforehand, once a study.

    Args:
        load: Loads ``model.onnx`` into the engine.
    """

    def __init__(self, load: Callable[[Path], Engine]) -> None:
        self._segmenter, self._grader = (
            load(Repository(model_repository.path()).network(name)) for name in ("disc_segmentation", "disc_grading")
        )
        self._crops: dict[int, dict[str, NDArray[Any]]] = {}
        self._lock = threading.Lock()  # an engine serves one caller at a time

    def whole(self, study: Study) -> None:
        """Run both."""
        crops = self._crops_of(study)
        with self._lock:
            self._segment(study.tensors["IMAGE"])
            self._grader.run(crops)

    def region(self, study: Study) -> None:
        """Run both, the segmenter only on what discgrade has it compute."""
        crops = self._crops_of(study)
        with self._lock:
            segment_spine(study.tensors["IMAGE"][:, 0], self._labels)
            self._grader.run(crops)

    def _labels(self, pixels: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        tissue = self._segment(pixels[:, None])
        return tissue["LABELS"], tissue["DISC_PROBABILITY"]

    def _segment(self, image: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
        return segment(self._segmenter, image)

    def _crops_of(self, study: Study) -> dict[str, NDArray[Any]]:
        with self._lock:
            if id(study) not in self._crops:
                image, tissue = study.tensors["IMAGE"], self._segment(study.tensors["IMAGE"])
                top, bottom, left, right = study.tensors["FIELD_OF_VIEW"].tolist()
                spacing = float(study.tensors["SLICE_SPACING"][0])
                discs = find_and_crop(
                    image[:, 0], (top, bottom, left, right), spacing, tissue["LABELS"], tissue["DISC_PROBABILITY"]
                )
                self._crops[id(study)] = {"CROPS": discs.crops, "FEATURES": discs.features}
            return self._crops[id(study)]
