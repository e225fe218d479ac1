"""POST /v1/grade and what it leaves, with a grader that knows the phantom's truth."""

from __future__ import annotations

import asyncio
import gzip
import io
import logging
import re
from pathlib import Path
from typing import Any

import httpx
import nibabel as nib
import numpy as np
import pytest
from PIL import Image
from starlette.types import Message

from discgrade import errors
from discgrade.errors import DiscgradeError
from discgrade.result import GradingResult, Pfirrmann, Severity
from gateway.app import create_app
from gateway.settings import Settings
from tests.gateway.conftest import OpenClient, Parts
from tests.support.studies import PATIENT_WORDS, STUDY_FORMATS, write_study
from tests.support.truth import TruthGrader
from training.phantom import Phantom

ERRORS = [getattr(errors, name) for name in errors.__all__]


def files_below(folder: Path) -> list[Path]:
    """All but the audit log and its key, which hold no patient data (test_audit, test_patient_data)."""
    return [path for path in folder.rglob("*") if path.is_file() and path.parent.name != "audit"]


def parts(paths: list[Path]) -> Parts:
    return [("files", (path.name, path.read_bytes())) for path in paths]


async def test_a_graded_study_names_every_disc_from_the_top(
    client: httpx.AsyncClient, study: Parts, phantom: Phantom
) -> None:
    answer = await client.post("/v1/grade", files=study)
    assert answer.status_code == 201, answer.text
    result = GradingResult.model_validate_json(answer.content)
    assert [disc.level for disc in result.discs] == list(reversed(phantom.levels))
    assert [disc.label for disc in result.discs] == list(range(len(phantom.levels), 0, -1))
    roman = dict(enumerate(("I", "II", "III", "IV", "V"), start=1))
    assert [disc.pfirrmann.value for disc in result.discs] == [roman[grade] for grade in reversed(phantom.grades)]
    severities = ["mild", "mild", "moderate", "severe", "severe"]
    assert [disc.severity.value for disc in result.discs] == [severities[g - 1] for g in reversed(phantom.grades)]
    heights = [disc.centroid_mm_lps[2] for disc in result.discs]
    assert heights == sorted(heights, reverse=True)
    assert result.input.slices == len(phantom.volume.array)
    assert result.input.spacing_mm == pytest.approx((4.0, 1.0, 1.0))
    assert set(result.timings_ms) == {"upload", "read", "preprocess", "inference", "postprocess", "total"}
    assert result.timings_ms["total"] >= max(v for k, v in result.timings_ms.items() if k != "total")
    assert answer.headers["location"] == f"/v1/results/{result.result_id}"


async def test_centroids_and_volumes_are_those_of_the_phantom(
    client: httpx.AsyncClient, study: Parts, phantom: Phantom
) -> None:
    result = GradingResult.model_validate_json((await client.post("/v1/grade", files=study)).content)
    for disc in result.discs:
        inside = np.argwhere(phantom.instances == disc.label)
        centre = phantom.volume.affine @ np.append(inside.mean(axis=0), 1)
        assert disc.centroid_mm_lps == pytest.approx(tuple(centre[:3]), abs=0.6)
        assert disc.volume_mm3 == pytest.approx(len(inside) * 4.0, rel=0.1)


async def test_the_grade_is_one_of_the_severity_shown(
    client: httpx.AsyncClient, grader: TruthGrader, study: Parts, phantom: Phantom
) -> None:
    """III alone is likelier than I or II alone, but less likely than the two together."""
    grades = np.array([0.25, 0.15, 0.35, 0.2, 0.05], np.float32)
    classes = np.array([0.4, 0.35, 0.25], np.float32)
    discs = len(phantom.levels)
    grader.instead = {
        "severity_probabilities": np.tile(classes, (discs, 1)),
        "pfirrmann_probabilities": np.tile(grades, (discs, 1)),
    }
    result = GradingResult.model_validate_json((await client.post("/v1/grade", files=study)).content)
    assert {(disc.severity, disc.pfirrmann) for disc in result.discs} == {(Severity.MILD, Pfirrmann.I)}
    assert list(result.discs[0].pfirrmann_probabilities.values()) == pytest.approx(grades)
    assert list(result.discs[0].severity_probabilities.values()) == pytest.approx(classes)


