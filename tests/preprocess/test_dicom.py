from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import Dataset

from discgrade.errors import (
    DuplicatePositions,
    ImplausibleSpacing,
    InconsistentSlices,
    InputError,
    InvalidPixelValues,
    MissingGeometry,
    MixedStudy,
    SliceGap,
    UnsupportedDimensions,
    UploadTooLarge,
)
from preprocess.dicom import stack_geometry
from preprocess.dicom_header import read_header
from preprocess.limits import Limits
from preprocess.study import Study, read_study
from tests.support.dicom_files import SAGITTAL, encode, normal, pixels, series_datasets, uid, write

ExplicitVRLittleEndian = "1.2.840.10008.1.2.1"


def read(workdir: Path, datasets: list[Dataset], limits: Limits | None = None) -> Study:
    return read_study(write(datasets, workdir.parent / "in"), workdir, limits)


def test_array_and_affine_are_those_of_the_slices(workdir: Path) -> None:
    volume = read(workdir, series_datasets()).volume
    np.testing.assert_array_equal(volume.array, pixels())
    assert volume.array.dtype == np.float32
    # slices run to the patient's right, rows down, columns back
    expected = np.array([[-4.4, 0, 0, 30], [0, 0, 0.625, -40], [0, -0.75, 0, 120], [0, 0, 0, 1]])
    np.testing.assert_allclose(volume.affine, expected, atol=1e-9)
    assert volume.spacing == pytest.approx((4.4, 0.75, 0.625))


def test_thickness_does_not_set_the_distance_between_slices(workdir: Path) -> None:
    volume = read(workdir, series_datasets(step=3.3, SliceThickness=3.0, SpacingBetweenSlices=None)).volume
    assert volume.spacing[0] == pytest.approx(3.3)


@settings(deadline=None, max_examples=15)
@given(order=st.permutations(range(5)), instances=st.permutations(range(1, 6)), turn=st.floats(-25, 25))
def test_order_of_files_and_instance_numbers_do_not_matter(
    tmp_path_factory: pytest.TempPathFactory, order: list[int], instances: list[int], turn: float
) -> None:
    angle = np.radians(turn)
    orientation = (-float(np.sin(angle)), float(np.cos(angle)), 0.0, 0.0, 0.0, -1.0)
    straight = series_datasets(orientation=orientation)
    shuffled = [straight[k] for k in order]
    root = tmp_path_factory.mktemp("shuffle")
    expected = read_study(write(straight, root / "a"), root).volume
    for dataset, instance in zip(shuffled, instances, strict=True):
        dataset.InstanceNumber = instance
    volume = read_study(write(shuffled, root / "b"), root).volume
    np.testing.assert_array_equal(volume.array, expected.array)
    np.testing.assert_array_equal(volume.affine, expected.affine)


@settings(deadline=None, max_examples=15)
@given(
    angles=st.tuples(st.floats(-20, 20), st.floats(-20, 20), st.floats(-180, 180)),
    origin=st.tuples(*[st.floats(-300, 300)] * 3),
    step=st.floats(0.5, 8.0),
    spacing=st.tuples(st.floats(0.3, 2.0), st.floats(0.3, 2.0)),
)
def test_every_voxel_lies_where_its_slice_says(
    tmp_path_factory: pytest.TempPathFactory,
    angles: tuple[float, float, float],
    origin: tuple[float, float, float],
    step: float,
    spacing: tuple[float, float],
) -> None:
    yaw, pitch, roll = np.radians(angles)
    about_z = np.array([[np.cos(yaw), -np.sin(yaw), 0], [np.sin(yaw), np.cos(yaw), 0], [0, 0, 1]])
    about_y = np.array([[np.cos(pitch), 0, np.sin(pitch)], [0, 1, 0], [-np.sin(pitch), 0, np.cos(pitch)]])
    about_x = np.array([[1, 0, 0], [0, np.cos(roll), -np.sin(roll)], [0, np.sin(roll), np.cos(roll)]])
    turned = (about_z @ about_y @ about_x @ np.reshape(SAGITTAL, (2, 3)).T).T
    orientation = [float(f"{value:.9f}") for value in turned.ravel()]
    folder = tmp_path_factory.mktemp("place")
    measures: dict[str, Any] = {
        "PixelSpacing": [float(f"{value:.9f}") for value in spacing],
        "SpacingBetweenSlices": None,
    }
    datasets = series_datasets(pixels(4), orientation, step=step, origin=origin, **measures)
    slices = [read_header(path, "a file").slices[0] for path in write(datasets[::-1], folder)]
    _, affine = stack_geometry(slices)
    for k, dataset in enumerate(datasets):
        for row, column in ((0, 0), (39, 0), (0, 35), (17, 23)):
            expected = (
                np.array(dataset.ImagePositionPatient, float)
                + np.array(orientation[:3]) * column * float(dataset.PixelSpacing[1])
                + np.array(orientation[3:]) * row * float(dataset.PixelSpacing[0])
            )
            np.testing.assert_allclose((affine @ [k, row, column, 1])[:3], expected, atol=1e-4)


