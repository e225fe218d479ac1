"""The names of :mod:`gateway.storage` that were here before."""

from gateway.storage import OVERLAY, RESULT, SEGMENTATION, new_result_id

__all__ = ["OVERLAY", "RESULT", "SEGMENTATION", "new_result_id"]
