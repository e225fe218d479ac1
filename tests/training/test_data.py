from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from discgrade.errors import InvalidRequest, UnreadableFile, UnsupportedFormat
from training.data import Layout, Spider2d, folds, open_data, reference_split, split_patients
from training.data.gradings import read_gradings
from training.data.series import number_discs
from training.segmentation import load_slices


def test_patients_are_split_whole_and_the_same_every_time(spider2d: Path) -> None:
    data = Spider2d(spider2d)
    training, validation = split_patients(data)
    assert not training & validation
    assert training | validation == set(data.patients)
    assert split_patients(Spider2d(spider2d)) == (training, validation)
    masked = {series.patient for series in data.masked}
    assert 0.1 < len(validation & masked) / len(masked) < 0.3


def test_every_patient_is_held_out_in_one_fold(spider2d: Path) -> None:
    data = open_data(spider2d)
    masked = {series.patient for series in data.masked}
    groups = folds(data)
    assert sorted(patient for group in groups for patient in group) == sorted(data.patients)
    assert groups[0] == split_patients(data)[1]
    shares = [len(group & masked) for group in groups]
    assert max(shares) - min(shares) <= 1
    with pytest.raises(InvalidRequest, match="1 folds"):
        folds(data, 1)


@pytest.mark.parametrize("seed", range(5))
def test_the_reference_protocol_draws_300_72_94_discs_by_patient(spider2d: Path, seed: int) -> None:
    data = open_data(spider2d)
    split = reference_split(data, seed)
    parts = (split.training, split.validation, split.test)
    assert [sum(map(len, part.values())) for part in parts] == [300, 72, 94]
    patients = [patient for part in parts for patient in part]
    assert len(patients) == len(set(patients))
    assert all(number <= 5 for part in parts for discs in part.values() for number in discs)
    masked = {series.patient for series in data.masked}
    assert all(len(masked & set(part)) >= 4 for part in parts)
    assert reference_split(data, seed) == split


def test_masks_land_on_their_image(spider2d: Path) -> None:
    """The canal is brighter than the discs beside it, in every masked slice on the grid."""
    for series in Spider2d(spider2d).masked[:6]:
        for item in load_slices(series)[::4]:
            canal, disc = item.image[item.labels == 3], item.image[item.labels == 1]
            assert np.percentile(canal, 75) > np.median(disc)


def test_a_second_observers_discs_lie_between_the_vertebrae(spider2d: Path) -> None:
    data = Spider2d(spider2d)
    outlined = [series for series in data.series if data.outlined(series) is not None]
    assert {series.masked for series in outlined} == {True, False}
    assert {series.patient for series in outlined} <= split_patients(data)[1]
    for series in outlined:
        discs = data.outlined(series)
        assert discs is not None
        assert discs.shape == series.volume().array.shape
        rows = [float(np.argwhere(discs == number)[:, 1].mean()) for number in np.unique(discs)[1:]]
        assert rows == sorted(rows, reverse=True)  # numbered from the bottom
        if series.masked:
            masks = series.labels()
            inside = masks[discs > 0]
            assert (inside == 1).mean() > 0.7
            assert (inside == 3).mean() < 0.02


def test_discs_are_numbered_from_the_bottom() -> None:
    labels = np.zeros((3, 60, 40), np.uint8)
    for top in (5, 25, 45):
        labels[1, top : top + 8, 5:30] = 1
    labels[0, 45:53, 5:20] = 1  # the lowest disc goes on in the next slice
    labels[2, 2, 2] = 1  # a speck
    numbers = number_discs(labels, (4.0, 0.5, 0.5))
    assert [int(numbers[1, row, 10]) for row in (48, 28, 8)] == [1, 2, 3]
    assert int(numbers[0, 48, 10]) == 1
    assert numbers[2].max() == 0


def table(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "gradings.csv"
    path.write_text(text, encoding="utf-8")
    return path


RELEASE = (
    *("Patient", "IVD label", "Modic", "UP endplate", "LOW endplate", "Spondylolisthesis "),
    *("Disc herniation", "Disc narrowing", "Disc bulging", "Pfirrman grade"),
)
SPIDER2D = (
    *("patient", "ivd_label", "modic", "upper_endplate", "lower_endplate", "spondylolisthesis"),
    *("disc_herniation", "disc_narrowing", "disc_bulging", "pfirrmann"),
)


@pytest.mark.parametrize(
    "header",
    [",".join(SPIDER2D), ",".join(RELEASE), "\ufeff" + ";".join(RELEASE)],
    ids=["spider2d", "release", "semicolons"],
)
def test_gradings_of_both_layouts(header: str, tmp_path: Path) -> None:
    mark = ";" if ";" in header else ","
    rows = ["1,1,2,0,1,0,0,1,1,4", "1,2,0,0,0,0,,0,1,", "1,0,0,0,0,0,0,0,0,1", "2.0,1.0,0,0,0,0,0,0,0,9"]
    graded = read_gradings(table(tmp_path, "\n".join([header, *(row.replace(",", mark) for row in rows)])))
    assert graded["1"].keys() == {1, 2}  # the disc below L5/S1 is left out
    assert graded["1"][1].pfirrmann == 4
    assert graded["1"][1].findings["modic"]
    assert graded["1"][2].pfirrmann is None
    assert "herniation" not in graded["1"][2].findings
    assert graded["2"][1].pfirrmann is None  # there is no grade 9


def test_a_table_that_is_something_else(tmp_path: Path) -> None:
    with pytest.raises(UnreadableFile, match="no column for disc, pfirrmann"):
        read_gradings(table(tmp_path, "patient,colour\n1,red\n"))
    with pytest.raises(UnreadableFile, match="cannot be read"):
        read_gradings(tmp_path / "none.csv")
    (tmp_path / "bytes.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UnreadableFile, match="cannot be read"):
        read_gradings(tmp_path / "bytes.csv")


def test_a_folder_of_neither_layout(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedFormat, match="spider2d or spider"):
        open_data(tmp_path)
    with pytest.raises(UnsupportedFormat, match="layout spider"):
        open_data(tmp_path, Layout.SPIDER)