def test_rescale_is_applied_slice_by_slice(workdir: Path) -> None:
    datasets = series_datasets()
    for k, dataset in enumerate(datasets):
        dataset.RescaleSlope, dataset.RescaleIntercept = 1 + k, -10 * k
    expected = np.stack([plane * (1.0 + k) - 10 * k for k, plane in enumerate(pixels())])
    np.testing.assert_allclose(read(workdir, datasets).volume.array, expected)


def test_monochrome1_is_inverted(workdir: Path) -> None:
    image = pixels()
    inverted = (image.min() + image.max() - image).astype(np.uint16)
    volume = read(workdir, series_datasets(inverted, PhotometricInterpretation="MONOCHROME1")).volume
    np.testing.assert_array_equal(volume.array, image)


def test_signed_pixels_keep_their_sign(workdir: Path) -> None:
    image = pixels(signed=True)
    assert image.min() < 0
    np.testing.assert_array_equal(read(workdir, series_datasets(image)).volume.array, image)


def test_bits_above_the_stored_ones_are_ignored(workdir: Path) -> None:
    image = pixels(signed=True)
    datasets = series_datasets(image)
    for dataset in datasets:
        stored = np.frombuffer(dataset.PixelData, np.uint16)
        dataset.PixelData = ((stored & 0x0FFF) | 0x5000).astype(np.uint16).tobytes()
    np.testing.assert_array_equal(read(workdir, datasets).volume.array, image)


def test_eight_bit_pixels(workdir: Path) -> None:
    image = (pixels() % 256).astype(np.uint8)
    np.testing.assert_array_equal(read(workdir, series_datasets(image, bits=8)).volume.array, image)


@pytest.mark.parametrize(
    "padding", [{"PixelPaddingValue": 4000}, {"PixelPaddingValue": 3990, "PixelPaddingRangeLimit": 4095}]
)
def test_padding_becomes_the_darkest_value(workdir: Path, padding: dict[str, Any]) -> None:
    image = pixels() + 5
    image[:, :6] = 4000
    volume = read(workdir, series_datasets(image, **padding)).volume
    assert np.all(volume.array[:, :6] == image[:, 6:].min())
    np.testing.assert_array_equal(volume.array[:, 6:], image[:, 6:])


def test_signed_padding_of_inverted_images(workdir: Path) -> None:
    image = pixels(signed=True)
    image[:, :6] = -2048
    kept = image[:, 6:]
    volume = read(
        workdir, series_datasets(image, PixelPaddingValue=-2048, PhotometricInterpretation="MONOCHROME1")
    ).volume
    inverted = float(kept.min()) + float(kept.max()) - kept
    np.testing.assert_array_equal(volume.array[:, 6:], inverted)
    assert np.all(volume.array[:, :6] == inverted.min())


@pytest.mark.parametrize(
    ("measures", "expected"),
    [
        ({"SpacingBetweenSlices": 4.4}, 4.4),
        ({"SpacingBetweenSlices": None}, 4.0),
        ({"SpacingBetweenSlices": 0}, 4.0),
        ({"SpacingBetweenSlices": -4.4}, 4.4),
    ],
)
def test_a_single_slice(workdir: Path, measures: dict[str, Any], expected: float) -> None:
    volume = read(workdir, series_datasets(pixels(1), **measures)).volume
    assert volume.array.shape == (1, 40, 36)
    assert volume.spacing == pytest.approx((expected, 0.75, 0.625))
    np.testing.assert_allclose(volume.affine[:3, 0], expected * normal(SAGITTAL))


