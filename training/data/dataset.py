"""What every layout offers, and which layout a folder has."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from discgrade.errors import UnsupportedFormat
from training.data.gradings import Grading
from training.data.series import Acquisition, Series
from training.data.spider import Spider
from training.data.spider2d import Spider2d

__all__ = ["DataSet", "Layout", "default_root", "open_data"]


class Layout(StrEnum):
    """How a folder of images, masks and gradings is laid out."""

    AUTO = "auto"
    SPIDER2D = "spider2d"
    SPIDER = "spider"


class DataSet(Protocol):
    """Series, masks and gradings of patients."""

    @property
    def root(self) -> Path:
        """The folder."""

    @property
    def gradings(self) -> Mapping[str, Mapping[int, Grading]]:
        """Gradings by patient and disc, counted from the bottom (1 = L5/S1)."""

    @property
    def masked(self) -> Sequence[Series]:
        """The series with masks."""

    @property
    def series(self) -> Sequence[Series]:
        """All series, those with masks first where there are others."""

    @property
    def patients(self) -> Sequence[str]:
        """Every patient with an image, sorted."""

    def acquisition(self, series: Series) -> Acquisition:
        """How a series was made."""

    def outlined(self, series: Series) -> NDArray[np.uint8] | None:
        """Discs that a second observer outlined on some slices, for evaluation alone.

        Returns:
            0, or the disc's number from the bottom, in the shape of the volume; None where there are none.
        """


def default_root() -> Path:
    """Where the data set lies: ``$DISCGRADE_DATA``, or ``../shared/data/spider2d`` beside the project."""
    beside = Path(__file__).resolve().parents[3] / "shared" / "data" / "spider2d"
    return Path(os.environ.get("DISCGRADE_DATA", beside))


def open_data(root: Path, layout: Layout = Layout.AUTO) -> DataSet:
    """Open a data set.

    Args:
        root: Its folder.
        layout: Of the folder; ``auto`` looks.

    Raises:
        UnsupportedFormat: The folder has no such layout, or shows no series.
    """
    kinds: dict[Layout, type[Spider2d] | type[Spider]] = {Layout.SPIDER2D: Spider2d, Layout.SPIDER: Spider}
    for name, kind in kinds.items():
        if layout in (Layout.AUTO, name) and kind.recognises(root):
            data: DataSet = kind(root)
            if not data.series:
                raise UnsupportedFormat("The data set shows no sagittal T2 series.", "See docs/training.md.")
            return data
    wanted = "spider2d or spider" if layout is Layout.AUTO else layout.value
    raise UnsupportedFormat(f"The folder of data has not the layout {wanted}.", "See docs/training.md, or give --data.")
