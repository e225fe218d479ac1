from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import Dataset

from discgrade.errors import MissingGeometry, MixedStudy, NoSagittalSeries, NoT2Series, WrongModality
from preprocess.study import Study, read_study
from tests.support.dicom_files import (
    AXIAL,
    CORONAL,
    SAGITTAL,
    STIR,
    T1,
    T2_FAT_SAT,
    pixels,
    series_datasets,
    slice_dataset,
    uid,
    write,
)


def read(workdir: Path, *series: list[Dataset]) -> Study:
    return read_study(write([one for datasets in series for one in datasets], workdir.parent / "in"), workdir)


def oblique(degrees: float) -> tuple[float, ...]:
    """A sagittal plane turned about the body's axis."""
    angle = np.radians(degrees)
    return (-float(np.sin(angle)), float(np.cos(angle)), 0.0, 0.0, 0.0, -1.0)


def test_plain_t2_is_found_among_the_others(workdir: Path) -> None:
    study = read(
        workdir,
        series_datasets(series="t1", SeriesNumber=2, **T1),
        series_datasets(series="stir", SeriesNumber=3, **STIR),
        series_datasets(series="fs", SeriesNumber=4, **T2_FAT_SAT),
        series_datasets(series="t2", SeriesNumber=5),
        series_datasets(orientation=AXIAL, series="axial", SeriesNumber=6),
    )
    assert study.chosen_series == uid("t2")
    assert study.chosen_because == (
        "Series 5 is sagittal (0 degrees off), T2 (TE 102 ms, TR 3500 ms), 5 slices of 40 x 36 pixels; the others: "
        "1 axial T2, 1 sagittal STIR, 1 sagittal T1, 1 sagittal fat-suppressed T2."
    )
    assert study.warnings == ()
    assert study.format == "dicom"


def test_the_reason_quotes_no_text_of_the_upload(workdir: Path) -> None:
    study = read(workdir, series_datasets(SeriesDescription="T2 DOE JOHN", ProtocolName="DOE JOHN"))
    assert "doe" not in study.chosen_because.lower()


@pytest.mark.parametrize(("contrast", "name"), [(T2_FAT_SAT, "fs"), (STIR, "stir")])
def test_fat_suppressed_alone_is_taken_with_a_warning(workdir: Path, contrast: dict[str, Any], name: str) -> None:
    study = read(workdir, series_datasets(series=name, **contrast), series_datasets(series="t1", **T1))
    assert study.chosen_series == uid(name)
    assert [warning.code for warning in study.warnings] == ["fat_suppressed"]


def test_fat_saturated_t2_goes_before_stir(workdir: Path) -> None:
    study = read(workdir, series_datasets(series="stir", **STIR), series_datasets(series="fs", **T2_FAT_SAT))
    assert study.chosen_series == uid("fs")


def test_a_single_series_of_unknown_contrast_is_taken_with_a_warning(workdir: Path) -> None:
    nothing: dict[str, Any] = {
        "EchoTime": None,
        "RepetitionTime": None,
        "SeriesDescription": None,
        "ScanningSequence": None,
    }
    study = read(workdir, series_datasets(**nothing), series_datasets(orientation=AXIAL, series="axial"))
    assert [warning.code for warning in study.warnings] == ["contrast_unknown"]
    assert "no TE or TR given" in study.chosen_because


def test_two_series_of_unknown_contrast_are_refused(workdir: Path) -> None:
    nothing: dict[str, Any] = {"EchoTime": None, "RepetitionTime": None, "SeriesDescription": None}
    with pytest.raises(NoT2Series, match="2 sagittal unknown contrast"):
        read(workdir, series_datasets(**nothing), series_datasets(series="other", **nothing))


@pytest.mark.parametrize("modality", ["CT", "DX", "CR", "OT", "PT"])
def test_other_modalities_are_refused(workdir: Path, modality: str) -> None:
    with pytest.raises(WrongModality, match="None of the 5 images is MR"):
        read(workdir, series_datasets(Modality=modality))


def test_ct_beside_mr_is_left_out(workdir: Path) -> None:
    study = read(workdir, series_datasets(series="ct", Modality="CT"), series_datasets())
    assert study.chosen_series == uid("t2")


@pytest.mark.parametrize(("orientation", "name"), [(AXIAL, "axial"), (CORONAL, "coronal"), (oblique(40.0), "oblique")])
def test_other_orientations_are_refused(workdir: Path, orientation: tuple[float, ...], name: str) -> None:
    with pytest.raises(NoSagittalSeries, match=f"1 {name} T2, but nothing sagittal"):
        read(workdir, series_datasets(orientation=orientation))


def test_sagittal_is_within_thirty_degrees(workdir: Path) -> None:
    assert "(25 degrees off)" in read(workdir, series_datasets(orientation=oblique(25.0))).chosen_because


def test_t1_alone_is_refused(workdir: Path) -> None:
    with pytest.raises(NoT2Series, match="1 sagittal T1, but no T2") as caught:
        read(workdir, series_datasets(**T1), series_datasets(orientation=AXIAL, series="axial"))
    assert "sagittal T2" in caught.value.advice


