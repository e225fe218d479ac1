"""Damaged bytes give a volume or an InputError, nothing else."""

import gzip
import io
import random
import zipfile
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest
from pydicom.uid import (
    JPEG2000,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from discgrade.errors import InputError
from preprocess.limits import Limits
from preprocess.study import read_study
from tests.support.dicom_files import encode, enhanced_dataset, pixels, series_datasets

ROUNDS = 60
LIMITS = Limits(max_files=50, max_bytes=20_000_000, max_slices=50)


def nifti() -> bytes:
    data: bytes = nibabel.Nifti1Image(pixels(2).astype(np.int16), np.diag([4.4, 0.7, 0.7, 1.0])).to_bytes()
    return data


def zipped() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for k, dataset in enumerate(series_datasets(pixels(2))):
            archive.writestr(f"IM{k}", encode(dataset, ExplicitVRLittleEndian))
    return stream.getvalue()


def single(syntax: str) -> Callable[[], bytes]:
    return lambda: encode(series_datasets(pixels(1))[0], syntax)


def enhanced(syntax: str) -> Callable[[], bytes]:
    return lambda: encode(enhanced_dataset(pixels(2)), syntax)


SEEDS: dict[str, Callable[[], bytes]] = {
    "explicit": single(ExplicitVRLittleEndian),
    "implicit": single(ImplicitVRLittleEndian),
    "big endian": single(ExplicitVRBigEndian),
    "deflated": single(DeflatedExplicitVRLittleEndian),
    "RLE": single(RLELossless),
    "JPEG lossless": single(JPEGLosslessSV1),
    "JPEG-LS": single(JPEGLSLossless),
    "JPEG 2000": single(JPEG2000),
    "enhanced": enhanced(ExplicitVRLittleEndian),
    "enhanced implicit": enhanced(ImplicitVRLittleEndian),
    "NIfTI": nifti,
    "NIfTI gzip": lambda: gzip.compress(nifti(), mtime=0),
    "zip": zipped,
}


def damage(data: bytes, chance: random.Random) -> bytes:
    """Change, cut, repeat or drop some bytes; headers, being small, are hit more often than their size deserves."""
    changed = bytearray(data)
    for _ in range(chance.randint(1, 6)):
        at = chance.randrange(min(len(changed), chance.choice((400, 1600, len(data)))) or 1)
        match chance.randrange(6):
            case 0 | 1 | 2:
                changed[at : at + 1] = bytes([chance.choice((0, 0xFF, 0x7F, chance.randrange(256)))])
            case 3:
                del changed[at : at + chance.randint(1, 40)]
            case 4:
                changed[at:at] = changed[at : at + chance.randint(1, 40)]
            case _:
                if chance.random() < 0.3:
                    del changed[at:]
    return bytes(changed)


@pytest.mark.parametrize("name", SEEDS)
def test_damaged_uploads_are_read_or_refused(workdir: Path, name: str) -> None:
    seed = SEEDS[name]()
    upload = workdir.parent / "upload"
    upload.write_bytes(seed)
    assert read_study([upload], workdir, LIMITS).volume.array.size > 0
    chance = random.Random(name)
    refused = 0
    for _ in range(ROUNDS):
        upload.write_bytes(damage(seed, chance))
        try:
            array = read_study([upload], workdir, LIMITS).volume.array
        except InputError:
            refused += 1
        else:
            assert np.isfinite(array).all()
    assert refused > 0
