"""SPIDER's own release, in small: read as it was written, and trained on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813 (its own documentation imports it so)
import torch

from discgrade.errors import InconsistentSlices, InvalidRequest, UnreadableFile, UnsupportedFormat
from preprocess.grid import to_grid
from tests.support.spider import small_phantom, write_spider
from tests.support.training import TINY_SEGMENTATION
from training.data import Layout, Spider, folds, open_data
from training.data.spider import tissues
from training.device import Device
from training.phantom import Phantom
from training.segmentation import labels_on_grid, load_slices, train_segmentation


@pytest.fixture(scope="module")
def phantoms() -> list[Phantom]:
    return [small_phantom(seed) for seed in range(3)]


@pytest.fixture(scope="module")
def root(phantoms: list[Phantom], tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("spider")
    write_spider(root, phantoms)
    return root


def test_the_layout_is_recognised(root: Path, phantoms: list[Phantom]) -> None:
    data = open_data(root)
    assert isinstance(data, Spider)
    assert [series.name for series in data.series] == ["1_t2", "2_t2", "3_t2_SPACE"]  # T1 is not used
    assert all(series.masked for series in data.series)
    assert data.patients == ["1", "2", "3"]
    assert [data.gradings["1"][disc].pfirrmann for disc in (1, 2)] == list(phantoms[0].grades[:2])
    made = data.acquisition(data.series[0])
    assert (made.sex, made.scanner, made.field_strength) == ("F", "Siemens Avanto fit", "1.5 T")
    assert [len(fold) for fold in folds(data, 3)] == [1, 1, 1]
    with pytest.raises(UnsupportedFormat, match="layout spider2d"):
        open_data(root, Layout.SPIDER2D)


@pytest.mark.parametrize("number", [0, 1])
def test_images_and_masks_are_where_the_phantom_was(root: Path, phantoms: list[Phantom], number: int) -> None:
    """Stored with turned axes or not, the network grid is that of the phantom itself."""
    series, phantom = open_data(root).series[number], phantoms[number]
    grid, expected = to_grid(series.volume()), to_grid(phantom.volume)
    np.testing.assert_array_equal(grid.pixels, expected.pixels)
    np.testing.assert_allclose(grid.affine, expected.affine, atol=1e-6)
    upright = phantom.labels if phantom.volume.affine[0, 0] > 0 else phantom.labels[::-1]
    np.testing.assert_array_equal(series.labels(), upright)
    assert series.discs().max() == len(phantom.levels)
    lowest, highest = (np.argwhere(series.discs() == disc).mean(0)[1] for disc in (1, len(phantom.levels)))
    assert lowest > highest


def test_slices_share_the_intensity_of_their_series(root: Path) -> None:
    series = open_data(root).series[0]
    grid = to_grid(series.volume())
    slices = load_slices(series, most=2)
    assert len(slices) == 2
    np.testing.assert_array_equal(slices[0].image, grid.pixels[0])
    np.testing.assert_array_equal(slices[1].image, grid.pixels[-1])
    np.testing.assert_array_equal(slices[1].labels, labels_on_grid(series.labels()[-1], grid))


def test_labels_of_the_release_become_tissues() -> None:
    mask = np.array([0, 1, 25, 26, 100, 101, 125, 201, 225, 226])
    assert tissues(mask).tolist() == [0, 2, 2, 0, 3, 2, 2, 1, 1, 0]


def test_damaged_files_are_named(root: Path, phantoms: list[Phantom], tmp_path: Path) -> None:
    write_spider(tmp_path, phantoms[:2])
    (tmp_path / "images" / "1_t2.mha").write_bytes(b"ObjectType = Image\n")
    data = open_data(tmp_path)
    with pytest.raises(UnreadableFile, match=r"1_t2\.mha"):
        data.series[0].volume()
    flat = sitk.GetImageFromArray(np.zeros((4, 4), np.int16))
    sitk.WriteImage(flat, str(tmp_path / "images" / "1_t2.mha"))
    with pytest.raises(UnreadableFile, match="no 3-D grey image"):
        data.series[0].volume()
    sitk.WriteImage(sitk.GetImageFromArray(np.zeros((4, 4, 4), np.int16)), str(tmp_path / "masks" / "2_t2.mha"))
    with pytest.raises(InconsistentSlices, match="2_t2 differ in size"):
        data.series[1].labels()
    (tmp_path / "masks" / "2_t2.mha").unlink()
    assert not open_data(tmp_path).series[1].masked


def test_a_folder_without_series(root: Path, tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "radiological_gradings.csv").write_text((root / "radiological_gradings.csv").read_text())
    with pytest.raises(UnsupportedFormat, match="no sagittal T2 series"):
        open_data(tmp_path)


def test_stages_follow_each_other(root: Path, tmp_path: Path) -> None:
    data = open_data(root)
    first = TINY_SEGMENTATION.stages[0].model_copy(update={"steps": 2, "name": "first"})
    second = first.model_copy(update={"name": "second", "made": True, "pseudo_labels": 1.0, "seed": 1})
    config = TINY_SEGMENTATION.model_copy(update={"stages": (first, second), "slices_per_series": 2})
    made = train_segmentation(data, {"1", "2"}, {"3"}, tmp_path, config, Device.CPU)
    assert made == tmp_path / "second" / "checkpoint.pt"
    state = torch.load(made, weights_only=True)
    assert state["step"] == 2
    assert "disc_dice" in state["history"][-1]["validation"]
    with pytest.raises(InvalidRequest, match="No patient to train on"):
        train_segmentation(data, {"9"}, set(), tmp_path / "nobody", config, Device.CPU)
