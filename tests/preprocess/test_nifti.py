import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nibabel.orientations import axcodes2ornt, inv_ornt_aff, ornt_transform
from numpy.typing import NDArray

from discgrade.errors import (
    ImplausibleSpacing,
    InputError,
    InvalidPixelValues,
    MissingGeometry,
    NoSagittalSeries,
    UnreadableFile,
    UnsafeArchive,
    UnsupportedDimensions,
    UnsupportedFormat,
    UploadTooLarge,
)
from preprocess.limits import Limits
from preprocess.nifti import looks_like_nifti, read_nifti

SHAPE = (5, 40, 36)
RAS = np.array([[4.4, 0.1, 0.0, -9.0], [0.0, 0.7, 0.05, -20.0], [0.0, -0.05, 0.7, 30.0], [0.0, 0.0, 0.0, 1.0]])
TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
CODES = [
    first + second + third
    for first, second, third in (
        order
        for a in "LR"
        for b in "AP"
        for c in "IS"
        for order in ((a, b, c), (a, c, b), (b, a, c), (b, c, a), (c, a, b), (c, b, a))
    )
]


def values(shape: tuple[int, ...] = SHAPE, dtype: Any = np.int16) -> NDArray[Any]:
    result: NDArray[Any] = np.random.default_rng(5).integers(0, 250, shape).astype(dtype)
    return result


def image(data: NDArray[Any] | None = None, affine: NDArray[np.float64] | None = RAS, kind: Any = None) -> Any:
    made = (kind or nibabel.Nifti1Image)(values() if data is None else data, affine)
    made.header.set_xyzt_units("mm")
    return made


def save(made: Any, tmp_path: Path, name: str = "a.nii") -> Path:
    path = tmp_path / name
    nibabel.save(made, path)
    path.rename(tmp_path / "upload")  # names say nothing
    return tmp_path / "upload"


@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int32, np.float32, np.float64])
def test_axes_and_values_are_those_of_the_file(tmp_path: Path, kind: Any, name: str, dtype: Any) -> None:
    data = values(dtype=dtype)
    volume = read_nifti(save(image(data, kind=kind), tmp_path, name), Limits())
    np.testing.assert_array_equal(volume.array, data)
    assert volume.array.dtype == np.float32
    np.testing.assert_allclose(volume.affine, TO_LPS @ RAS, atol=1e-5)


def test_big_endian_files(tmp_path: Path) -> None:
    header = nibabel.Nifti1Header(endianness=">")
    header.set_data_dtype(np.dtype(">i2"))
    made = nibabel.Nifti1Image(values(), RAS, header)
    path = save(made, tmp_path)
    assert path.read_bytes()[:4] == b"\0\0\x01\x5c"
    np.testing.assert_array_equal(read_nifti(path, Limits()).array, values())


@settings(deadline=None, max_examples=48)
@given(codes=st.sampled_from(CODES), voxel=st.tuples(st.integers(0, 4), st.integers(0, 39), st.integers(0, 35)))
def test_axis_orders_and_flips_place_every_voxel_alike(
    tmp_path_factory: pytest.TempPathFactory, codes: str, voxel: tuple[int, int, int]
) -> None:
    data = np.zeros(SHAPE, np.int16)
    data[voxel] = 1
    turn = ornt_transform(axcodes2ornt("RAS"), axcodes2ornt(tuple(codes)))
    turned = image(data).as_reoriented(turn)
    volume = read_nifti(save(turned, tmp_path_factory.mktemp("axes")), Limits())
    found = np.argwhere(volume.array == 1)
    assert found.shape == (1, 3)
    expected = TO_LPS @ RAS @ [*voxel, 1]
    np.testing.assert_allclose(volume.affine @ [*found[0], 1], expected, atol=1e-4)
    np.testing.assert_allclose(turned.affine, RAS @ inv_ornt_aff(turn, SHAPE), atol=1e-4)


@pytest.mark.parametrize(("slope", "intercept"), [(2.5, -7.0), (-1.0, 3.0)])
def test_scale_is_applied(tmp_path: Path, slope: float, intercept: float) -> None:
    path = save(image(), tmp_path)
    patch(path, "scl_slope", slope)
    patch(path, "scl_inter", intercept)
    array = read_nifti(path, Limits()).array
    np.testing.assert_allclose(array, values() * slope + intercept)
    np.testing.assert_allclose(array, nibabel.Nifti1Image.from_bytes(path.read_bytes()).get_fdata())


@pytest.mark.parametrize("slope", [0.0, np.nan, np.inf])
def test_no_scale_means_stored_values(tmp_path: Path, slope: float) -> None:
    path = save(image(), tmp_path)
    patch(path, "scl_slope", slope)
    patch(path, "scl_inter", 50.0)
    np.testing.assert_array_equal(read_nifti(path, Limits()).array, values())


def patch(path: Path, field: str, value: Any) -> None:
    """Change one field of a NIfTI-1 header in place."""
    data = path.read_bytes()
    header = nibabel.Nifti1Header(data[:348], check=False)
    header[field] = value
    path.write_bytes(header.binaryblock + data[348:])


