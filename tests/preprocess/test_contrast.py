from typing import Any

import pytest

from preprocess.contrast import Weighting, describes, is_derived, is_localizer, weighting
from preprocess.dicom_slice import Acquisition

T2, FS, STIR, T1 = Weighting.T2, Weighting.T2_FAT_SUPPRESSED, Weighting.STIR, Weighting.T1
PD, FLAIR, OTHER, UNKNOWN = Weighting.PROTON_DENSITY, Weighting.FLAIR, Weighting.OTHER, Weighting.UNKNOWN

TSE: dict[str, Any] = {"echo_time": 102.0, "repetition_time": 3500.0, "scanning_sequence": ("se",)}
GE_OPTIONS = ("fast_gems", "sat_gems", "npw", "trf_gems", "filtered_gems")


def seen(**attributes: Any) -> Weighting:
    return weighting(Acquisition(**attributes))


@pytest.mark.parametrize(
    ("expected", "attributes"),
    [
        (T2, TSE),
        (T2, {**TSE, "sequence_variant": ("sk", "sp", "osp")}),
        (T2, {"echo_time": 80.0, "repetition_time": 2745.9}),
        (T2, {"echo_time": 124.0, "repetition_time": 1000.0, "three_dimensional": True}),  # SPACE with restore pulse
        (T2, {"echo_time": 124.0, "repetition_time": 1000.0, "description": "t2_space_sag"}),
        (T2, {"echo_time": 52.0, "repetition_time": 3000.0, "description": "sag t2"}),
        (T2, {"echo_time": 110.0}),
        (T2, {"description": "sag t2 frfse"}),
        (T2, {"description": "t2w_tse"}),
        (T2, {"description": "sagt2"}),
        (T2, {"repetition_time": 3000.0, "description": "t2"}),
        (T2, {"contrast": "t2", "echo_time": 30.0, "repetition_time": 800.0}),  # enhanced MR says so itself
        (T1, {"echo_time": 11.0, "repetition_time": 600.0}),
        (T1, {"echo_time": 11.0, "repetition_time": 600.0, "description": "t2 lumbar"}),  # timing goes before words
        (T1, {"echo_time": 22.0, "repetition_time": 2500.0, "description": "t1 flair"}),
        (T1, {"echo_time": 9.0}),
        (T1, {"repetition_time": 550.0}),
        (T1, {"description": "sag t1 post"}),
        (PD, {"echo_time": 30.0, "repetition_time": 3000.0}),
        (PD, {"description": "sag pd"}),
        (FLAIR, {**TSE, "inversion_time": 2500.0}),
        (FLAIR, {**TSE, "description": "t2 dark-fluid"}),
        (OTHER, {"echo_time": 90.0, "repetition_time": 1000.0}),
        (UNKNOWN, {}),
        (UNKNOWN, {"description": "lumbar spine"}),
        (UNKNOWN, {"repetition_time": 3000.0}),
    ],
)
def test_timing_decides_and_words_fill_in(expected: Weighting, attributes: dict[str, Any]) -> None:
    assert seen(**attributes) is expected


@pytest.mark.parametrize(
    ("expected", "attributes"),
    [
        (FS, {"scan_options": ("fs",)}),
        (FS, {"scan_options": ("pfp", "fs")}),
        (T2, {"scan_options": ("sat1", "sat2")}),  # bands in front of the spine, not fat saturation
        (T2, {"scan_options": GE_OPTIONS}),
        (T2, {"scan_options": ("sp",)}),
        (FS, {"description": "t2_tse_fs_sag"}),
        (FS, {"description": "t2fs sag"}),
        (FS, {"description": "sag t2 fat sat"}),
        (FS, {"description": "t2 spair"}),
        (FS, {"description": "t2 spir"}),
        (T2, {"description": "sag t2 fse"}),
        (T2, {"description": "sag t2 frfse"}),
        (T2, {"description": "t2 no fs"}),
        (T2, {"description": "t2 non-fat-sat"}),
        (T2, {"description": "t2 w/o fs"}),
        (FS, {"suppression": "fat"}),
        (T2, {"suppression": "none"}),
        (FS, {"image_type": ("derived", "primary", "dixon", "water")}),
        (FS, {"description": "t2_tse_dixon_sag_w"}),
        (FS, {"description": "water: sag t2 flex"}),
        (OTHER, {"image_type": ("derived", "primary", "dixon", "fat")}),
        (OTHER, {"description": "t2_tse_dixon_sag_f"}),
        (OTHER, {"description": "t2_tse_dixon_sag_opp"}),
        (OTHER, {"image_type": ("derived", "primary", "op", "op")}),
        (T2, {"image_type": ("derived", "primary", "dixon", "in_phase")}),
        (STIR, {"scanning_sequence": ("se", "ir"), "inversion_time": 160.0}),
        (STIR, {"inversion_time": 220.0}),
        (STIR, {"description": "t2_tirm_sag"}),
        (STIR, {"sequence_name": "*tir2d1_9"}),
        (STIR, {"contrast": "stir"}),
    ],
)
def test_fat_suppression_of_t2(expected: Weighting, attributes: dict[str, Any]) -> None:
    assert seen(**{**TSE, **attributes}) is expected


@pytest.mark.parametrize(
    "attributes",
    [
        {"diffusion": True},
        {"scanning_sequence": ("ep", "se")},
        {"scanning_sequence": ("gr",)},
        {"scanning_sequence": (), "sequence_variant": ("ss",)},
        {"description": "t2* medic"},
        {"description": "t2_me2d merge"},
        {"description": "myelo haste"},
        {"description": "dwi"},
        {"image_type": ("derived", "primary", "mip")},
        {"image_type": ("derived", "primary", "projection image")},
        {"image_type": ("original", "primary", "phase")},
        {"contrast": "diffusion"},
    ],
)
def test_t2_timing_does_not_make_these_t2(attributes: dict[str, Any]) -> None:
    assert seen(**{**TSE, **attributes}) is OTHER


@pytest.mark.parametrize(
    ("word", "description", "expected"),
    [
        ("t2", "t2", True),
        ("t2", "th t2-t12", True),
        ("t2", "t2*", False),
        ("t2", "t2 star", False),
        ("t2", "gt2x", False),
        ("t1", "t12-s1", False),
        ("t1", "ax_t1_tse", True),
        ("lumbar", "lspine", True),
        ("lumbar", "lws", True),
        ("lumbar", "cspine", False),
        ("elsewhere", "c-spine", True),
        ("elsewhere", "l-spine", False),
        ("elsewhere", "sagt spine", False),
        ("localizer", "3-plane loc", True),
        ("localizer", "localiser", True),
        ("localizer", "local shim", False),
    ],
)
def test_words_in_descriptions(word: str, description: str, expected: bool) -> None:
    assert describes(Acquisition(description=description), word) is expected


def test_localizers_and_reformats_are_known_by_image_type() -> None:
    assert is_localizer(Acquisition(image_type=("original", "primary", "localizer")))
    assert is_derived(Acquisition(image_type=("derived", "secondary", "mpr")))
    assert not is_derived(Acquisition(image_type=("derived", "primary", "m", "norm")))
