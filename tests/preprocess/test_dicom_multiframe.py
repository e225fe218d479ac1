from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import Dataset
from pydicom.uid import EnhancedMRImageStorage, LegacyConvertedEnhancedMRImageStorage

from discgrade.errors import (
    DuplicatePositions,
    InconsistentSlices,
    InputError,
    MissingGeometry,
    NoSagittalSeries,
    NoT2Series,
    SliceGap,
    UnreadableFile,
    WrongModality,
)
from preprocess.study import Study, read_study
from tests.support.dicom_files import (
    AXIAL,
    enhanced_dataset,
    group,
    pixels,
    series_datasets,
    set_pixels,
    uid,
    write,
)

RESCALED = pixels() * np.arange(2.0, 7.0)[:, None, None] - 3  # what enhanced_dataset writes as slope and intercept


def read(workdir: Path, *datasets: Dataset) -> Study:
    return read_study(write(datasets, workdir.parent / "in"), workdir)


@pytest.mark.parametrize("shared", [True, False], ids=["shared groups", "groups of each frame"])
def test_an_enhanced_object_equals_its_slices(workdir: Path, shared: bool) -> None:
    study = read(workdir, enhanced_dataset(order=[2, 0, 1, 4, 3], shared_geometry=shared))
    classic = read(workdir, *series_datasets()).volume
    np.testing.assert_allclose(study.volume.array, RESCALED)
    np.testing.assert_allclose(study.volume.affine, classic.affine, atol=1e-9)
    assert study.format == "dicom-multiframe"
    assert study.chosen_series == uid("enhanced")
    assert "T2 (TE 102 ms, TR 3500 ms), 5 slices" in study.chosen_because


