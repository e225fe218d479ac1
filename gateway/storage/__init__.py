"""Where uploads and results live: one interface, a local folder by default.

Uploads of jobs and results are kept under names that say nothing; what they hold is never looked at here.
"""

from gateway.storage.choice import open_storage
from gateway.storage.interface import IMAGE, OVERLAY, RESULT, SEGMENTATION, SOURCE, Storage, is_id, new_result_id
from gateway.storage.local import LocalStorage

__all__ = [
    "IMAGE",
    "OVERLAY",
    "RESULT",
    "SEGMENTATION",
    "SOURCE",
    "LocalStorage",
    "Storage",
    "is_id",
    "new_result_id",
    "open_storage",
]
