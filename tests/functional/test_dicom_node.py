"""A node between dcmtk's ``storescu``, a real gateway with tritonserver, and a real Orthanc."""

from __future__ import annotations

import io
import json
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import highdicom
import httpx
import numpy as np
import pytest
from pydicom import Dataset, dcmread

from gateway.embedded import EmbeddedTriton
from tests.support.crashing_node import MOMENTS
from tests.support.dicom_results import lps_of_nifti, same_places
from tests.support.orthanc import Orthanc, running_orthanc
from tests.support.pacs import until
from tests.support.processes import ROOT, Command, free_port
from tests.support.severed import severed
from training.phantom import PhantomSpec, make_phantom, write_dicom

pytestmark = [
    pytest.mark.functional,
    pytest.mark.skipif(shutil.which("storescu") is None, reason="Debian's package dcmtk is not installed"),
]

_NODE = """
port = {port}
metrics_port = {metrics}
gateway_url = "{gateway}"
data_dir = "node"
quiet_seconds = 0.5
interrupted_seconds = 3600
min_free_bytes = 0
[callers.SCANNER]
destinations = ["pacs"]
[callers.WEB]
destinations = ["web"]
[destinations.pacs]
kind = "c-store"
ae_title = "ORTHANC"
host = "127.0.0.1"
port = {dicom_port}
timeout_seconds = 5
first_retry_seconds = 0.2
longest_retry_seconds = 1
[destinations.web]
kind = "stow-rs"
url = "{dicomweb}"
first_retry_seconds = 0.2
longest_retry_seconds = 1
"""


@pytest.fixture(scope="module")
def gateway(triton: EmbeddedTriton, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("gateway")
    command = Command("serve", "--port", "0", "--data-dir", str(folder), "--triton-url", triton.url)
    try:
        yield command.url
    finally:
        command.kill()


@pytest.fixture(scope="module")
def orthanc() -> Iterator[Orthanc]:
    with running_orthanc() as server:
        yield server


@dataclass
class Place:
    """Where a node runs, and with which study."""

    config: Path
    port: int
    metrics: str
    study: Path
    study_uid: str
    orthanc: Orthanc

    def push(self, calling: str = "SCANNER", *options: str) -> int:
        """Send the study as a device does; what storescu said."""
        command = ["storescu", "-aet", calling, "-aec", "DISCGRADE", "+sd", *options, "127.0.0.1", str(self.port)]
        return subprocess.run([*command, str(self.study)], capture_output=True, timeout=120).returncode

    def node(self) -> Command:
        command = Command("dicom-node", "--config", str(self.config))
        until(lambda: self.listens() or command.process.poll() is not None)
        assert command.process.poll() is None, "".join(command.log)
        return command

    def die(self, moment: str, *, push: bool) -> bool:
        """Run a node that is killed at a moment; whether by then all of the study was answered with Success."""
        command = [sys.executable, "-m", "tests.support.crashing_node", str(self.config), moment]
        process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)
        try:
            until(lambda: self.listens() or process.poll() is not None)
            pushed = not push or self.push() == 0  # a device repeats what was not answered
            assert process.wait(60) == -signal.SIGKILL, moment
            return pushed
        finally:
            process.kill()
            process.wait()

    def listens(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port)).close()
        except OSError:
            return False
        return True

    def metric(self, line: str) -> float:
        page = httpx.get(self.metrics, trust_env=False).text
        found = re.search(rf"^discgrade_node_{re.escape(line)} (\S+)$", page, re.MULTILINE)
        return float(found[1]) if found else 0.0

    def results(self) -> dict[str, list[Dataset]]:
        """What Orthanc has of the study, by modality, found by QIDO-RS and read by WADO-RS."""
        found: dict[str, list[Dataset]] = {}
        for series in self.orthanc.qido(f"studies/{self.study_uid}/series"):
            uid = series["0020000E"]["Value"][0]
            for instance in self.orthanc.qido(f"studies/{self.study_uid}/series/{uid}/instances"):
                path = f"studies/{self.study_uid}/series/{uid}/instances/{instance['00080018']['Value'][0]}"
                answer = httpx.get(f"{self.orthanc.dicomweb}/{path}", trust_env=False).raise_for_status()
                start = answer.content.index(b"\r\n\r\n") + 4
                found.setdefault(series["00080060"]["Value"][0], []).append(dcmread(io.BytesIO(answer.content[start:])))
        return found

    def is_done(self) -> bool:
        """Whether Orthanc has one of each at least, and nothing waits for it."""
        held = {series["00080060"]["Value"][0] for series in self.orthanc.qido(f"studies/{self.study_uid}/series")}
        return held >= {"SEG", "SR", "OT"} and self.metric('outbox{destination="pacs",state="waiting"}') == 0


@pytest.fixture
def place(tmp_path: Path, gateway: str, orthanc: Orthanc, request: pytest.FixtureRequest) -> Place:
    study = tmp_path / "study"
    patient = "Phantom^Node", f"NODE-{request.node.name}"[:60]
    files = write_dicom(make_phantom(PhantomSpec(slices=3, matrix=(384, 384))), study, patient=patient)
    port, metrics, config = free_port(), free_port(), tmp_path / "dicom-node.toml"
    addresses = {"gateway": gateway, "dicom_port": orthanc.dicom_port, "dicomweb": orthanc.dicomweb}
    config.write_text(_NODE.format(port=port, metrics=metrics, **addresses))
    uid = dcmread(files[0]).StudyInstanceUID
    return Place(config, port, f"http://127.0.0.1:{metrics}/metrics", study, uid, orthanc)


