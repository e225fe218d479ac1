from __future__ import annotations

import gzip

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from gateway.nifti_out import grey_image, label_image
from preprocess.volume import Volume

TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


@st.composite
def affines(draw: st.DrawFn) -> NDArray[np.float64]:
    angles = [draw(st.floats(-180, 180)) for _ in range(3)]
    spacing = [draw(st.floats(0.3, 6)) for _ in range(3)]
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", angles, degrees=True).as_matrix() * spacing
    affine[:3, 3] = [draw(st.floats(-300, 300)) for _ in range(3)]
    if draw(st.booleans()):
        affine[:3, 0] *= -1
    return affine


def labels() -> NDArray[np.uint8]:
    return np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4)


@given(affine=affines(), slices_first=st.booleans())
def test_every_voxel_stays_where_it_is_in_the_patient(affine: NDArray[np.float64], slices_first: bool) -> None:
    image = nib.Nifti1Image.from_bytes(gzip.decompress(label_image(labels(), affine, slices_first=slices_first)))
    data = np.asarray(image.dataobj)
    assert data.shape == ((4, 3, 2) if slices_first else (2, 3, 4))
    for index in np.ndindex(2, 3, 4):
        there = index[::-1] if slices_first else index
        assert data[there] == labels()[index]
        np.testing.assert_allclose(image.affine @ [*there, 1], TO_RAS @ affine @ [*index, 1], atol=1e-3)
    # The qform keeps three of four quaternion elements in single precision: near half a turn it is 0.0012 rad off.
    np.testing.assert_allclose(image.get_qform(), image.affine, atol=0.0012 * 6)


def test_the_form_codes_and_units_are_set() -> None:
    image = nib.Nifti1Image.from_bytes(gzip.decompress(label_image(labels(), np.eye(4), slices_first=True)))
    assert (int(image.header["sform_code"]), int(image.header["qform_code"])) == (1, 1)
    assert image.header.get_xyzt_units()[0] == "mm"
    assert image.get_data_dtype() == np.uint8


def test_the_same_labels_give_the_same_bytes() -> None:
    first, second = (label_image(labels(), np.eye(4), slices_first=False) for _ in range(2))
    assert first == second


@given(
    affine=affines(),
    slices_first=st.booleans(),
    values=st.one_of(
        arrays(np.float32, (2, 3, 4), elements=st.integers(-32768, 65535)),
        arrays(np.float32, (2, 3, 4), elements=st.floats(-(2.0**100), 2.0**100, width=32)),
    ),
)
def test_every_pixel_that_was_graded_is_there_beside_its_label(
    affine: NDArray[np.float64], slices_first: bool, values: NDArray[np.float32]
) -> None:
    packed = grey_image(Volume(values, affine), slices_first=slices_first)
    image = nib.Nifti1Image.from_bytes(gzip.decompress(packed))
    data = np.asarray(image.dataobj)
    np.testing.assert_array_equal(data.transpose(2, 1, 0) if slices_first else data, values)
    beside = nib.Nifti1Image.from_bytes(gzip.decompress(label_image(labels(), affine, slices_first=slices_first)))
    np.testing.assert_array_equal(image.affine, beside.affine)


@pytest.mark.parametrize(
    ("low", "high", "kind"),
    [
        (0, 4095, "int16"),
        (-32768, 32767, "int16"),
        (0, 32768, "uint16"),
        (0, 65535, "uint16"),
        (0, 65536, "float32"),
        (-1, 32768, "float32"),
        (0, 0.5, "float32"),
    ],
)
def test_pixels_take_the_least_room_they_need(low: float, high: float, kind: str) -> None:
    values = np.array([low, high], np.float32).reshape(1, 2, 1)
    image = nib.Nifti1Image.from_bytes(gzip.decompress(grey_image(Volume(values, np.eye(4)), slices_first=True)))
    assert image.get_data_dtype() == np.dtype(kind)
    np.testing.assert_array_equal(np.asarray(image.dataobj).ravel(), [low, high])


def test_a_sheared_nifti_keeps_its_exact_sform() -> None:
    affine = np.eye(4)
    affine[0, 1] = 0.2
    image = nib.Nifti1Image.from_bytes(gzip.decompress(label_image(labels(), affine, slices_first=False)))
    np.testing.assert_allclose(image.get_sform(), TO_RAS @ affine, atol=1e-6)
    assert image.affine == pytest.approx(TO_RAS @ affine)
