"""All that the DICOM objects of a result say, and the UIDs that follow from it."""

from __future__ import annotations

import gzip
import hashlib
import json
import uuid
from dataclasses import dataclass
from functools import cached_property

import highdicom
import numpy as np
from nibabel.nifti1 import Nifti1Image
from numpy.typing import NDArray
from pydicom.uid import UID

import discgrade
from discgrade.result import Disc, GradingResult, ModelUsed, ResultWarning
from gateway.dicom_out.source import check_uids, pack_source
from preprocess.source import SourceSeries

__all__ = ["Content", "content_of"]

_NAMESPACE = uuid.UUID("51823448-4914-41a5-81db-ed71384c6d43")
_SAID_OF_A_DISC = {"level", "label", "severity", "pfirrmann", "height_mm", "area_mm2", "volume_mm3"}


@dataclass(frozen=True, eq=False)
class Content:
    """What is said.

    Attributes:
        source: The graded series.
        discs: By their label, 1 first, which is the lowest; segments have the same numbers.
        models: The pipeline; the first is the ensemble.
        warnings: Of the result.
        labels: uint8, shape (slices, rows, columns) as ``source.images``, ``source.rows``, ``source.columns``: 0, or
            the label of a disc.
    """

    source: SourceSeries
    discs: tuple[Disc, ...]
    models: tuple[ModelUsed, ...]
    warnings: tuple[ResultWarning, ...]
    labels: NDArray[np.uint8]

    def uid(self, role: str) -> UID:
        """The UID that something has in the objects with this content, and in no others (PS3.5 B.2).

        It follows from all that is said and from what writes it: a result that differs in one voxel, grade, model or
        word of the header has other UIDs, and the same input graded again by the same models has the same.

        Args:
            role: Such as ``report``, or ``disc 3``.
        """
        return _derived(f"{self._digest}/{role}")

    def device_uid(self) -> UID:
        """The UID of discgrade with these models, as an observer."""
        return _derived(f"device/{discgrade.__version__}/{[model.model_dump() for model in self.models]}")

    @cached_property
    def _digest(self) -> str:
        said = {
            "writers": [discgrade.__version__, highdicom.__version__],
            "source": pack_source(self.source).decode(),
            "discs": [disc.model_dump(mode="json", include=_SAID_OF_A_DISC) for disc in self.discs],
            "models": [model.model_dump() for model in self.models],
            "warnings": [warning.message for warning in self.warnings],
        }
        return hashlib.sha256(json.dumps(said, sort_keys=True).encode() + b"\0" + self.labels.tobytes()).hexdigest()


def _derived(name: str) -> UID:
    return UID(f"2.25.{uuid.uuid5(_NAMESPACE, name).int}")


def content_of(result: GradingResult, source: SourceSeries, segmentation: bytes) -> Content:
    """Put together what is kept of a result.

    Args:
        result: The result.
        source: Of a DICOM series.
        segmentation: Its gzipped NIfTI label image.

    Raises:
        discgrade.errors.NotFound: Objects of the series cannot be referred to.
    """
    check_uids(source)
    image = Nifti1Image.from_bytes(gzip.decompress(segmentation))
    labels: NDArray[np.uint8] = np.ascontiguousarray(np.asarray(image.dataobj, np.uint8).transpose(2, 1, 0))
    discs = tuple(sorted(result.discs, key=lambda disc: disc.label))
    return Content(source, discs, tuple(result.models), tuple(result.warnings), labels)