def test_a_single_slice_of_unknown_thickness(workdir: Path) -> None:
    with pytest.raises(MissingGeometry, match="Slice Thickness"):
        read(workdir, series_datasets(pixels(1), SpacingBetweenSlices=None, SliceThickness=None))


def remove(keyword: str) -> Callable[[list[Dataset]], None]:
    def edit(datasets: list[Dataset]) -> None:
        del datasets[2][keyword]

    return edit


def put(keyword: str, value: Any) -> Callable[[list[Dataset]], None]:
    def edit(datasets: list[Dataset]) -> None:
        setattr(datasets[2], keyword, value)

    return edit


def move(k: int, x: float, y: float = 0.0) -> Callable[[list[Dataset]], None]:
    def edit(datasets: list[Dataset]) -> None:
        place = datasets[k].ImagePositionPatient
        datasets[k].ImagePositionPatient = [place[0] + x, place[1] + y, place[2]]

    return edit


def drop(*which: int) -> Callable[[list[Dataset]], None]:
    def edit(datasets: list[Dataset]) -> None:
        for k in sorted(which, reverse=True):
            del datasets[k]

    return edit


def repeat(datasets: list[Dataset]) -> None:
    datasets.append(series_datasets(SOPInstanceUID=uid("again"))[2])


def repeat_all(datasets: list[Dataset]) -> None:
    datasets.extend(series_datasets())


def resize(datasets: list[Dataset]) -> None:
    datasets[2] = series_datasets(pixels(rows=42))[2]


def shear(datasets: list[Dataset]) -> None:
    for k, dataset in enumerate(datasets):
        place = dataset.ImagePositionPatient
        dataset.ImagePositionPatient = [place[0], place[1], place[2] + 1.0 * k]


def double(spacing: float) -> Callable[[list[Dataset]], None]:
    def edit(datasets: list[Dataset]) -> None:
        for dataset in datasets:
            dataset.PixelSpacing = [spacing, spacing]

    return edit


@pytest.mark.parametrize(
    ("error", "detail", "edit"),
    [
        (MissingGeometry, r"File 3 of 5 has no usable Image Position", remove("ImagePositionPatient")),
        (MissingGeometry, r"File 3 of 5 has no usable Pixel Spacing", remove("PixelSpacing")),
        (MissingGeometry, r"File 3 of 5 has no usable Image Position", put("ImagePositionPatient", [1, 2])),
        (MissingGeometry, r"perpendicular", put("ImageOrientationPatient", [0, 1, 0, 0, 0.1, -1])),
        (MissingGeometry, r"perpendicular", put("ImageOrientationPatient", [0, 2, 0, 0, 0, -2])),
        (ImplausibleSpacing, r"not positive", put("PixelSpacing", [0, 0.6])),
        (ImplausibleSpacing, r"0.0005 x 0.0005", double(0.0005)),
        (ImplausibleSpacing, r"75 x 75", double(75.0)),
        (InconsistentSlices, r"matrix sizes", resize),
        (InconsistentSlices, r"pixel spacings", put("PixelSpacing", [0.75, 0.64])),
        (InconsistentSlices, r"orientations", put("ImageOrientationPatient", [0, 0.9998, 0.02, 0, 0.02, -0.9998])),
        (InconsistentSlices, r"photometric", put("PhotometricInterpretation", "MONOCHROME1")),
        (InconsistentSlices, r"sideways", move(2, 0.0, 3.0)),
        (InconsistentSlices, r"sideways", shear),
        (MixedStudy, r"frames of reference", put("FrameOfReferenceUID", uid("another"))),
        (DuplicatePositions, r"lie at the same position", repeat),
        (DuplicatePositions, r"File 2 of 5 and file 3 of 5", move(2, 4.4)),
        (DuplicatePositions, r"lie at the same position", repeat_all),
        (SliceGap, r"one gap measures 8.80 mm", drop(1)),
        (SliceGap, r"4 slices", drop(3)),
        (SliceGap, r"unevenly spaced", drop(0, 2)),
        (SliceGap, r"unevenly spaced", move(2, 0.9)),
        (SliceGap, r"3 slices lie 8.80 mm apart, but state a spacing of 4.40 mm", drop(1, 3)),
    ],
)
def test_broken_series_are_refused(
    workdir: Path, error: type[InputError], detail: str, edit: Callable[[list[Dataset]], None]
) -> None:
    datasets = series_datasets()
    edit(datasets)
    with pytest.raises(error, match=detail) as caught:
        read(workdir, datasets)
    assert type(caught.value) is error
    assert caught.value.advice.endswith(".")