def same_result(held: dict[str, list[Dataset]], gateway: str) -> None:
    """What was read back says what the gateway says: the same voxels, levels and grades."""
    (segmentation,), (report,) = held["SEG"], held["SR"]
    (job,) = [job for job in httpx.get(f"{gateway}/v1/jobs", trust_env=False).json()["jobs"]][:1]
    result = httpx.get(f"{gateway}{job['result_url']}", trust_env=False).json()
    read = highdicom.seg.Segmentation.from_dataset(segmentation)
    numbers = {read.get_segment_description(number).segment_label: number for number in read.segment_numbers}
    assert numbers == {disc["level"]: disc["label"] for disc in result["discs"]}
    labels = httpx.get(f"{gateway}{job['result_url']}/segmentation.nii.gz", trust_env=False).content
    volume = read.get_volume(combine_segments=True)
    for number, places in lps_of_nifti(labels).items():
        assert same_places(volume.map_indices_to_reference(np.argwhere(volume.array == number)), places)
    content = cast(highdicom.sr.MeasurementReport, highdicom.sr.Comprehensive3DSR.from_dataset(report).content)
    groups = content.get_volumetric_roi_measurement_groups()
    grades = [
        cast(highdicom.sr.CodedConcept, evaluation.value).value
        for group in groups
        for evaluation in group.get_qualitative_evaluations()
        if evaluation.name.value == "PFIRRMANN"
    ]
    roman = {"I": 1, "II": 2, "III": 3, "IV": 4, "V": 5}
    assert sorted(grades) == sorted(f"PFIRRMANN-{roman[disc['pfirrmann']]}" for disc in result["discs"])
    assert len(grades) >= 5


def test_a_study_is_pushed_graded_and_found_in_the_pacs(place: Place, gateway: str) -> None:
    node = place.node()
    try:
        echo = ["echoscu", "-aet", "SCANNER", "-aec", "DISCGRADE", "127.0.0.1", str(place.port)]
        assert subprocess.run(echo, timeout=60).returncode == 0
        assert place.push() == 0
        until(place.is_done)
        same_result(place.results(), gateway)
        assert place.push("STRANGER") != 0
        until(lambda: place.metric('associations_total{caller="unknown",outcome="rejected-calling"}') == 1)
        assert node.stop() == 0
    finally:
        node.kill()
    log = "".join(node.log)
    for word in ("Phantom", "NODE-", place.study_uid):
        assert word not in log


def test_results_go_by_stow_and_wait_for_a_pacs_that_is_away(place: Place, gateway: str) -> None:
    node = place.node()
    try:
        assert place.push("WEB", "-xi") == 0  # implicit little endian
        place.orthanc.kill()
        try:
            until(
                lambda: place.metric('deliveries_total{destination="web",object="report.sr.dcm",outcome="away"}') >= 1
            )
            assert place.metric('outbox{destination="web",state="waiting"}') >= 2
        finally:
            place.orthanc.start()
        until(lambda: place.metric('outbox{destination="web",state="waiting"}') == 0)
        same_result(place.results(), gateway)
    finally:
        node.kill()


def test_a_node_that_is_killed_anywhere_loses_nothing(place: Place, gateway: str) -> None:
    before = len(httpx.get(f"{gateway}/v1/jobs?limit=100", trust_env=False).json()["jobs"])
    pushed = False
    for moment in MOMENTS:
        pushed = place.die(moment, push=not pushed)
    node = place.node()
    try:
        until(place.is_done)
        held = place.results()
        assert {modality: len(items) for modality, items in held.items()} == {"SEG": 1, "SR": 1, "OT": 1}
        same_result(held, gateway)
    finally:
        node.kill()
    after = httpx.get(f"{gateway}/v1/jobs?limit=100", trust_env=False).json()["jobs"]
    assert len(after) == before + 1


def test_a_pacs_that_is_killed_while_it_is_sent_to_gets_one_of_each(place: Place, gateway: str) -> None:
    with severed(place.orthanc) as (port, cut):
        ways = place.config.read_text().replace(f"port = {place.orthanc.dicom_port}", f"port = {port}")
        place.config.write_text(ways)
        node = place.node()
        try:
            assert place.push() == 0
            until(cut.is_set)
            until(place.is_done)
        finally:
            node.kill()
    held = place.results()
    assert [len(held[modality]) for modality in ("SEG", "SR", "OT")] == [1, 1, 1]
    same_result(held, gateway)


def test_the_orthanc_of_the_documentation_routes_to_the_node_and_gets_the_results(
    place: Place, gateway: str, tmp_path: Path
) -> None:
    text = (ROOT / "docs" / "integration.md").read_text()
    (example,), (script,) = (re.findall(rf"```{kind}\n(.*?)```", text, re.DOTALL) for kind in ("json", "lua"))
    (tmp_path / "discgrade.lua").write_text(script)
    options = json.loads(example)
    del options["DicomPort"], options["Plugins"]
    options |= {
        "LuaScripts": [str(tmp_path / "discgrade.lua")],
        "DicomModalities": {"discgrade": ["DISCGRADE", "127.0.0.1", place.port]},
        "StableAge": 1,
    }
    with running_orthanc(options=options) as pacs:
        ways = place.config.read_text().replace(f"port = {place.orthanc.dicom_port}", f"port = {pacs.dicom_port}")
        place.config.write_text(ways.replace("[callers.SCANNER]", "[callers.ORTHANC]"))
        place.orthanc = pacs
        node = place.node()
        try:
            for file in place.study.iterdir():
                pacs.store(file.read_bytes())
            until(place.is_done)
            same_result(place.results(), gateway)
            assert place.metric('instances_total{outcome="stored"}') == len(list(place.study.iterdir()))
        finally:
            node.kill()
