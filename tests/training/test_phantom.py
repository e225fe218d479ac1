"""The phantom generator: repeatable, anatomically consistent, with discs that look their grade."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from training.phantom import LEVELS, Phantom, PhantomSpec, make_non_spine, make_phantom, random_spec
from training.phantom.spec import Style

SMALL = PhantomSpec(seed=11, slices=3, slice_spacing_mm=8.0, pixel_mm=1.0, matrix=(280, 240))


def centroid_mm(phantom: Phantom, mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Centre of a mask in LPS mm."""
    at: NDArray[np.float64] = phantom.volume.affine[:3, :3] @ np.argwhere(mask).mean(axis=0)
    return at + phantom.volume.affine[:3, 3]


def disc_signal(phantom: Phantom, number: int) -> float:
    """Mean signal of a disc relative to cerebrospinal fluid."""
    array = phantom.volume.array
    fluid = np.percentile(array[phantom.labels == 3], 80)
    return float(array[phantom.instances == number].mean() / fluid)


def test_same_spec_same_study() -> None:
    a, b = make_phantom(SMALL), make_phantom(replace(SMALL))
    np.testing.assert_array_equal(a.volume.array, b.volume.array)
    np.testing.assert_array_equal(a.volume.affine, b.volume.affine)
    np.testing.assert_array_equal(a.labels, b.labels)
    np.testing.assert_array_equal(a.instances, b.instances)


def test_other_seed_other_patient() -> None:
    a, b = make_phantom(SMALL), make_phantom(replace(SMALL, seed=12))
    assert (a.labels != b.labels).mean() > 0.02


def test_what_a_study_holds() -> None:
    phantom = make_phantom(replace(SMALL, grades=(5, 4, 3, 2, 1)))
    shape = (3, 280, 240)
    assert phantom.volume.array.shape == phantom.labels.shape == phantom.instances.shape == shape
    assert phantom.volume.array.dtype == np.float32
    assert phantom.labels.dtype == phantom.instances.dtype == np.uint8
    array = phantom.volume.array
    np.testing.assert_array_equal(array, np.rint(array))
    assert array.min() >= 0
    assert 200 < array.max() <= 4095
    assert set(np.unique(phantom.labels)) == {0, 1, 2, 3}
    count = len(phantom.levels)
    assert phantom.levels == LEVELS[:count]
    assert count >= 6
    assert phantom.grades == (5, 4, 3, 2, *[1] * (count - 4))
    assert set(np.unique(phantom.instances)) == set(range(count + 1))
    assert (phantom.labels[phantom.instances > 0] == 1).all()
    np.testing.assert_allclose(phantom.volume.spacing, (8.0, 1.0, 1.0))


def test_grades_by_level_name() -> None:
    phantom = make_phantom(replace(SMALL, grades={"L4/L5": 5, "L1/L2": 1}))
    grades = dict(zip(phantom.levels, phantom.grades, strict=True))
    assert grades["L4/L5"] == 5
    assert grades["L1/L2"] == 1
    assert grades["L3/L4"] == 2


@pytest.mark.parametrize("seed", range(4))
def test_anatomy_is_in_order(seed: int) -> None:
    """Each disc lies between its neighbours and in front of the canal, and touches vertebrae on both sides."""
    phantom = make_phantom(replace(SMALL, seed=seed, slices=1))
    labels, instances = phantom.labels[0], phantom.instances[0]
    rows = [np.argwhere(instances == i + 1).mean(axis=0) for i in range(len(phantom.levels))]
    # Row index falls from the lowest disc upward.
    assert (np.diff([r[0] for r in rows]) < -15).all()
    for number, (row, column) in enumerate(rows, start=1):
        disc = np.argwhere(instances == number)
        column_at = round(column)
        inside = disc[disc[:, 1] == column_at][:, 0]
        above = labels[inside.min() - 12 : inside.min(), column_at]
        below = labels[inside.max() + 1 : inside.max() + 13, column_at]
        if inside.min() > 12:
            assert 2 in above
        # Below the lowest disc lies the sacrum, which has no label.
        assert (2 in below) == (number > 1)
        canal = np.flatnonzero(labels[round(row)] == 3)
        assert canal.size
        assert canal.min() > column_at


@pytest.mark.parametrize("style", ["tse", "space"])
def test_signal_and_height_follow_the_grade(style: Style) -> None:
    """I to V: the disc darkens step by step; it is as tall as a healthy one up to II and collapsed at V."""
    base = replace(SMALL, slices=1, style=style)
    studies = [make_phantom(replace(base, grades=(g,))) for g in range(1, 6)]
    for number in range(1, 7):
        signal = [disc_signal(p, number) for p in studies]
        area = [int((p.instances == number).sum()) for p in studies]
        assert (np.diff(signal) < 0).all()
        assert signal[0] > 2.5 * signal[4]
        assert area[4] < 0.75 * area[0]
        assert area[1] > 0.8 * area[0]
        assert area[0] > area[3] > area[4]


def test_a_grade_changes_its_disc_alone() -> None:
    """Grades must be exchangeable labels of one patient: the other discs keep size and signal."""
    a = make_phantom(replace(SMALL, slices=1, grades={"L5/S1": 2}))
    b = make_phantom(replace(SMALL, slices=1, grades={"L5/S1": 4}))
    assert disc_signal(b, 1) < 0.8 * disc_signal(a, 1)
    for number in range(2, 7):
        assert disc_signal(b, number) == pytest.approx(disc_signal(a, number), rel=0.15)