@pytest.mark.parametrize("form", STUDY_FORMATS)
async def test_the_label_image_lies_on_the_input(
    client: httpx.AsyncClient, phantom: Phantom, tmp_path: Path, form: str
) -> None:
    paths = write_study(phantom, tmp_path, form)
    answer = await client.post("/v1/grade", files=parts(paths))
    result = GradingResult.model_validate_json(answer.content)
    assert result.input.format == {"zip": "dicom"}.get(form, form)
    segmentation = await client.get(f"/v1/results/{result.result_id}/segmentation.nii.gz")
    assert segmentation.headers["content-type"] == "application/gzip"
    image = nib.Nifti1Image.from_bytes(gzip.decompress(segmentation.content))
    labels = np.asarray(image.dataobj)
    assert image.get_data_dtype() == np.uint8
    truth, affine = phantom.instances, np.diag([-1.0, -1.0, 1.0, 1.0]) @ phantom.volume.affine
    if form == "nifti":
        source = nib.Nifti1Image.from_filename(paths[0])
        assert labels.shape == source.shape
        np.testing.assert_allclose(image.affine, source.affine, atol=1e-5)
    else:
        # Columns, rows, slices; the readers may order slices either way, so compare through space.
        assert labels.shape == truth.shape[::-1]
    index = np.argwhere(truth > 0)
    places = index @ affine[:3, :3].T + affine[:3, 3]
    to_labels = np.linalg.inv(image.affine)
    found = labels[tuple(np.rint(places @ to_labels[:3, :3].T + to_labels[:3, 3]).astype(int).T)]
    assert np.mean(found == truth[tuple(index.T)]) > 0.93
    assert np.count_nonzero(labels) == pytest.approx(len(index), rel=0.05)
    for code in ("qform_code", "sform_code"):
        assert image.header[code] == 1
    np.testing.assert_allclose(image.get_qform(), image.get_sform(), atol=1e-4)
    graded = await client.get(f"/v1/results/{result.result_id}/image.nii.gz")
    assert graded.headers["content-type"] == "application/gzip"
    grey = nib.Nifti1Image.from_bytes(gzip.decompress(graded.content))
    np.testing.assert_array_equal(grey.affine, image.affine)
    pixels = np.asarray(grey.dataobj)[tuple(np.rint(places @ to_labels[:3, :3].T + to_labels[:3, 3]).astype(int).T)]
    np.testing.assert_allclose(pixels, np.rint(phantom.volume.array[tuple(index.T)]), atol=1)


async def test_a_result_of_an_earlier_version_has_no_image(
    client: httpx.AsyncClient, study: Parts, data_dir: Path
) -> None:
    result_id = (await client.post("/v1/grade", files=study)).json()["result_id"]
    (data_dir / "results" / result_id / "image.nii.gz").unlink()
    answer = await client.get(f"/v1/results/{result_id}/image.nii.gz")
    assert answer.status_code == 404
    assert "kept by a version" in answer.json()["detail"]


async def test_kept_results_are_what_was_answered(client: httpx.AsyncClient, study: Parts) -> None:
    answer = await client.post("/v1/grade", files=study)
    result_id = answer.json()["result_id"]
    kept = await client.get(f"/v1/results/{result_id}")
    assert kept.json() == answer.json()
    overlay = await client.get(f"/v1/results/{result_id}/overlay.png")
    assert overlay.headers["content-type"] == "image/png"
    assert Image.open(io.BytesIO(overlay.content)).format == "PNG"
    assert kept.headers["cache-control"] == "no-store"


async def test_only_the_result_is_on_disk_afterwards(client: httpx.AsyncClient, study: Parts, data_dir: Path) -> None:
    result_id = (await client.post("/v1/grade", files=study)).json()["result_id"]
    assert {str(path.relative_to(data_dir)) for path in files_below(data_dir)} == {
        f"results/{result_id}/{name}" for name in ("result.json", "segmentation.nii.gz", "image.nii.gz", "source.json")
    }


@pytest.mark.parametrize("kind", ERRORS, ids=lambda kind: kind.__name__)
async def test_every_error_is_a_problem_document_and_leaves_nothing(
    client: httpx.AsyncClient, grader: TruthGrader, study: Parts, data_dir: Path, kind: type[DiscgradeError]
) -> None:
    grader.error = kind("What is wrong.")
    answer = await client.post("/v1/grade", files=study)
    problem = answer.json()
    assert answer.status_code == kind.status == problem["status"]
    assert answer.headers["content-type"] == "application/problem+json"
    assert problem["type"] == kind.problem_type()
    assert problem["title"] == kind.title
    assert problem["detail"] == "What is wrong."
    assert problem["advice"]
    assert problem["request_id"] == answer.headers["x-request-id"]
    assert problem["instance"] == f"urn:discgrade:request:{problem['request_id']}"
    assert files_below(data_dir) == []


