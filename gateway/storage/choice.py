"""Which storage an operator chose."""

from __future__ import annotations

from pathlib import Path

from discgrade.errors import StorageUnavailable
from gateway.storage.interface import Storage
from gateway.storage.local import LocalStorage

__all__ = ["open_storage"]


def open_storage(url: str | None, data_dir: Path, keep_results: int, keep_seconds: float) -> Storage:
    """Open the storage.

    Args:
        url: ``s3://bucket/prefix``; None keeps everything in the data folder.
        data_dir: The data folder.
        keep_results: Most results kept.
        keep_seconds: Age in seconds at which a result is removed.

    Raises:
        StorageUnavailable: What it needs is not installed.
    """
    if url is None:
        return LocalStorage(data_dir, keep_results, keep_seconds)
    try:
        from gateway.storage.objects import ObjectStorage
    except ModuleNotFoundError as error:
        raise StorageUnavailable(
            f"A bucket needs the package {error.name}, which is not installed.", "pip install 'discgrade[s3]'"
        ) from error
    return ObjectStorage(url, data_dir, keep_results, keep_seconds)
