"""How much an upload may hold."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Limits"]


@dataclass(frozen=True)
class Limits:
    """Bounds that every reader keeps, so that a small upload cannot take a large memory or disk.

    Attributes:
        max_files: Files of the upload, or members of the archive.
        max_bytes: Bytes after decompression: of all files together, and of the decoded volume.
        max_ratio: Decompressed bytes over compressed bytes, of a zip, a gzip or a deflated DICOM file as a whole.
        max_slices: Slices of the volume.
    """

    max_files: int = 4000
    max_bytes: int = 2 * 1024**3
    max_ratio: float = 200.0
    max_slices: int = 400
