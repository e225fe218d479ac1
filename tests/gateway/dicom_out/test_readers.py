"""Readers and validators that share no code with what wrote the objects."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK
from dicom_validator.validator.dicom_info import DicomInfo
from pydicom import Dataset

from discgrade.result import Pfirrmann
from tests.support.dicom_results import DicomResult, lps_of_nifti, parsed, same_places
from tests.support.dicom_standard import errors_of, standard


@pytest.fixture
def written(graded: DicomResult, tmp_path: Path) -> dict[str, Path]:
    """The objects as files."""
    files = {"seg": tmp_path / "seg.dcm", "sr": tmp_path / "sr.dcm"}
    files["seg"].write_bytes(graded.segmentation)
    files["sr"].write_bytes(graded.report)
    return files


def run(*command: str | Path) -> str:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=120)
    output = done.stdout + done.stderr
    assert done.returncode == 0, output
    return output


def dcmqi(name: str) -> Path:
    package = pytest.importorskip("dcmqi", reason="dcmqi has no wheel for this machine")
    return Path(package.__file__).parent / "bin" / name


def places_of(image: SimpleITK.Image, label: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """Voxels of a label, mm LPS: ITK's own frame."""
    voxels = np.argwhere(SimpleITK.GetArrayFromImage(image) == label)[:, ::-1]
    return np.array([image.TransformIndexToPhysicalPoint([int(i) for i in voxel]) for voxel in voxels])


