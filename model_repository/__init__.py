"""What Triton loads: ``lumbar_grading``, the ensemble of ``disc_segmentation``, ``disc_crop``, ``disc_grading``."""

from pathlib import Path

__all__ = ["path"]


def path() -> Path:
    """Folder to give to ``tritonserver --model-repository``."""
    return Path(__file__).parent