def test_rounded_geometry_is_no_inconsistency(workdir: Path) -> None:
    datasets = series_datasets()
    for k, dataset in enumerate(datasets):
        place = dataset.ImagePositionPatient
        dataset.ImagePositionPatient = [place[0] + 0.01 * (-1) ** k, place[1], place[2]]
        dataset.ImageOrientationPatient = [1e-4 * k, 1, 0, 0, 1e-4, -1]
        dataset.PixelSpacing = [0.75, 0.625 + 1e-5 * k]
    assert read(workdir, datasets).volume.array.shape == (5, 40, 36)


def test_frames_of_reference_may_differ_between_series(workdir: Path) -> None:
    other = series_datasets(series="other", FrameOfReferenceUID=uid("another"), EchoTime=11.0, RepetitionTime=500.0)
    assert read(workdir, [*series_datasets(), *other]).chosen_series == uid("t2")


def test_the_gap_between_slices_may_be_stated_instead_of_their_distance(workdir: Path) -> None:
    assert read(workdir, series_datasets(SpacingBetweenSlices=0.4)).volume.spacing[0] == pytest.approx(4.4)


def test_too_many_slices(workdir: Path) -> None:
    with pytest.raises(UploadTooLarge, match="5 slices; at most 4"):
        read(workdir, series_datasets(), Limits(max_slices=4))


def test_slices_are_counted_in_the_chosen_series_only(workdir: Path) -> None:
    other = series_datasets(pixels(6), series="t1", EchoTime=11.0, RepetitionTime=500.0)
    assert read(workdir, [*series_datasets(), *other], Limits(max_slices=5)).volume.array.shape[0] == 5


@pytest.mark.parametrize("size", [{"Rows": 5000}, {"Columns": 65535}])
def test_a_lying_matrix_size_allocates_nothing(workdir: Path, size: dict[str, Any]) -> None:
    with pytest.raises(UploadTooLarge, match="would decode to 5 slices"):
        read(workdir, series_datasets(**size))


def test_decoded_bytes_are_limited(workdir: Path) -> None:
    datasets = series_datasets((pixels() % 256).astype(np.uint8), bits=8)
    limits = Limits(max_bytes=20_000)
    assert sum(len(encode(dataset, ExplicitVRLittleEndian)) for dataset in datasets) < 20_000
    with pytest.raises(UploadTooLarge, match="would decode to"):
        read(workdir, datasets, limits)


@pytest.mark.parametrize("name", ["RGB", "PALETTE COLOR", "YBR_FULL", ""])
def test_colour_is_refused(workdir: Path, name: str) -> None:
    with pytest.raises(UnsupportedDimensions, match="colour"):
        read(workdir, series_datasets(PhotometricInterpretation=name))


def test_several_samples_are_refused(workdir: Path) -> None:
    with pytest.raises(UnsupportedDimensions, match="colour"):
        read(workdir, series_datasets(SamplesPerPixel=3))


def test_no_rows(workdir: Path) -> None:
    with pytest.raises(UnsupportedDimensions, match="no rows"):
        read(workdir, series_datasets(Rows=0))


@pytest.mark.parametrize(
    "attributes",
    [{"RescaleSlope": 0}, {"RescaleSlope": "1e300"}, {"PixelPaddingValue": 0, "PixelPaddingRangeLimit": 4095}],
)
def test_pixels_without_an_image(workdir: Path, attributes: dict[str, Any]) -> None:
    with pytest.raises(InvalidPixelValues):
        read(workdir, series_datasets(**attributes))


def test_blank_images(workdir: Path) -> None:
    with pytest.raises(InvalidPixelValues, match="same value"):
        read(workdir, series_datasets(np.full((5, 40, 36), 7, np.uint16)))