@pytest.mark.parametrize(
    ("sform", "qform", "expected"),
    [
        (1, 1, "sform"),
        (2, 1, "sform"),
        (1, 0, "sform"),
        (0, 1, "qform"),
        (3, 1, "qform"),  # the sform leads into a template, the qform into the patient
        (4, 2, "qform"),
        (4, 0, "sform"),
    ],
)
def test_which_affine_is_taken(tmp_path: Path, sform: int, qform: int, expected: str) -> None:
    other = RAS.copy()
    other[:3, 3] += 11
    made = image()
    made.set_sform(RAS, sform)
    made.set_qform(other, qform, strip_shears=True)
    affine = read_nifti(save(made, tmp_path), Limits()).affine
    np.testing.assert_allclose(affine[:3, 3], (TO_LPS @ (RAS if expected == "sform" else other))[:3, 3], atol=1e-4)


def test_a_useless_sform_gives_way_to_the_qform(tmp_path: Path) -> None:
    made = image()
    made.set_qform(RAS, 1)
    path = save(made, tmp_path)
    for row in ("srow_x", "srow_y", "srow_z"):
        patch(path, row, 0.0)
    assert read_nifti(path, Limits()).spacing == pytest.approx(np.linalg.norm(RAS[:3, :3], axis=0), rel=1e-3)


