"""``discgrade serve`` that de-identifies, with a real tritonserver: the same grades, and the patient nowhere."""

from __future__ import annotations

from pathlib import Path

import pydicom
import pytest

from discgrade.client import Client
from discgrade.job import JobState
from gateway.embedded import EmbeddedTriton
from tests.support.processes import Command
from tests.support.studies import PATIENT_WORDS, write_study
from training.phantom import PhantomSpec, make_phantom

pytestmark = pytest.mark.functional


def test_grades_are_the_same_and_the_patient_is_nowhere(
    triton: EmbeddedTriton, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = write_study(make_phantom(PhantomSpec(slices=3, matrix=(384, 384))), tmp_path / "study", "dicom")
    first = pydicom.dcmread(files[0], stop_before_pixels=True)
    words = [*PATIENT_WORDS, first.StudyInstanceUID, first.SeriesInstanceUID, first.FrameOfReferenceUID]
    (scratch := tmp_path / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(scratch))
    monkeypatch.setenv("DISCGRADE_TRITON_URL", triton.url)
    discs = {}
    for mode in ("off", "basic"):
        data_dir = tmp_path / mode
        server = Command(
            "serve", "--port", "0", "--data-dir", str(data_dir), environment={"DISCGRADE_DEIDENTIFY": mode}
        )
        try:
            with Client(server.url) as client:
                result = client.grade(files)
                job = client.wait(client.submit(files).job_id)
                assert job.state is JobState.SUCCEEDED
                assert job.result_id is not None
                assert client.result(job.result_id).discs == result.discs
                made = [client.dicom_segmentation(result.result_id), client.dicom_report(result.result_id)]
        finally:
            server.stop()
        discs[mode] = result.discs
        kept = [path.read_bytes() for folder in (data_dir, scratch) for path in folder.rglob("*") if path.is_file()]
        everything = [*made, *kept, "".join(server.log).encode(), result.model_dump_json().encode()]
        found = {word for word in words for content in everything if word.encode() in content}
        assert bool(found) == (mode == "off"), found
    assert discs["off"] == discs["basic"]
