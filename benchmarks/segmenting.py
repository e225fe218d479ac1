"""A study through a segmenter's CPU engine, without a server."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines import Engine
from export.models import SEGMENTATION

__all__ = ["segment"]


def segment(engine: Engine, image: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
    """Compute slices as many at a time as when they are served.

    Args:
        engine: Of a segmenter.
        image: uint8 (N, 1, H, W).
    """
    step = SEGMENTATION.rows_per_thread * engine.threads
    parts = [engine.run({"IMAGE": image[at : at + step]}) for at in range(0, len(image), step)]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
