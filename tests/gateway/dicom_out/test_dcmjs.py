"""Segmentation and report as dcmjs reads them, which OHIF's viewer stands on; no code of ours or of DCMTK is in it."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.sr.codedict import codes

from discgrade.result import Pfirrmann
from tests.support.dicom_results import DicomResult, lps_of_nifti, same_places

READER = Path(__file__).parents[2] / "dcmjs"


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The reader with its packages."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("npm is not installed")
    folder = tmp_path_factory.mktemp("reader") / "dcmjs"
    shutil.copytree(READER, folder, ignore=shutil.ignore_patterns("node_modules"))
    command = [npm, "ci", "--no-audit", "--no-fund", "--prefer-offline", "--ignore-scripts"]
    if subprocess.run(command, cwd=folder, capture_output=True, timeout=300).returncode != 0:
        pytest.skip("npm cannot fetch the packages of tests/dcmjs/package-lock.json")
    return folder


def test_dcmjs_finds_every_voxel_and_every_grade(graded: DicomResult, reader: Path, tmp_path: Path) -> None:
    (tmp_path / "seg.dcm").write_bytes(graded.segmentation)
    (tmp_path / "sr.dcm").write_bytes(graded.report)
    command = ["node", "read.mjs", str(tmp_path / "seg.dcm"), str(tmp_path / "sr.dcm")]
    done = subprocess.run(command, cwd=reader, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    read: dict[str, Any] = json.loads(done.stdout)
    expected = lps_of_nifti(graded.artefacts["segmentation.nii.gz"])
    discs = {disc.label: disc for disc in graded.result.discs}
    assert {int(number) for number in read["segments"]} == set(discs)
    for number, segment in read["segments"].items():
        level = discs[int(number)].level
        assert segment["label"] == (f"Disc {number}, level unknown" if level == "unknown" else level)
        assert same_places(np.array(segment["places"]), expected[int(number)])
    assert len(read["groups"]) == len(discs)
    for disc, group in zip(graded.result.discs, read["groups"], strict=True):
        assert group["Referenced Segment"] == disc.label
        assert (group["Height"], group["Area"], group.get("Volume")) == (disc.height_mm, disc.area_mm2, disc.volume_mm3)
        assert group["Severity"] == getattr(codes.SCT, disc.severity.value.capitalize()).value
        assert group["Pfirrmann grade"] == f"PFIRRMANN-{list(Pfirrmann).index(disc.pfirrmann) + 1}"