@pytest.mark.parametrize(
    "attributes",
    [
        {"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]},
        {"SeriesDescription": "3-plane loc"},
        {"ImageType": ["DERIVED", "PRIMARY", "MIP"]},
        {"ImageType": ["DERIVED", "SECONDARY", "SUBTRACTION"]},
    ],
)
def test_localisers_and_projections_are_no_t2_series(workdir: Path, attributes: dict[str, Any]) -> None:
    with pytest.raises(NoT2Series):
        read(workdir, series_datasets(**attributes))


def test_a_localiser_of_three_planes_falls_apart(workdir: Path) -> None:
    image = pixels(3)
    localiser = [
        one
        for k, plane in enumerate((SAGITTAL, AXIAL, CORONAL))
        for one in series_datasets(image, plane, series="all", SeriesDescription="T2 HASTE", InstanceNumber=k)
    ]
    study = read(workdir, localiser)
    np.testing.assert_array_equal(study.volume.array, image)
    assert study.chosen_because.endswith("the others: 1 axial T2, 1 coronal T2.")


def test_a_dual_echo_series_gives_its_late_echo(workdir: Path) -> None:
    early = series_datasets(series="dual", EchoTime=15.0, SeriesDescription="PD/T2 TSE")
    late = series_datasets(pixels() // 2, series="dual", EchoTime=98.0, SeriesDescription="PD/T2 TSE")
    study = read(workdir, [one for pair in zip(early, late, strict=True) for one in pair])
    np.testing.assert_array_equal(study.volume.array, pixels() // 2)
    assert "1 sagittal proton density" in study.chosen_because


def test_dixon_images_of_one_series_are_told_apart(workdir: Path) -> None:
    kinds = {"W": 3, "F": 4, "IP": 1, "OP": 5}
    series = [
        series_datasets(pixels() // factor, series="dixon", ImageType=["DERIVED", "PRIMARY", kind, kind])
        for kind, factor in kinds.items()
    ]
    study = read(workdir, *series)
    np.testing.assert_array_equal(study.volume.array, pixels())
    assert study.warnings == ()


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        ({}, {"ImageType": ["DERIVED", "SECONDARY", "MPR"]}),
        ({"BodyPartExamined": "LSPINE"}, {}),
        ({"BodyPartExamined": "SPINE"}, {"BodyPartExamined": "CSPINE"}),
        ({"SeriesDescription": "T2 lumbar"}, {"SeriesDescription": "T2 thoracic"}),
        ({"PixelSpacing": [0.6, 0.6]}, {"PixelSpacing": [0.9, 0.9]}),
        ({"SeriesDescription": "T2 TSE"}, {"SeriesDescription": "sag"}),
        ({"EchoTime": 102.0}, {"EchoTime": 180.0}),
        ({"SeriesNumber": 3}, {"SeriesNumber": 4}),
    ],
)
@pytest.mark.parametrize("swapped", [False, True])
def test_the_more_lumbar_like_t2_is_taken(
    workdir: Path, better: dict[str, Any], worse: dict[str, Any], swapped: bool
) -> None:
    pair = [series_datasets(series="better", **better), series_datasets(series="worse", **worse)]
    assert read(workdir, *(pair[::-1] if swapped else pair)).chosen_series == uid("better")


def test_a_lumbar_field_of_view_goes_before_the_whole_spine(workdir: Path) -> None:
    tall = series_datasets(pixels(6, 40, 36), series="whole", PixelSpacing=[15.0, 0.5])
    study = read(workdir, tall, series_datasets(series="lumbar", PixelSpacing=[3.9, 0.75], image=pixels(5, 60, 36)))
    assert study.chosen_series == uid("lumbar")


def test_five_slices_go_before_one(workdir: Path) -> None:
    single = series_datasets(pixels(1), series="single", PixelSpacing=[0.4, 0.4])
    assert read(workdir, single, series_datasets()).chosen_series == uid("t2")


def test_t2_series_of_two_studies_are_refused(workdir: Path) -> None:
    other = series_datasets(series="prior", StudyInstanceUID=uid("prior"))
    with pytest.raises(MixedStudy, match="several studies"):
        read(workdir, series_datasets(), other)


def test_no_orientation_anywhere(workdir: Path) -> None:
    with pytest.raises(MissingGeometry, match=r"Image Orientation \(Patient\)"):
        read(workdir, series_datasets(ImageOrientationPatient=None))


def test_no_orientation_on_one_slice_of_the_chosen_series(workdir: Path) -> None:
    datasets = series_datasets()
    del datasets[4].ImageOrientationPatient
    with pytest.raises(MissingGeometry, match=r"File 5 of 5 has no usable Image Orientation \(Patient\)"):
        read(workdir, datasets)


def test_no_orientation_in_another_series_does_not_matter(workdir: Path) -> None:
    capture = slice_dataset(pixels(1)[0], (0, 0, 0), series="capture", ImageOrientationPatient=None)
    assert read(workdir, [capture], series_datasets()).chosen_series == uid("t2")


def test_modality_follows_from_the_class_where_it_is_empty(workdir: Path) -> None:
    assert read(workdir, series_datasets(Modality="")).chosen_series == uid("t2")
