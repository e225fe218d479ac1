"""The models Triton loads: the ensemble ``lumbar_grading`` over ``disc_segmentation``, ``disc_crop``, ``disc_grading``."""

from pathlib import Path

__all__ = ["path"]


def path() -> Path:
    """Folder to give to ``tritonserver --model-repository``."""
    return Path(__file__).parent
