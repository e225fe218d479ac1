"""Studies and what is not one, over HTTP, graded by a real tritonserver."""

from __future__ import annotations

import gzip
import io
from collections.abc import Iterator
from pathlib import Path

import httpx
import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from discgrade.result import GradingResult
from gateway.app import create_app
from gateway.embedded import EmbeddedTriton
from gateway.settings import Settings
from gateway.triton_client import TritonClient
from tests.support.bad_inputs import BAD_INPUTS, MAX_FILES, MAX_SLICES, MAX_UNPACKED_BYTES, MAX_UPLOAD_BYTES
from tests.support.server import running_server
from tests.support.studies import STUDY_FORMATS, write_study
from training.phantom import Phantom, PhantomSpec, make_phantom

pytestmark = pytest.mark.functional


@pytest.fixture(scope="module")
def phantom() -> Phantom:
    return make_phantom(PhantomSpec(seed=3, grades=(4, 3, 2, 2, 1), slices=5, matrix=(400, 400)))


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
def api(triton: EmbeddedTriton, data_dir: Path) -> Iterator[httpx.Client]:
    settings = Settings(
        data_dir=data_dir,
        max_files=MAX_FILES,
        max_slices=MAX_SLICES,
        max_upload_bytes=MAX_UPLOAD_BYTES,
        max_unpacked_bytes=MAX_UNPACKED_BYTES,
    )
    with (
        running_server(create_app(settings, lambda: TritonClient(triton.url))) as url,
        httpx.Client(base_url=url, timeout=60) as client,
    ):
        yield client


@pytest.fixture(scope="module")
def graded(api: httpx.Client, phantom: Phantom, tmp_path_factory: pytest.TempPathFactory) -> dict[str, GradingResult]:
    """The phantom, sent in every format."""
    return {
        form: send(api, [path.read_bytes() for path in write_study(phantom, tmp_path_factory.mktemp(form), form)])
        for form in STUDY_FORMATS
    }


def send(api: httpx.Client, files: list[bytes]) -> GradingResult:
    answer = api.post("/v1/grade", files=[("files", data) for data in files])
    assert answer.status_code == 201, answer.text
    return GradingResult.model_validate_json(answer.content)


def files_below(folder: Path) -> list[Path]:
    """All but the audit log and its key, which hold no patient data (test_audit, test_patient_data)."""
    return [path for path in folder.rglob("*") if path.is_file() and path.parent.name != "audit"]


def test_it_is_ready_and_names_its_models(api: httpx.Client) -> None:
    assert api.get("/readyz").status_code == 200
    names = [model["name"] for model in api.get("/v1/models").json()["models"]]
    assert names == ["lumbar_grading", "disc_segmentation", "disc_crop", "disc_grading"]


@pytest.mark.parametrize("form", STUDY_FORMATS)
def test_the_lumbar_discs_are_found_where_they_are(
    graded: dict[str, GradingResult], phantom: Phantom, form: str
) -> None:
    result = graded[form]
    assert result.input.format == {"zip": "dicom"}.get(form, form)
    found = {disc.level: disc for disc in result.discs}
    for label, level in enumerate(phantom.levels[:5], start=1):
        inside = np.argwhere(phantom.instances == label)
        centre = phantom.volume.affine @ np.append(inside.mean(axis=0), 1)
        distance = np.linalg.norm(np.subtract(found[level].centroid_mm_lps, centre[:3]))
        assert distance < 6, f"{level} is {distance:.1f} mm off"


def test_every_format_gives_the_same_grades(graded: dict[str, GradingResult]) -> None:
    def essence(result: GradingResult) -> list[tuple[str, str, str]]:
        return [(disc.level, disc.severity.value, disc.pfirrmann.value) for disc in result.discs]

    first, *others = graded.values()
    assert all(essence(other) == essence(first) for other in others)
    assert len(first.discs) >= 5


def test_label_image_and_picture_can_be_fetched(
    api: httpx.Client, graded: dict[str, GradingResult], phantom: Phantom
) -> None:
    result = graded["nifti"]
    segmentation = api.get(f"/v1/results/{result.result_id}/segmentation.nii.gz").content
    labels = np.asarray(nib.Nifti1Image.from_bytes(gzip.decompress(segmentation)).dataobj)
    assert labels.shape == phantom.volume.array.shape
    assert set(np.unique(labels)) == {0, *(disc.label for disc in result.discs)}
    agreed = np.count_nonzero((labels > 0) & (phantom.instances > 0))
    dice = 2 * agreed / (np.count_nonzero(labels) + np.count_nonzero(phantom.instances))
    assert dice > 0.7
    picture = Image.open(io.BytesIO(api.get(f"/v1/results/{result.result_id}/overlay.png").content))
    assert picture.format == "PNG"


@pytest.mark.parametrize("name", BAD_INPUTS)
def test_what_cannot_be_graded_is_told_what_to_change(
    api: httpx.Client, data_dir: Path, graded: dict[str, GradingResult], name: str
) -> None:
    make, kind = BAD_INPUTS[name]
    kept = set(files_below(data_dir))
    answer = api.post("/v1/grade", files=[("files", data) for data in make()])
    problem = answer.json()
    assert problem["type"] == kind.problem_type(), problem
    assert answer.status_code == problem["status"] == kind.status
    assert 400 <= answer.status_code < 500
    assert answer.headers["content-type"] == "application/problem+json"
    assert problem["advice"].strip()
    assert problem["detail"].strip()
    assert set(files_below(data_dir)) == kept
