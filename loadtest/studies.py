"""The studies that are sent: phantoms in the mix of a hospital, made once and kept in a folder.

Where the mix comes from: docs/load.md.
"""

from __future__ import annotations

import hashlib
import json
import random
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from training.phantom import PhantomSpec, make_non_spine, make_phantom, write_dicom, write_nifti, write_zip

__all__ = ["MIXES", "Draw", "Mix", "Study", "draws", "make_studies"]

_INDEX = "studies.json"
_CUT_OFF = b"\x1f\x8b\x08\x00 cut off"
_FIELD_MM = 300.0
_KNEE = 1
_GRADED = ("zip", "files", "enhanced", "nifti")


@dataclass(frozen=True)
class Mix:
    """What is sent.

    Attributes:
        shares: Share of the studies of each kind: ``zip`` (classic DICOM in a zip), ``files`` (the same, loose),
            ``enhanced`` (one multi-frame object), ``nifti``; and of what cannot be graded: ``broken`` (a file cut off)
            and ``knee`` (another part of the body).
        slices: Numbers of slices, equally likely.
        matrices: Rows and columns of the square slices, equally likely.
        distinct: How many different studies there are of each kind that can be graded.
        repeats: Share of the studies that were sent just before, and are sent again.
    """

    shares: dict[str, float]
    slices: tuple[int, ...]
    matrices: tuple[int, ...]
    distinct: int
    repeats: float


MIXES = {
    "hospital": Mix(
        shares={"zip": 0.60, "files": 0.14, "enhanced": 0.12, "nifti": 0.10, "broken": 0.02, "knee": 0.02},
        slices=tuple(range(11, 21)),
        matrices=(320, 384, 448, 448, 512, 640),
        distinct=6,
        repeats=0.1,
    ),
    "smoke": Mix(
        shares={"zip": 0.4, "files": 0.1, "enhanced": 0.1, "nifti": 0.2, "broken": 0.2},
        slices=(2,),
        matrices=(192,),
        distinct=1,
        repeats=0.2,
    ),
    "quick": Mix(
        shares={"zip": 0.60, "files": 0.14, "enhanced": 0.12, "nifti": 0.10, "broken": 0.04},
        slices=(3,),
        matrices=(256,),
        distinct=12,
        repeats=0.1,
    ),
}
"""``hospital`` is what figures are made with; ``quick`` has studies that cost little, for many of them; ``smoke`` shows
whether anything works."""


@dataclass(frozen=True)
class Study:
    """One study on disk.

    Attributes:
        kind: One of the kinds of :class:`Mix`.
        slices: How many; 0 where it cannot be graded.
        files: What is sent.
    """

    kind: str
    slices: int
    files: tuple[Path, ...]

    @property
    def gradable(self) -> bool:
        """Whether the server should grade it; else it should refuse it with a 4xx problem document."""
        return self.kind in _GRADED

    @property
    def dicom(self) -> bool:
        """Whether its result has DICOM files."""
        return self.gradable and self.kind != "nifti"


@dataclass(frozen=True)
class Draw:
    """A study to send.

    Attributes:
        study: The study.
        key: Names this sending; a repetition has the key of the one that it repeats.
    """

    study: Study
    key: str


def make_studies(mix: Mix, folder: Path) -> list[Study]:
    """The studies of a mix; made at the first call, read from the folder at later ones.

    Args:
        mix: What they are like; the same mix always gives the same bytes.
        folder: Studies of different mixes may share it.
    """
    name = hashlib.sha256(json.dumps(asdict(mix), sort_keys=True).encode()).hexdigest()[:12]
    home = folder / name
    if not (home / _INDEX).exists():
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            made = Path(scratch, name)
            rows = [
                {"kind": study.kind, "slices": study.slices, "files": [str(f.relative_to(made)) for f in study.files]}
                for study in _made(mix, made)
            ]
            (made / _INDEX).write_text(json.dumps(rows, indent=1))
            made.rename(home)  # whole or not at all
    return [
        Study(row["kind"], row["slices"], tuple(home / file for file in row["files"]))
        for row in json.loads((home / _INDEX).read_text())
    ]


def _made(mix: Mix, home: Path) -> Iterator[Study]:
    rng = random.Random(0)
    kinds = [kind for kind in mix.shares for _ in range(mix.distinct if kind in _GRADED else 1)]
    for number, kind in enumerate(kinds):
        slices, matrix = rng.choice(mix.slices), rng.choice(mix.matrices)
        folder = home / f"{number:03d}"
        folder.mkdir(parents=True)
        if kind == "broken":
            (folder / "study.nii.gz").write_bytes(_CUT_OFF)
            yield Study(kind, 0, (folder / "study.nii.gz",))
        elif kind == "knee":
            with tempfile.TemporaryDirectory() as loose:
                files = write_dicom(make_non_spine(_KNEE), Path(loose))
                yield Study(kind, 0, (write_zip(files, folder / "study.zip"),))
        else:
            yield Study(kind, slices, _written(kind, number, slices, matrix, folder))


def _written(kind: str, seed: int, slices: int, matrix: int, folder: Path) -> tuple[Path, ...]:
    rng = random.Random(seed)
    grades = tuple(rng.choice((1, 2, 2, 3, 3, 4, 5)) for _ in range(7))
    # 66 mm from side to side, as spines need it: more slices lie closer together.
    spec = PhantomSpec(
        seed=seed,
        grades=grades,
        slices=slices,
        slice_spacing_mm=min(66.0 / slices, 5.0),
        pixel_mm=_FIELD_MM / matrix,
        matrix=(matrix, matrix),
    )
    phantom = make_phantom(spec)
    if kind == "nifti":
        return (write_nifti(phantom, folder / "study.nii.gz"),)
    if kind == "zip":
        with tempfile.TemporaryDirectory() as loose:
            return (write_zip(write_dicom(phantom, Path(loose)), folder / "study.zip"),)
    return tuple(write_dicom(phantom, folder, enhanced=kind == "enhanced"))


def draws(mix: Mix, studies: Sequence[Study], rng: random.Random) -> Iterator[Draw]:
    """Draw studies for ever: kinds by their shares, studies of a kind equally likely, some sent again.

    Args:
        mix: The shares.
        studies: From :func:`make_studies` with the same mix.
        rng: Source of randomness; the draws depend on nothing else.
    """
    by_kind = {kind: [study for study in studies if study.kind == kind] for kind in mix.shares}
    last: Draw | None = None
    while True:
        if last is None or rng.random() >= mix.repeats:
            (kind,) = rng.choices(list(mix.shares), list(mix.shares.values()))
            last = Draw(rng.choice(by_kind[kind]), str(uuid.UUID(int=rng.getrandbits(128), version=4)))
        yield last