async def test_an_unexpected_error_says_nothing_of_itself(
    client: httpx.AsyncClient, grader: TruthGrader, study: Parts, data_dir: Path, logged: list[dict[str, Any]]
) -> None:
    grader.error = RuntimeError(f"cannot handle {PATIENT_WORDS[0]}")
    answer = await client.post("/v1/grade", files=study)
    assert answer.status_code == 500
    assert answer.json()["type"] == "urn:discgrade:problem:internal-error"
    assert PATIENT_WORDS[0] not in answer.text
    (entry,) = [entry for entry in logged if entry["event"] == "request"]
    assert entry["error"].startswith("RuntimeError at ")
    assert "truth.py" in entry["error"]
    assert PATIENT_WORDS[0] not in str(logged)
    assert files_below(data_dir) == []


async def test_a_client_that_leaves_cancels_inference_and_leaves_nothing(
    grader: TruthGrader, study: Parts, data_dir: Path, logged: list[dict[str, Any]]
) -> None:
    grader.hold = asyncio.Event()  # never set
    app = create_app(Settings(data_dir=data_dir), lambda: grader)
    request = httpx.Request("POST", "http://test/v1/grade", files=study)
    body = request.read()
    gone = asyncio.Event()
    sent: list[Message] = []
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Message:
        if messages:
            return messages.pop(0)
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)

    headers = [(name.lower().encode(), value.encode()) for name, value in request.headers.items()]
    async with app.router.lifespan_context(app) as state:
        scope = {
            "type": "http",
            "method": "POST",
            "path": "/v1/grade",
            "query_string": b"",
            "headers": headers,
            "state": dict(state or {}),
        }
        serving = asyncio.create_task(app(scope, receive, send))
        await grader.started.wait()
        assert files_below(data_dir)
        gone.set()
        await serving
        assert grader.cancelled
        assert files_below(data_dir) == []
    (entry,) = [entry for entry in logged if entry["event"] == "request"]
    assert entry["outcome"] == "client-closed-request"
    assert entry["status"] == 499


async def test_studies_are_graded_side_by_side(client: httpx.AsyncClient, grader: TruthGrader, study: Parts) -> None:
    grader.hold = asyncio.Event()
    both = [asyncio.create_task(client.post("/v1/grade", files=study)) for _ in range(2)]
    await grader.started.wait()
    assert (await client.get("/livez")).status_code == 200
    metrics = (await client.get("/metrics")).text
    assert "discgrade_grade_in_flight" in metrics
    present = re.search(r'discgrade_admission_slices\{state="present"\} (\d+)', metrics)
    assert present is not None
    assert int(present[1]) > 0
    grader.hold.set()
    answers = await asyncio.gather(*both)
    assert [answer.status_code for answer in answers] == [201, 201]
    assert answers[0].json()["result_id"] != answers[1].json()["result_id"]


async def test_nothing_of_the_patient_leaves_the_upload(
    open_client: OpenClient,
    study: Parts,
    data_dir: Path,
    logged: list[dict[str, Any]],
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.DEBUG)
    broken = [("files", (study[0][1][0], data[1][: len(data[1]) // 2])) for _, data in study]
    async with open_client() as client:
        headers = {"X-Request-ID": PATIENT_WORDS[0]}
        graded = await client.post("/v1/grade", files=study, headers=headers)
        refused = await client.post("/v1/grade", files=broken, headers=headers)
        lost = await client.get(f"/v1/{PATIENT_WORDS[0]}")
        overlay = await client.get(f"/v1/results/{graded.json()['result_id']}/overlay.png")
        metrics = await client.get("/metrics")
    assert (graded.status_code, refused.status_code, lost.status_code) == (201, 422, 404)
    series = graded.json()["input"]["chosen_series"]
    assert series
    names = " ".join(str(path) for path in data_dir.rglob("*"))
    own_logs = " ".join(
        r.getMessage() for r in caplog.records if not r.name.startswith(("httpx", "httpcore", "asyncio"))
    )
    captured = capfd.readouterr()
    texts = {
        "answer": graded.text,
        "refusal": refused.text + lost.text,
        "headers": str([answer.headers for answer in (graded, refused, lost, overlay)]),
        "picture": overlay.content.decode("latin-1"),
        "metrics": metrics.text,
        "logs": str(logged),
        "library logs": own_logs,
        "output": captured.out + captured.err,
        "file names": names,
    }
    for place, text in texts.items():
        for word in PATIENT_WORDS:
            assert word not in text, f"{word} is in {place}"
        if place != "answer":  # the contract names the series there, and only there
            assert series not in text, f"a UID is in {place}"
