"""A study at a real Orthanc, graded by reference with a real tritonserver through every door, as if it were sent."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pydicom
import pytest

from discgrade.client import Client
from discgrade.dicomweb import DicomwebReference
from discgrade.grpc_client import GrpcClient
from discgrade.job import JobState
from discgrade.result import GradingResult
from gateway.embedded import EmbeddedTriton
from tests.support.orthanc import running_orthanc
from tests.support.processes import ROOT, Command
from tests.support.studies import write_study
from training.phantom import PhantomSpec, make_phantom

pytestmark = pytest.mark.functional


def test_a_study_by_reference_is_the_study(
    triton: EmbeddedTriton, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = write_study(make_phantom(PhantomSpec(slices=3, matrix=(384, 384))), tmp_path / "study", "dicom")
    first = pydicom.dcmread(files[0], stop_before_pixels=True)
    study = DicomwebReference(server="pacs", study_uid=str(first.StudyInstanceUID))
    series = study.model_copy(update={"series_uid": str(first.SeriesInstanceUID)})
    with running_orthanc() as orthanc:
        for path in files:
            orthanc.store(path.read_bytes())
        (tmp_path / "dicomweb.toml").write_text(f'[pacs]\nurl = "{orthanc.dicomweb}"\n')
        monkeypatch.setenv("DISCGRADE_DICOMWEB_FILE", str(tmp_path / "dicomweb.toml"))
        monkeypatch.setenv("DISCGRADE_TRITON_URL", triton.url)
        server = Command("serve", "--port", "0", "--grpc-port", "0", "--data-dir", str(tmp_path / "data"))
        try:
            with Client(server.url) as client:
                sent, named = client.grade(files), client.grade(study)
                job = client.wait(client.submit(series).job_id)
                assert job.state is JobState.SUCCEEDED
                assert job.result_id is not None
                queued = client.result(job.result_id)
            (listening,) = server.entries("listening for gRPC")
            with GrpcClient(str(listening["target"])) as client_of_grpc:
                over_grpc = client_of_grpc.grade(series)
        finally:
            server.stop()
        done = subprocess.run(
            [
                sys.executable,
                "-c",
                "from discgrade.cli import app; app()",
                "grade",
                "--dicomweb",
                "pacs",
                "--json",
                "--study",
                study.study_uid,
                "--out",
                str(tmp_path / "out"),
            ],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
        at_the_command_line = GradingResult.model_validate(json.loads(done.stdout))
    for result in (named, queued, over_grpc, at_the_command_line):
        assert result.discs == sent.discs
        assert result.input.chosen_series == sent.input.chosen_series
    assert len(sent.discs) >= 5
    log = "".join(server.log)
    assert study.study_uid not in log
    assert str(series.series_uid) not in log
