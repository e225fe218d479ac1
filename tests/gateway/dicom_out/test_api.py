"""The objects over HTTP, kept with their result, and why there may be none."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import pydicom
import pytest
from PIL import Image

from gateway.storage import LocalStorage
from preprocess.quiet import quiet
from tests.gateway.conftest import OpenClient, Parts
from tests.support.dicom_results import parsed
from tests.support.studies import PATIENT_WORDS, write_study
from training.phantom import Phantom

NAMES = ("segmentation.dcm", "report.sr.dcm", "overlay.dcm", "report.pdf.dcm")


async def graded(client: httpx.AsyncClient, study: Parts) -> str:
    answer = await client.post("/v1/grade", files=study)
    assert answer.status_code == 201
    return str(answer.json()["result_id"])


@pytest.mark.parametrize("name", NAMES)
async def test_they_are_answered_and_stay_as_they_were(
    client: httpx.AsyncClient, study: Parts, data_dir: Path, name: str
) -> None:
    result_id = await graded(client, study)
    first = await client.get(f"/v1/results/{result_id}/{name}")
    assert first.status_code == 200
    assert first.headers["content-type"] == "application/dicom"
    assert str(parsed(first.content).PatientName) == f"{PATIENT_WORDS[0]}^{PATIENT_WORDS[1]}"
    folder = data_dir / "results" / result_id
    assert name in {path.name for path in folder.iterdir()}
    (folder / "source.json").unlink()  # what is kept is not made again
    again = await client.get(f"/v1/results/{result_id}/{name}")
    assert again.content == first.content


async def test_the_same_study_graded_again_has_the_same_objects(client: httpx.AsyncClient, study: Parts) -> None:
    ids = [await graded(client, study), await graded(client, study[::-1])]
    for name in NAMES:
        one, other = [(await client.get(f"/v1/results/{result_id}/{name}")).content for result_id in ids]
        assert one == other


@pytest.mark.parametrize("name", NAMES)
async def test_a_nifti_study_has_none_and_the_answer_says_why(
    client: httpx.AsyncClient, phantom: Phantom, tmp_path: Path, name: str
) -> None:
    (path,) = write_study(phantom, tmp_path, "nifti")
    result_id = await graded(client, [("files", ("x", path.read_bytes()))])
    answer = await client.get(f"/v1/results/{result_id}/{name}")
    assert answer.status_code == 404
    assert "NIfTI" in answer.json()["detail"]


async def test_a_nifti_study_has_pictures(client: httpx.AsyncClient, phantom: Phantom, tmp_path: Path) -> None:
    (path,) = write_study(phantom, tmp_path, "nifti")
    result_id = await graded(client, [("files", ("x", path.read_bytes()))])
    for name, kind in (("overlay.png", "image/png"), ("report.pdf", "application/pdf")):
        answer = await client.get(f"/v1/results/{result_id}/{name}")
        assert (answer.status_code, answer.headers["content-type"]) == (200, kind)


@pytest.mark.parametrize("name", ["overlay.png", "report.pdf", "overlay.dcm", "report.pdf.dcm"])
async def test_a_result_kept_without_its_image_has_no_pictures(
    client: httpx.AsyncClient, study: Parts, data_dir: Path, name: str
) -> None:
    result_id = await graded(client, study)
    (data_dir / "results" / result_id / "image.nii.gz").unlink()
    answer = await client.get(f"/v1/results/{result_id}/{name}")
    assert answer.status_code == 404
    assert "did not keep the image" in answer.json()["detail"]


async def test_an_overlay_of_an_earlier_version_stays_and_has_its_object(
    client: httpx.AsyncClient, study: Parts, data_dir: Path
) -> None:
    result_id = await graded(client, study)
    folder = data_dir / "results" / result_id
    (folder / "image.nii.gz").unlink()
    pixels = Image.new("RGB", (30, 20), (1, 2, 3))
    pixels.save(folder / "overlay.png")
    dataset = parsed((await client.get(f"/v1/results/{result_id}/overlay.dcm")).content)
    assert dataset.pixel_array.tolist() == [[[1, 2, 3]] * 30] * 20


async def test_a_result_of_an_earlier_version_has_none(client: httpx.AsyncClient, study: Parts, data_dir: Path) -> None:
    result_id = await graded(client, study)
    (data_dir / "results" / result_id / "source.json").unlink()
    answer = await client.get(f"/v1/results/{result_id}/{NAMES[0]}")
    assert answer.status_code == 404
    assert "kept without" in answer.json()["detail"]


def rewritten(study: Parts, **values: Any) -> Parts:
    """The study with other attributes; None removes one."""
    parts = []
    for field, (name, content) in study:
        dataset = parsed(content)
        for keyword, value in values.items():
            if value is None:
                del dataset[keyword]
            else:
                with pydicom.config.disable_value_validation():
                    dataset.add_new(keyword, pydicom.datadict.dictionary_VR(keyword), value)
        file = io.BytesIO()
        with pydicom.config.disable_value_validation():
            dataset.save_as(file, enforce_file_format=False)
        parts.append((field, (name, file.getvalue())))
    return parts


@pytest.mark.parametrize("keyword", ["FrameOfReferenceUID", "StudyInstanceUID", "SeriesInstanceUID"])
@pytest.mark.parametrize("value", [None, "not a uid"])
async def test_objects_that_nothing_can_refer_to_have_none(
    client: httpx.AsyncClient, study: Parts, keyword: str, value: str | None
) -> None:
    result_id = await graded(client, rewritten(study, **{keyword: value}))
    answer = await client.get(f"/v1/results/{result_id}/{NAMES[0]}")
    assert answer.status_code == 404
    assert "lack UIDs" in answer.json()["detail"]
    assert value is None or value not in answer.text


async def test_odd_headers_are_repeated_where_they_identify_and_emptied_where_they_say_nothing(
    client: httpx.AsyncClient, study: Parts, logged: list[dict[str, Any]], caplog: pytest.LogCaptureFixture
) -> None:
    odd = rewritten(
        study,
        PatientID="0123456789" * 8,
        StudyInstanceUID="1.2.003.4",
        PatientBirthDate="1961-02-03",
        PatientSex="Weiblich",
        StudyDate="heute",
        StudyTime="9 Uhr",
        AccessionNumber="longer than sixteen characters",
        ReferringPhysicianName="a=b=c=d^e^f^g^h^i^j",
    )
    result_id = await graded(client, odd)
    for name in NAMES:
        answer = await client.get(f"/v1/results/{result_id}/{name}")
        assert answer.status_code == 200
        dataset = parsed(answer.content)
        with quiet():  # pydicom warns of the long ones
            repeated = dataset.PatientID, dataset.AccessionNumber, dataset.StudyInstanceUID
        assert repeated == ("0123456789" * 8, "longer than sixteen characters", "1.2.003.4")
        emptied = dataset.PatientBirthDate, dataset.PatientSex, dataset.StudyDate, dataset.StudyTime
        assert not any(emptied)
        assert (dataset.ContentDate, dataset.ContentTime) == ("19000101", "000000")
    assert "Weiblich" not in f"{logged}{caplog.text}"


@pytest.mark.parametrize(
    ("charset", "name"),
    [
        ("ISO_IR 100", "Müller^Jürgen"),
        ("ISO_IR 192", "Ωμέγα^Α"),
        (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎=やまだ^たろう"),
    ],
)
async def test_names_in_other_alphabets_stay_as_they_are(
    client: httpx.AsyncClient, study: Parts, charset: Any, name: str
) -> None:
    result_id = await graded(client, rewritten(study, SpecificCharacterSet=charset, PatientName=name))
    dataset = parsed((await client.get(f"/v1/results/{result_id}/{NAMES[0]}")).content)
    assert dataset.SpecificCharacterSet == "ISO_IR 192"
    assert str(dataset.PatientName) == name


async def test_a_deidentified_study_stays_one(client: httpx.AsyncClient, study: Parts) -> None:
    method = pydicom.Dataset()
    method.CodeValue, method.CodingSchemeDesignator = "113100", "DCM"
    method.CodeMeaning = "Basic Application Confidentiality Profile"
    changed = rewritten(study, PatientIdentityRemoved="YES", DeidentificationMethodCodeSequence=[method])
    result_id = await graded(client, changed)
    for name in NAMES:
        dataset = parsed((await client.get(f"/v1/results/{result_id}/{name}")).content)
        assert dataset.PatientIdentityRemoved == "YES"
        assert dataset.DeidentificationMethodCodeSequence == [method]


async def test_a_deleted_result_takes_them_along(client: httpx.AsyncClient, study: Parts, data_dir: Path) -> None:
    result_id = await graded(client, study)
    await client.get(f"/v1/results/{result_id}/{NAMES[0]}")
    assert (await client.delete(f"/v1/results/{result_id}")).status_code == 204
    assert (await client.get(f"/v1/results/{result_id}/{NAMES[0]}")).status_code == 404
    assert not (data_dir / "results" / result_id).exists()


async def test_they_do_not_make_a_result_younger(open_client: OpenClient, study: Parts, data_dir: Path) -> None:
    async with open_client(keep_hours=1) as client:
        result_id = await graded(client, study)
        folder = data_dir / "results" / result_id
        then = time.time() - 3500
        os.utime(folder, (then, then))
        assert (await client.get(f"/v1/results/{result_id}/{NAMES[0]}")).status_code == 200
        assert folder.stat().st_mtime == pytest.approx(then, abs=0.01)
    store = LocalStorage(data_dir, 10, 3400)
    store.sweep()
    store.close()
    assert not folder.exists()


def test_serving_does_not_load_highdicom() -> None:
    code = "import sys, gateway.app, gateway.local; sys.exit('highdicom' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[3], check=False).returncode == 0