@pytest.mark.parametrize(("units", "factor"), [(1, 0.001), (2, 1.0), (3, 1000.0), (0, 1.0), (10, 1.0)])
def test_units_become_millimetres(tmp_path: Path, units: int, factor: float) -> None:
    affine = RAS.copy()
    affine[:3] *= factor
    path = save(image(affine=affine), tmp_path)
    patch(path, "xyzt_units", units)
    np.testing.assert_allclose(read_nifti(path, Limits()).affine, TO_LPS @ RAS, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("shape", [(5, 40, 36, 1), (5, 40, 36, 1, 1)])
def test_trailing_dimensions_of_one_are_dropped(tmp_path: Path, shape: tuple[int, ...]) -> None:
    assert read_nifti(save(image(values(shape)), tmp_path), Limits()).array.shape == SHAPE


def test_a_single_slice_along_any_axis(tmp_path: Path) -> None:
    assert read_nifti(save(image(values((1, 40, 36))), tmp_path), Limits()).array.shape == (1, 40, 36)


def test_two_dimensions_are_a_single_slice(tmp_path: Path) -> None:
    affine = RAS[:, [1, 2, 0, 3]]
    volume = read_nifti(save(image(values((40, 36)), affine), tmp_path), Limits())
    assert volume.array.shape == (40, 36, 1)


def test_isotropic_volumes_may_have_any_first_axis(tmp_path: Path) -> None:
    affine = np.diag([0.9, 0.9, 1.0, 1.0])
    assert read_nifti(save(image(values((30, 40, 20)), affine), tmp_path), Limits()).array.shape == (30, 40, 20)


@pytest.mark.parametrize("diagonal", [(0.7, 4.4, 0.7, 1), (0.7, 0.7, 4.4, 1)], ids=["coronal", "axial"])
def test_thick_slices_that_are_not_sagittal(tmp_path: Path, diagonal: tuple[float, ...]) -> None:
    with pytest.raises(NoSagittalSeries):
        read_nifti(save(image(affine=np.diag(diagonal)), tmp_path), Limits())


def test_a_single_slice_that_is_not_sagittal(tmp_path: Path) -> None:
    with pytest.raises(NoSagittalSeries):
        read_nifti(save(image(values((36, 40, 1))), tmp_path), Limits())


@pytest.mark.parametrize("shape", [(5, 40, 36, 2), (5, 40, 36, 1, 3), (40, 1, 1), (40,)])
def test_other_numbers_of_dimensions(tmp_path: Path, shape: tuple[int, ...]) -> None:
    with pytest.raises(UnsupportedDimensions):
        read_nifti(save(image(values(shape)), tmp_path), Limits())


@pytest.mark.parametrize("dtype", [np.complex64, [("R", "u1"), ("G", "u1"), ("B", "u1")]], ids=["complex", "RGB"])
def test_colour_and_complex_numbers(tmp_path: Path, dtype: Any) -> None:
    data = np.zeros(SHAPE, dtype)
    with pytest.raises(UnsupportedDimensions, match="colour"):
        read_nifti(save(image(data), tmp_path), Limits())


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite(tmp_path: Path, bad: float) -> None:
    data = values(dtype=np.float32)
    data[2, 3, 4] = bad
    with pytest.raises(InvalidPixelValues, match="NaN or infinite"):
        read_nifti(save(image(data), tmp_path), Limits())


def test_values_too_large_for_single_precision(tmp_path: Path) -> None:
    data = values(dtype=np.float64)
    data[2, 3, 4] = 1e300
    with pytest.raises(InvalidPixelValues, match="NaN or infinite"):
        read_nifti(save(image(data), tmp_path), Limits())


def test_blank_images(tmp_path: Path) -> None:
    with pytest.raises(InvalidPixelValues, match="same value"):
        read_nifti(save(image(np.full(SHAPE, 3, np.int16)), tmp_path), Limits())


@pytest.mark.parametrize("factor", [0.001, 0.05, 6.0, 1000.0])
def test_implausible_spacing(tmp_path: Path, factor: float) -> None:
    affine = RAS.copy()
    affine[:3, :3] *= factor
    with pytest.raises(ImplausibleSpacing, match="would measure"):
        read_nifti(save(image(affine=affine), tmp_path), Limits())


def test_no_affine(tmp_path: Path) -> None:
    made = image()
    made.set_sform(None, 0)
    made.set_qform(None, 0)
    with pytest.raises(MissingGeometry, match="neither a usable sform nor a usable qform") as caught:
        read_nifti(save(made, tmp_path), Limits())
    assert "dcm2niix" in caught.value.advice


@pytest.mark.parametrize(
    ("error", "field", "value"),
    [
        (UnreadableFile, "dim", [0] * 8),
        (UnreadableFile, "dim", [3, -5, 40, 36, 1, 1, 1, 1]),
        (UnreadableFile, "dim", [99, 5, 40, 36, 1, 1, 1, 1]),
        (UnreadableFile, "dim", [3, 5, 40, 37, 1, 1, 1, 1]),
        (UploadTooLarge, "dim", [3, 399, 30000, 30000, 1, 1, 1, 1]),
        (UploadTooLarge, "dim", [3, 401, 40, 36, 1, 1, 1, 1]),
        (UnreadableFile, "datatype", 999),
        (UnsupportedDimensions, "datatype", 1536),
        (UnreadableFile, "vox_offset", 1e30),
        (UnreadableFile, "vox_offset", np.nan),
        (UnreadableFile, "vox_offset", -1000.0),
        (MissingGeometry, "srow_x", np.nan),
        (MissingGeometry, "srow_x", 1e38),
    ],
)
def test_damaged_headers(tmp_path: Path, error: type[InputError], field: str, value: Any) -> None:
    path = save(image(), tmp_path)
    patch(path, field, value)
    with pytest.raises(error):
        read_nifti(path, Limits())


def test_a_damaged_scale(tmp_path: Path) -> None:
    path = save(image(), tmp_path)
    patch(path, "scl_slope", 1.0)
    patch(path, "scl_inter", np.inf)
    with pytest.raises(UnreadableFile, match="scale"):
        read_nifti(path, Limits())


@pytest.mark.parametrize("keep", [348, 352, 539, 3000, 14_751])
@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_truncated_images(tmp_path: Path, keep: int, pack: Callable[[bytes], bytes]) -> None:
    path = save(image(), tmp_path)
    data = path.read_bytes()
    assert len(data) == 14_752
    path.write_bytes(pack(data[:keep]))
    with pytest.raises(UnreadableFile, match="truncated"):
        read_nifti(path, Limits())


@pytest.mark.parametrize("lost", [1, 8, 2000])
def test_truncated_gzip(tmp_path: Path, lost: int) -> None:
    path = save(image(), tmp_path, "a.nii.gz")
    path.write_bytes(path.read_bytes()[:-lost])
    with pytest.raises(UnreadableFile, match="gzip"):
        read_nifti(path, Limits())


def test_a_changed_bit_in_a_gzip(tmp_path: Path) -> None:
    path = save(image(), tmp_path)
    data = bytearray(gzip.compress(path.read_bytes(), compresslevel=0))
    data[5000] ^= 1
    path.write_bytes(data)
    with pytest.raises(UnreadableFile, match="gzip"):
        read_nifti(path, Limits())


def test_a_gzip_bomb_behind_a_good_header(tmp_path: Path) -> None:
    path = save(image(), tmp_path)
    path.write_bytes(gzip.compress(path.read_bytes() + bytes(50_000_000)))
    with pytest.raises(UnsafeArchive, match="200-fold"):
        read_nifti(path, Limits())
    with pytest.raises(UploadTooLarge, match="2000000 bytes"):
        read_nifti(path, Limits(max_bytes=2_000_000))


def test_slices_are_counted_from_left_to_right(tmp_path: Path) -> None:
    path = save(image(), tmp_path)
    assert read_nifti(path, Limits(max_slices=5)).array.shape == SHAPE
    with pytest.raises(UploadTooLarge, match="5 sagittal slices; at most 4"):
        read_nifti(path, Limits(max_slices=4))


def test_one_half_of_a_pair(tmp_path: Path) -> None:
    nibabel.save(nibabel.Nifti1Pair(values(), RAS), tmp_path / "a.hdr")
    with pytest.raises(UnsupportedFormat, match="two-file NIfTI pair"):
        read_nifti(tmp_path / "a.hdr", Limits())


@pytest.mark.parametrize("head", [b"", b"x" * 600, b"\x5c\x01\0\0" + b"\0" * 400])
def test_other_files(tmp_path: Path, head: bytes) -> None:
    assert not looks_like_nifti(head)
    (tmp_path / "a").write_bytes(head)
    with pytest.raises(UnsupportedFormat):
        read_nifti(tmp_path / "a", Limits())
