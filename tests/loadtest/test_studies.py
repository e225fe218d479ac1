"""The mix of studies: shares, repetitions, files that the server reads as what they are."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from pathlib import Path

import pytest

from discgrade.errors import InputError
from loadtest.studies import MIXES, Mix, Study, draws, make_studies
from preprocess.limits import Limits
from preprocess.study import read_study

SMALL = Mix(
    shares={"zip": 0.5, "files": 0.1, "enhanced": 0.1, "nifti": 0.1, "broken": 0.1, "knee": 0.1},
    slices=(1, 2),
    matrices=(96,),
    distinct=2,
    repeats=0.25,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def studies(folder: Path) -> list[Study]:
    return make_studies(SMALL, folder)


def test_every_kind_is_there_and_is_read_as_what_it_is(studies: list[Study], tmp_path: Path) -> None:
    assert Counter(study.kind for study in studies) == {
        **dict.fromkeys(("zip", "files", "enhanced", "nifti"), 2),
        "broken": 1,
        "knee": 1,
    }
    formats = {"zip": "dicom", "files": "dicom", "enhanced": "dicom-multiframe", "nifti": "nifti"}
    for number, study in enumerate(studies):
        workdir = tmp_path / str(number)
        workdir.mkdir()
        if study.kind == "broken":
            with pytest.raises(InputError):
                read_study(list(study.files), workdir, Limits())
        elif study.gradable:
            read = read_study(list(study.files), workdir, Limits())
            assert read.format == formats[study.kind]
            assert read.volume.array.shape == (study.slices, 96, 96)
            assert study.dicom == (read.source is not None)
    assert [study.gradable for study in studies if study.kind in {"broken", "knee"}] == [False, False]


def test_studies_are_made_once(studies: list[Study], folder: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    assert make_studies(SMALL, folder) == studies
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_the_same_mix_gives_the_same_bytes(studies: list[Study], tmp_path: Path) -> None:
    for study, again in zip(studies, make_studies(SMALL, tmp_path), strict=True):
        assert [file.read_bytes() for file in study.files] == [file.read_bytes() for file in again.files]


def test_draws_follow_the_shares_and_some_studies_come_again(studies: list[Study]) -> None:
    drawn = list(itertools.islice(draws(SMALL, studies, random.Random(5)), 4000))
    again = sum(one.key == two.key for one, two in itertools.pairwise(drawn))
    assert 0.2 < again / len(drawn) < 0.3
    assert all(one.study == two.study for one, two in itertools.pairwise(drawn) if one.key == two.key)
    counts = Counter(draw.study.kind for draw in drawn)
    for kind, share in SMALL.shares.items():
        assert counts[kind] / len(drawn) == pytest.approx(share, abs=0.04)
    assert drawn[:50] == list(itertools.islice(draws(SMALL, studies, random.Random(5)), 50))


@pytest.mark.parametrize("name", sorted(MIXES))
def test_the_shares_of_a_mix_are_whole(name: str) -> None:
    mix = MIXES[name]
    assert sum(mix.shares.values()) == pytest.approx(1.0)
    assert 0 < mix.repeats < 1