def test_canal_is_bright_and_air_dark() -> None:
    phantom = make_phantom(replace(SMALL, jitter=0.0))
    array, labels = phantom.volume.array, phantom.labels
    assert np.median(array[labels == 3]) > 1.5 * np.median(array[labels == 2])
    assert np.median(array[:, :, -5:]) < 0.1 * np.median(array[labels == 2])


def test_lateral_slices_leave_the_canal_and_the_column() -> None:
    phantom = make_phantom(replace(SMALL, slices=15, slice_spacing_mm=4.0, matrix=(200, 128), pixel_mm=1.4))
    canal = (phantom.labels == 3).sum(axis=(1, 2))
    disc = (phantom.labels == 1).sum(axis=(1, 2))
    assert canal[7] > 0
    assert canal[[0, 1, 2, 12, 13, 14]].sum() == 0
    assert disc[7] > 2 * disc[[1, 13]].max() > 0
    # Bodies are about 45 mm wide.
    assert 9 <= np.count_nonzero(disc) <= 15


def test_field_of_view_above_the_sacrum() -> None:
    phantom = make_phantom(replace(SMALL, shift_mm=(0.0, 110.0)))
    assert phantom.levels[0] not in ("L5/S1", "L4/L5")
    start = LEVELS.index(phantom.levels[0])
    assert phantom.levels == LEVELS[start : start + len(phantom.levels)]
    assert (phantom.instances == 1).any()


def test_tilt_rotates_the_affine_alone() -> None:
    flat, tilted = make_phantom(SMALL), make_phantom(replace(SMALL, tilt_deg=(10.0, 5.0, -7.0)))
    np.testing.assert_array_equal(flat.volume.array, tilted.volume.array)
    turn = tilted.volume.affine[:3, :3] @ np.linalg.inv(flat.volume.affine[:3, :3])
    np.testing.assert_allclose(turn @ turn.T, np.eye(3), atol=1e-12)
    np.testing.assert_allclose(tilted.volume.affine[:3, 3], turn @ flat.volume.affine[:3, 3], atol=1e-9)


def test_slices_from_left_are_the_mirrored_stack() -> None:
    right = make_phantom(SMALL)
    left = make_phantom(replace(SMALL, left_first=True))
    np.testing.assert_array_equal(right.labels, left.labels[::-1])
    assert right.volume.affine[0, 0] == 8.0
    assert left.volume.affine[0, 0] == -8.0
    for number in (1, 3):
        a, b = (centroid_mm(p, p.instances == number) for p in (right, left))
        np.testing.assert_allclose(a, b, atol=1e-6)


def test_scoliosis_moves_discs_sideways() -> None:
    spec = replace(SMALL, slices=21, slice_spacing_mm=4.0, matrix=(140, 90), pixel_mm=2.0)
    straight, bent = make_phantom(spec), make_phantom(replace(spec, scoliosis_mm=15.0))
    sideways = [[centroid_mm(p, p.instances == n)[0] for n in range(1, 7)] for p in (straight, bent)]
    assert np.ptp(sideways[0]) < 1.0
    assert np.ptp(sideways[1]) > 6.0


@pytest.mark.parametrize(
    "bad",
    [
        {"grades": ()},
        {"grades": (0,)},
        {"grades": (6,)},
        {"grades": {"L5-S1": 2}},
        {"grades": {"L5/S1": 9}},
        {"slices": 0},
        {"matrix": (8, 200)},
    ],
)
def test_impossible_specs_are_refused(bad: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"grade|level|slice"):
        PhantomSpec(**bad)  # type: ignore[arg-type]


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_random_specs_keep_their_bounds(seed: int) -> None:
    spec = random_spec(np.random.default_rng(seed))
    assert spec == random_spec(np.random.default_rng(seed))
    assert 0.45 <= spec.pixel_mm <= 0.9
    assert 218 <= spec.matrix[0] * spec.pixel_mm <= 342
    assert spec.slices >= 11
    assert isinstance(spec.grades, tuple)
    assert len(spec.grades) == len(LEVELS)


def test_random_grades_reach_everywhere_and_are_correlated() -> None:
    specs = [random_spec(np.random.default_rng(seed)) for seed in range(400)]
    grades = np.array([spec.grades for spec in specs])
    shares = np.bincount(grades[:, :5].ravel(), minlength=6)[1:] / grades[:, :5].size
    assert (shares > 0.03).all()
    assert np.corrcoef(grades[:, 2], grades[:, 3])[0, 1] > 0.4
    assert {spec.style for spec in specs} == {"tse", "space"}


def test_non_spine_is_repeatable_and_of_two_kinds() -> None:
    head, again, knee = (make_non_spine(seed, slices=3, rows=96, pixel_mm=2.5) for seed in (4, 4, 5))
    np.testing.assert_array_equal(head.array, again.array)
    assert head.array.shape == knee.array.shape == (3, 96, 96)
    assert np.corrcoef(head.array.ravel(), knee.array.ravel())[0, 1] < 0.7
    for volume in (head, knee):
        # Superior to inferior, anterior to posterior, right to left.
        np.testing.assert_allclose(volume.affine[:3, :3], [[4.0, 0, 0], [0, 0, 2.5], [0, -2.5, 0]])
        assert volume.array.max() > 10 * np.median(volume.array[:, :4])
