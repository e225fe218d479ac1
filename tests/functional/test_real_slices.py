"""Real lumbar MRI of patients nobody trained on, as NIfTI and as DICOM, through the server and its weights.

The floors lie a little under what docs/models reports: they fail when the served path loses what was measured.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from discgrade.client import Client
from discgrade.result import GradingResult
from gateway.app import create_app
from gateway.embedded import EmbeddedTriton
from gateway.settings import Settings
from gateway.triton_client import TritonClient
from tests.support.server import running_server
from training.data import Series, Spider2d, split_patients
from training.grading import SEVERITY_OF_GRADE
from training.metrics import dice
from training.phantom import write_dicom, write_nifti

pytestmark = pytest.mark.functional

SEVERITIES = ("mild", "moderate", "severe")
DICE_FLOOR = 0.85
SEVERITY_FLOOR = 0.70


@pytest.fixture(scope="module")
def api(triton: EmbeddedTriton, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    settings = Settings(data_dir=tmp_path_factory.mktemp("data"))
    with running_server(create_app(settings, lambda: TritonClient(triton.url))) as url, Client(url) as client:
        yield client


@pytest.fixture(scope="module")
def held_out(spider2d: Path) -> tuple[Spider2d, set[str]]:
    data = Spider2d(spider2d)
    return data, split_patients(data)[1]


def as_nifti(series: Series, folder: Path) -> list[Path]:
    path = folder / "study.nii.gz"
    write_nifti(series.volume(), path)
    return [path]


def test_discs_of_space_volumes_overlap_their_masks(
    api: Client, held_out: tuple[Spider2d, set[str]], tmp_path: Path
) -> None:
    data, patients = held_out
    reached = []
    for series in data.masked:
        if series.patient in patients:
            result = api.grade(as_nifti(series, tmp_path))
            image = nib.Nifti1Image.from_bytes(_unzipped(api.segmentation(result.result_id)))
            labels = np.asarray(image.dataobj)
            assert labels.shape == series.labels().shape
            reached.append(dice(labels > 0, series.labels() == 1))
            assert result.discs[-1].level in ("L5/S1", "unknown")
    assert len(reached) >= 5
    assert np.mean(reached) > DICE_FLOOR


def test_ordinary_t2_slices_are_named_and_graded(
    api: Client, held_out: tuple[Spider2d, set[str]], tmp_path: Path
) -> None:
    data, patients = held_out
    right, matched, studies = [], 0, 0
    for series in data.midsagittal:
        if series.patient in patients and series.sequence == "t2" and series.patient in data.gradings:
            result = api.grade(as_nifti(series, tmp_path))
            grades = data.gradings[series.patient]
            studies += 1
            if len(result.discs) == len(grades):
                matched += 1
                right += [
                    disc.severity == SEVERITIES[SEVERITY_OF_GRADE[(grades[disc.label].pfirrmann or 0) - 1]]
                    for disc in result.discs
                    if disc.label in grades
                ]
    assert studies >= 20
    assert matched / studies > 0.7
    assert np.mean(right) > SEVERITY_FLOOR


def test_a_dicom_series_and_a_nifti_of_one_patient_agree(
    api: Client, held_out: tuple[Spider2d, set[str]], tmp_path: Path
) -> None:
    data, patients = held_out
    series = next(series for series in data.masked if series.patient in patients)
    nifti = api.grade(as_nifti(series, tmp_path))
    dicom = api.grade(write_dicom(series.volume(), tmp_path / "dicom"))
    assert dicom.input.format == "dicom"
    assert [disc.level for disc in dicom.discs] == [disc.level for disc in nifti.discs]
    for one, other in zip(dicom.discs, nifti.discs, strict=True):
        assert one.severity is other.severity
        np.testing.assert_allclose(one.centroid_mm_lps, other.centroid_mm_lps, atol=0.2)
    _assert_lumbar(nifti)


def _assert_lumbar(result: GradingResult) -> None:
    assert {"L1/L2", "L2/L3", "L3/L4", "L4/L5", "L5/S1"} <= {disc.level for disc in result.discs}
    heights = [disc.centroid_mm_lps[2] for disc in result.discs]
    assert heights == sorted(heights, reverse=True)  # listed from top to bottom


def _unzipped(content: bytes) -> bytes:
    return gzip.decompress(content)