def test_echoes_of_one_object_fall_apart(workdir: Path) -> None:
    study = read(workdir, enhanced_dataset(echo_times=(12.0, 98.0)))
    np.testing.assert_allclose(study.volume.array, (pixels() // 2) * np.arange(2.0, 7.0)[:, None, None] - 3)
    assert "1 sagittal proton density" in study.chosen_because


def test_stacks_of_one_object_fall_apart(workdir: Path) -> None:
    sagittal, axial = enhanced_dataset(), enhanced_dataset(orientation=AXIAL, shared_geometry=False)
    for frame in sagittal.PerFrameFunctionalGroupsSequence:
        shared = sagittal.SharedFunctionalGroupsSequence[0]
        frame.PlaneOrientationSequence, frame.PixelMeasuresSequence = (
            shared.PlaneOrientationSequence,
            shared.PixelMeasuresSequence,
        )
    for frame in axial.PerFrameFunctionalGroupsSequence:
        frame.FrameContentSequence[0].StackID = "2"
    both = axial
    both.PerFrameFunctionalGroupsSequence = [
        *axial.PerFrameFunctionalGroupsSequence,
        *sagittal.PerFrameFunctionalGroupsSequence,
    ]
    set_pixels(both, np.concatenate([pixels()[::-1], pixels()]))
    study = read(workdir, both)
    np.testing.assert_allclose(study.volume.array, RESCALED)
    assert study.chosen_because.endswith("the others: 1 axial T2.")


def test_parallel_stacks_of_one_object_fall_apart(workdir: Path) -> None:
    near, far = enhanced_dataset(), enhanced_dataset(origin=(-60.0, -40.0, 120.0))
    for frame in far.PerFrameFunctionalGroupsSequence:
        frame.FrameContentSequence[0].StackID = "2"
    near.PerFrameFunctionalGroupsSequence = [
        *near.PerFrameFunctionalGroupsSequence,
        *far.PerFrameFunctionalGroupsSequence,
    ]
    set_pixels(near, np.concatenate([pixels(), pixels()]))
    assert read(workdir, near).volume.array.shape == (5, 40, 36)


def with_modifier(**attributes: Any) -> Dataset:
    dataset = enhanced_dataset()
    dataset.SharedFunctionalGroupsSequence[0].MRModifierSequence = group(**attributes)
    return dataset


@pytest.mark.parametrize(
    "attributes",
    [{"SpectrallySelectedSuppression": "FAT"}, {"InversionRecovery": "YES", "InversionTimes": [160.0]}],
)
def test_fat_suppression_is_read_from_the_modifiers(workdir: Path, attributes: dict[str, Any]) -> None:
    assert [one.code for one in read(workdir, with_modifier(**attributes)).warnings] == ["fat_suppressed"]


@pytest.mark.parametrize("attributes", [{"InversionTimes": 160.0}, {"InversionTimes": []}])
def test_inversion_times_may_be_one_or_none(workdir: Path, attributes: dict[str, Any]) -> None:
    expected = ["fat_suppressed"] if attributes["InversionTimes"] else []
    assert [one.code for one in read(workdir, with_modifier(**attributes)).warnings] == expected


@pytest.mark.parametrize("contrast", ["T1", "DIFFUSION", "FLUID_ATTENUATED", "PROTON_DENSITY"])
def test_the_stated_contrast_of_frames_counts(workdir: Path, contrast: str) -> None:
    dataset = enhanced_dataset()
    dataset.SharedFunctionalGroupsSequence[0].MRImageFrameTypeSequence = group(
        FrameType=["ORIGINAL", "PRIMARY", "VOLUME", "NONE"], AcquisitionContrast=contrast
    )
    with pytest.raises(NoT2Series):
        read(workdir, dataset)


def test_diffusion_and_gradient_echo_are_not_t2(workdir: Path) -> None:
    diffusion, gradient = enhanced_dataset(series="a"), enhanced_dataset(series="b")
    diffusion.SharedFunctionalGroupsSequence[0].MRDiffusionSequence = group(DiffusionBValue=800.0)
    gradient.EchoPulseSequence = "GRADIENT"
    with pytest.raises(NoT2Series, match="2 sagittal other contrast"):
        read(workdir, diffusion, gradient)


def legacy(image: np.ndarray[Any, Any]) -> Dataset:
    """A Legacy Converted Enhanced MR object (PS3.3 A.71): contrast in groups of unassigned attributes."""
    dataset = enhanced_dataset(image, series="legacy")
    dataset.SOPClassUID = LegacyConvertedEnhancedMRImageStorage
    dataset.file_meta.MediaStorageSOPClassUID = LegacyConvertedEnhancedMRImageStorage
    del dataset.SeriesDescription
    shared = dataset.SharedFunctionalGroupsSequence[0]
    del shared.MRTimingAndRelatedParametersSequence
    del shared.MRModifierSequence
    shared.UnassignedSharedConvertedAttributesSequence = group(
        EchoTime=102.0, RepetitionTime=3500.0, ScanningSequence="SE", ScanOptions="FS"
    )
    for k, frame in enumerate(dataset.PerFrameFunctionalGroupsSequence):
        del frame.MREchoSequence
        del frame.FrameContentSequence[0].StackID
        frame.UnassignedPerFrameConvertedAttributesSequence = group(SliceLocation=4.4 * k)
    return dataset


def test_legacy_converted_objects(workdir: Path) -> None:
    study = read(workdir, legacy(pixels()))
    np.testing.assert_allclose(study.volume.array, RESCALED)
    assert "fat-suppressed T2 (TE 102 ms, TR 3500 ms)" in study.chosen_because
    assert study.format == "dicom-multiframe"


def concatenation(*parts: range) -> list[Dataset]:
    datasets = []
    for number, part in enumerate(parts, start=1):
        dataset = enhanced_dataset(order=part, instance=number)
        dataset.ConcatenationUID = uid("concatenation")
        dataset.InConcatenationNumber = number
        dataset.InConcatenationTotalNumber = len(parts)
        datasets.append(dataset)
    return datasets


def test_a_concatenation_is_put_together(workdir: Path) -> None:
    study = read(workdir, *concatenation(range(3, 5), range(0, 3)))
    np.testing.assert_allclose(study.volume.array, RESCALED)


def test_a_part_of_a_concatenation_is_missing(workdir: Path) -> None:
    with pytest.raises(SliceGap, match="concatenation of 2 objects; 1 were sent"):
        read(workdir, concatenation(range(0, 3), range(3, 5))[0])


def test_a_single_frame(workdir: Path) -> None:
    volume = read(workdir, enhanced_dataset(pixels(1))).volume
    assert volume.array.shape == (1, 40, 36)
    assert volume.spacing[0] == pytest.approx(4.4)


def edit_frame(keyword: str, name: str, value: Any) -> Callable[[Dataset], None]:
    def edit(dataset: Dataset) -> None:
        setattr(dataset.PerFrameFunctionalGroupsSequence[3][keyword].value[0], name, value)

    return edit


def forget_frame(keyword: str) -> Callable[[Dataset], None]:
    def edit(dataset: Dataset) -> None:
        del dataset.PerFrameFunctionalGroupsSequence[3][keyword]

    return edit


def forget_shared(keyword: str) -> Callable[[Dataset], None]:
    def edit(dataset: Dataset) -> None:
        del dataset.SharedFunctionalGroupsSequence[0][keyword]

    return edit


def fewer_groups(dataset: Dataset) -> None:
    dataset.PerFrameFunctionalGroupsSequence = dataset.PerFrameFunctionalGroupsSequence[:4]


def empty_sequences(dataset: Dataset) -> None:
    dataset.SharedFunctionalGroupsSequence = []


def no_groups(dataset: Dataset) -> None:
    del dataset.PerFrameFunctionalGroupsSequence
    del dataset.SharedFunctionalGroupsSequence


def computed_tomography(dataset: Dataset) -> None:
    dataset.Modality = "CT"


def truncated(dataset: Dataset) -> None:
    dataset.PixelData = dataset.PixelData[:-100]


@pytest.mark.parametrize(
    ("error", "detail", "edit"),
    [
        (
            MissingGeometry,
            r"Frame 4 of file 1 of 1 has no usable Image Position",
            forget_frame("PlanePositionSequence"),
        ),
        (MissingGeometry, r"Image Orientation", forget_shared("PlaneOrientationSequence")),
        (MissingGeometry, r"Pixel Spacing", forget_shared("PixelMeasuresSequence")),
        (MissingGeometry, r"Image Orientation", empty_sequences),
        (MissingGeometry, r"Image Orientation", no_groups),
        (
            DuplicatePositions,
            r"Frame 3 of file 1 of 1 and frame 4 of file 1 of 1",
            edit_frame("PlanePositionSequence", "ImagePositionPatient", [30 - 2 * 4.4, -40, 120]),
        ),
        (
            SliceGap,
            r"unevenly spaced",
            edit_frame("PlanePositionSequence", "ImagePositionPatient", [30 - 3.3 * 4.4, -40, 120]),
        ),
        (UnreadableFile, r"functional groups of file 1 of 1", fewer_groups),
        (UnreadableFile, r"pixel data of file 1 of 1", truncated),
        (WrongModality, r"None of the 5 images is MR", computed_tomography),
    ],
)
def test_broken_objects_are_refused(
    workdir: Path, error: type[InputError], detail: str, edit: Callable[[Dataset], None]
) -> None:
    dataset = enhanced_dataset()
    edit(dataset)
    with pytest.raises(error, match=detail):
        read(workdir, dataset)


def test_orientations_that_drift_between_frames(workdir: Path) -> None:
    dataset = enhanced_dataset(shared_geometry=False)
    turned = group(ImageOrientationPatient=[0.0, 0.9992, 0.04, 0.0, 0.04, -0.9992])
    dataset.PerFrameFunctionalGroupsSequence[1].PlaneOrientationSequence = turned
    with pytest.raises(InconsistentSlices, match="orientations"):
        read(workdir, dataset)


def test_axial_objects_are_refused(workdir: Path) -> None:
    with pytest.raises(NoSagittalSeries):
        read(workdir, enhanced_dataset(orientation=AXIAL))


def test_the_object_class_alone_is_enough_to_know_it_is_mr(workdir: Path) -> None:
    dataset = enhanced_dataset()
    assert dataset.SOPClassUID == EnhancedMRImageStorage
    del dataset.Modality
    assert read(workdir, dataset).volume.spacing == pytest.approx((4.4, 0.75, 0.625))