def test_dcmqi_finds_every_voxel_where_simpleitk_sees_it_in_the_source(
    graded: DicomResult, written: dict[str, Path], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    said = run(dcmqi("segimage2itkimage"), "--inputDICOM", written["seg"], "--outputDirectory", out, "-t", "nrrd")
    assert not [line for line in said.splitlines() if line.startswith(("W:", "E:"))]
    expected = lps_of_nifti(graded.artefacts["segmentation.nii.gz"])
    described = json.loads((out / "meta.json").read_text())["segmentAttributes"]
    assert len(described) == len(expected)
    for (segment,) in described:
        image = SimpleITK.ReadImage(out / f"{segment['labelID']}.nrrd")
        found = places_of(SimpleITK.Cast(image != 0, SimpleITK.sitkUInt8), 1)
        assert same_places(found, expected[segment["labelID"]], within_mm=0.01)
    if graded.name in ("multiframe", "one-slice"):
        return  # GDCM in ITK takes slice spacing of these from tags, not from positions
    series = SimpleITK.ImageSeriesReader()
    series.SetFileNames(series.GetGDCMSeriesFileNames(str(graded.files[0].parent)))
    source = series.Execute()
    assert image.GetSize() == source.GetSize()
    assert image.GetSpacing() == pytest.approx(source.GetSpacing(), abs=1e-4)
    # The same grid, whichever way ITK chose to run through its slices.
    corners = [
        sorted(one.TransformIndexToPhysicalPoint([0, 0, k]) for k in range(one.GetDepth())) for one in (image, source)
    ]
    assert np.allclose(corners[0], corners[1], atol=0.01)


def test_dcmqi_finds_every_grade_in_the_report(graded: DicomResult, written: dict[str, Path], tmp_path: Path) -> None:
    out = tmp_path / "sr.json"
    run(dcmqi("tid1500reader"), "--inputDICOM", written["sr"], "--outputMetadata", out)
    read = json.loads(out.read_text())
    assert len(read["Measurements"]) == len(graded.result.discs)
    for disc, group in zip(graded.result.discs, read["Measurements"], strict=True):
        assert group["ReferencedSegment"] == disc.label
        named = disc.level != "unknown"
        assert group["TrackingIdentifier"] == f"disc {disc.level if named else disc.label}"
        assert group["FindingSite"]["CodeMeaning"] == (f"{disc.level} disc" if named else "Lumbar spine")
        values = {item["quantity"]["CodeMeaning"]: float(item["value"]) for item in group["measurementItems"]}
        assert values["Height"] == disc.height_mm
        assert values["Area"] == disc.area_mm2
        assert values.get("Volume") == disc.volume_mm3
        evaluations = {
            item["conceptCode"]["CodeMeaning"]: item["conceptValue"] for item in group["qualitativeEvaluations"]
        }
        assert evaluations["Severity"]["CodeMeaning"].lower() == disc.severity
        number = list(Pfirrmann).index(disc.pfirrmann) + 1
        assert evaluations["Pfirrmann grade"]["CodeValue"] == f"PFIRRMANN-{number}"


@pytest.fixture(scope="module")
def dicom_standard() -> DicomInfo:
    return standard()


def test_dicom_validator_has_no_error(graded: DicomResult, dicom_standard: DicomInfo) -> None:
    assert errors_of(parsed(graded.segmentation), dicom_standard) == []
    assert errors_of(parsed(graded.report), dicom_standard) == []


def without_property_type(segmentation: Dataset) -> None:
    del segmentation.SegmentSequence[0].SegmentedPropertyTypeCodeSequence


def without_segment_of_a_frame(segmentation: Dataset) -> None:
    for groups in segmentation.PerFrameFunctionalGroupsSequence:
        groups.pop("SegmentIdentificationSequence", None)
    segmentation.SharedFunctionalGroupsSequence[0].pop("SegmentIdentificationSequence", None)


def without_algorithm(segmentation: Dataset) -> None:
    del segmentation.SegmentSequence[0].SegmentAlgorithmName  # wanted unless the type is MANUAL


def without_verification(report: Dataset) -> None:
    del report.VerificationFlag


def with_a_code_that_has_none(report: Dataset) -> None:
    code = next(item for item in items_of(report) if item.ValueType == "CODE")
    del code.ConceptCodeSequence


def with_a_number_that_is_text(report: Dataset) -> None:
    number = next(item for item in items_of(report) if item.ValueType == "NUM")
    number.ValueType = "TEXT"


def items_of(dataset: Dataset) -> Iterator[Dataset]:
    """Every content item of a report."""
    for item in dataset.get("ContentSequence", ()):
        yield item
        yield from items_of(item)


@pytest.mark.parametrize(
    "damage", [without_property_type, without_segment_of_a_frame, without_algorithm], ids=lambda damage: damage.__name__
)
def test_dicom_validator_would_tell_of_a_segmentation(
    classic: DicomResult, dicom_standard: DicomInfo, damage: Callable[[Dataset], None]
) -> None:
    segmentation = parsed(classic.segmentation)
    damage(segmentation)
    assert errors_of(segmentation, dicom_standard) != []


@pytest.mark.parametrize(
    "damage",
    [without_verification, with_a_code_that_has_none, with_a_number_that_is_text],
    ids=lambda damage: damage.__name__,
)
def test_dicom_validator_would_tell_of_a_report(
    classic: DicomResult, dicom_standard: DicomInfo, damage: Callable[[Dataset], None]
) -> None:
    report = parsed(classic.report)
    damage(report)
    assert errors_of(report, dicom_standard) != []


@pytest.mark.parametrize("kind", ["seg", "sr"])
def test_dciodvfy_has_no_error(written: dict[str, Path], kind: str) -> None:
    program = shutil.which("dciodvfy")
    if program is None:
        pytest.skip("dciodvfy is not here: install Debian's dicom3tools")
    said = subprocess.run([program, str(written[kind])], capture_output=True, text=True, timeout=60).stderr
    assert {"seg": "Segmentation", "sr": "Comprehensive3DSR"}[kind] in said
    assert [line for line in said.splitlines() if line.startswith(("Error", "Abort"))] == []
    # A private scheme cannot be known to it; anything else would be news.
    warnings = [line for line in said.splitlines() if line.startswith("Warning")]
    assert [line for line in warnings if "Coding Scheme" not in line] == []


def test_dciodvfy_would_tell(written: dict[str, Path], tmp_path: Path) -> None:
    program = shutil.which("dciodvfy")
    if program is None:
        pytest.skip("dciodvfy is not here: install Debian's dicom3tools")
    dataset = pydicom.dcmread(written["seg"])
    del dataset.SegmentSequence[0].SegmentedPropertyTypeCodeSequence
    dataset.save_as(tmp_path / "bad.dcm")
    said = subprocess.run([program, str(tmp_path / "bad.dcm")], capture_output=True, text=True, timeout=60).stderr
    assert "Error" in said
