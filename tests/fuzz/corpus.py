"""Uploads that went wrong on the way: valid studies and bad inputs, damaged in ways that a number repeats exactly."""

from __future__ import annotations

import gzip
import io
import random
import struct
import warnings
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import nibabel
import numpy as np
import pydicom
from pydicom import Dataset, config
from pydicom.datadict import dictionary_VR
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

from tests.support.bad_inputs import BAD_INPUTS
from tests.support.dicom_files import encode, enhanced_dataset, pixels, series_datasets
from tests.support.studies import STUDY_FORMATS, write_study
from training.phantom import PhantomSpec, make_phantom

__all__ = ["Case", "make_case"]

BOUNDARY = b"fuzzfuzzfuzz"
CONTENT_TYPE = f"multipart/form-data; boundary={BOUNDARY.decode()}"
_MAX_SEED_BYTES = 1_500_000
_SYNTAXES = {
    "explicit": ExplicitVRLittleEndian,
    "implicit": ImplicitVRLittleEndian,
    "big endian": ExplicitVRBigEndian,
    "deflated": DeflatedExplicitVRLittleEndian,
    "RLE": RLELossless,
    "JPEG lossless": JPEGLosslessSV1,
    "JPEG-LS": JPEGLSLossless,
    "JPEG 2000": JPEG2000,
}


@dataclass(frozen=True)
class Case:
    """One upload.

    Attributes:
        number: Makes it again.
        origin: The seed it was made from, and how.
        body: A multipart body.
    """

    number: int
    origin: str
    body: bytes


@cache
def seeds() -> dict[str, list[bytes]]:
    """What is damaged: files by name. All are small, so that an upload takes milliseconds."""
    found: dict[str, list[bytes]] = {}
    spine = make_phantom(PhantomSpec(slices=3, matrix=(176, 144), pixel_mm=1.6))
    for form in STUDY_FORMATS:
        with TemporaryDirectory() as folder:
            found[f"spine, {form}"] = [path.read_bytes() for path in write_study(spine, Path(folder), form)]
    for name, syntax in _SYNTAXES.items():
        found[f"series, {name}"] = [encode(dataset, syntax) for dataset in series_datasets(pixels(3))]
        if syntax not in (JPEGLosslessSV1,):
            found[f"multi-frame, {name}"] = [encode(enhanced_dataset(pixels(3)), syntax)]
    image = nibabel.Nifti1Image(pixels(3).astype(np.int16), np.diag([4.4, 0.7, 0.7, 1.0]))
    found["NIfTI-1"] = [image.to_bytes()]
    found["NIfTI-2"] = [nibabel.Nifti2Image(pixels(3).astype(np.float32), image.affine).to_bytes()]
    found["zip of NIfTI"] = [_zip([found["NIfTI-1"][0]], zipfile.ZIP_DEFLATED)]
    found["zip, stored"] = [_zip(found["series, explicit"], zipfile.ZIP_STORED)]
    for name, (make, _) in BAD_INPUTS.items():
        files = make()
        if files and sum(map(len, files)) <= _MAX_SEED_BYTES:
            found[f"bad: {name}"] = files
    return found


def make_case(number: int, seed: int = 0) -> Case:
    """Make an upload.

    Args:
        number: Which of them.
        seed: Another one gives others.
    """
    chance = random.Random(f"{seed}/{number}")
    name = chance.choice(sorted(seeds()))
    files = list(seeds()[name])
    how = chance.choice(sorted(_WAYS))
    with warnings.catch_warnings(action="ignore"):  # pydicom's, of what is meant
        files = _WAYS[how](files, chance)
    body = _multipart(files)
    if chance.random() < 0.04:
        how += ", then the body"
        body = damaged(body, chance)
    return Case(number, f"{name}; {how}", body)


def _multipart(files: list[bytes]) -> bytes:
    head = b"--" + BOUNDARY + b'\r\nContent-Disposition: form-data; name="files"; filename="a"\r\n\r\n'
    return b"".join(head + data + b"\r\n" for data in files) + b"--" + BOUNDARY + b"--\r\n"


def _zip(members: list[bytes], method: int) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for index, data in enumerate(members):
            archive.writestr(f"IM{index}", data)
    return out.getvalue()


def damaged(data: bytes, chance: random.Random) -> bytes:
    """Change, cut, repeat or drop bytes; headers, being small, are hit more often than their size deserves."""
    changed = bytearray(data)
    for _ in range(chance.randint(1, 6)):
        at = chance.randrange(min(len(changed), chance.choice((400, 1600, len(data)))) or 1)
        length = chance.choice((1, 2, 4, 8, 40, 1000))
        match chance.randrange(8):
            case 0 | 1:
                changed[at : at + 1] = bytes([chance.choice((0, 0xFF, 0x7F, chance.randrange(256)))])
            case 2:
                changed[at : at + 1] = bytes([(changed[at] if at < len(changed) else 0) ^ 1 << chance.randrange(8)])
            case 3:
                value = chance.choice(
                    (0, 1, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFE, 0xFFFFFFFF, chance.getrandbits(32))
                )
                changed[at : at + 4] = value.to_bytes(4, chance.choice(("little", "big")))
            case 4:
                del changed[at : at + length]
            case 5:
                changed[at:at] = changed[at : at + length]
            case 6:
                changed[at : at + length] = chance.randbytes(length)
            case _:
                if chance.random() < 0.3:
                    del changed[at:]
    return bytes(changed)


def _as_it_is(files: list[bytes], _: random.Random) -> list[bytes]:
    return files


def _bytes(files: list[bytes], chance: random.Random) -> list[bytes]:
    hit = chance.randrange(len(files))
    return [damaged(data, chance) if index == hit else data for index, data in enumerate(files)]


def _every_file(files: list[bytes], chance: random.Random) -> list[bytes]:
    """The same damage in each file, as a broken exporter does it: what one slice says, all say."""
    number = chance.getrandbits(32)
    return [damaged(data, random.Random(number)) for data in files]


def _splice(files: list[bytes], chance: random.Random) -> list[bytes]:
    other = chance.choice(seeds()[chance.choice(sorted(seeds()))])
    data = files[0]
    cut, to = chance.randrange(len(data) + 1), chance.randrange(len(other) + 1)
    return [data[:cut] + other[to:], *files[1:]]


def _mix(files: list[bytes], chance: random.Random) -> list[bytes]:
    other = seeds()[chance.choice(sorted(seeds()))]
    mixed = [*files, *chance.sample(other, chance.randint(1, len(other)))]
    chance.shuffle(mixed)
    return mixed


def _repeat(files: list[bytes], chance: random.Random) -> list[bytes]:
    return files * chance.randint(2, 4) if chance.random() < 0.5 else [data for data in files if chance.random() < 0.7]


def _packed(files: list[bytes], chance: random.Random) -> list[bytes]:
    """Inside a zip or gzip, whose own structures are then damaged."""
    if chance.random() < 0.3:
        data = gzip.compress(files[0], 1, mtime=0)
    else:
        data = _zip(
            files, chance.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA))
        )
    if chance.random() < 0.5:
        tail = chance.randint(1, 200)
        data = data[:-tail] + damaged(data[-tail:], chance)
    return [data]


_NIFTI_FIELDS = {  # name: offset and struct format in the NIfTI-1 header
    "sizeof_hdr": (0, "i"),
    "dim": (40, "8h"),
    "intent_code": (68, "h"),
    "datatype": (70, "h"),
    "bitpix": (72, "h"),
    "pixdim": (76, "8f"),
    "vox_offset": (108, "f"),
    "scl_slope": (112, "f"),
    "scl_inter": (116, "f"),
    "xyzt_units": (123, "b"),
    "qform_code": (252, "h"),
    "sform_code": (254, "h"),
    "quatern": (256, "6f"),
    "srow": (280, "12f"),
    "magic": (344, "4b"),
}
_FLOATS = (0.0, -0.0, 1.0, -1.0, 1e-40, 1e30, float("inf"), float("-inf"), float("nan"), 0.7, 352.0)
_INTEGERS = (0, 1, -1, 2, 3, 4, 5, 7, 8, 16, 64, 127, -128)
_SHORTS = (*_INTEGERS, 256, 512, 768, 1024, 2304, 32767, -32768)


def _nifti_header(files: list[bytes], chance: random.Random) -> list[bytes]:
    data = bytearray(seeds()["NIfTI-1" if chance.random() < 0.5 else "spine, nifti"][0])
    packed = data[:2] == b"\x1f\x8b"
    if packed:
        data = bytearray(gzip.decompress(bytes(data)))
    for _ in range(chance.randint(1, 3)):
        offset, kind = _NIFTI_FIELDS[chance.choice(sorted(_NIFTI_FIELDS))]
        count, code = int(kind[:-1] or 1), kind[-1]
        at = offset + chance.randrange(count) * struct.calcsize(code)
        values = _FLOATS if code == "f" else _INTEGERS if code == "b" else _SHORTS
        data[at : at + struct.calcsize(code)] = struct.pack(f"<{code}", chance.choice(values))
    return [gzip.compress(bytes(data), 1, mtime=0) if packed else bytes(data)]


_KEYWORDS = (
    "BitsAllocated BitsStored HighBit PixelRepresentation Rows Columns NumberOfFrames SamplesPerPixel "
    "PhotometricInterpretation PlanarConfiguration PixelSpacing SpacingBetweenSlices SliceThickness "
    "ImageOrientationPatient ImagePositionPatient RescaleSlope RescaleIntercept EchoTime RepetitionTime "
    "InversionTime ImageType Modality SeriesInstanceUID StudyInstanceUID FrameOfReferenceUID SOPClassUID "
    "SOPInstanceUID PatientID PatientName PatientBirthDate InstanceNumber SeriesDescription ScanningSequence "
    "SequenceVariant ScanOptions MRAcquisitionType BodyPartExamined SpecificCharacterSet EchoNumbers "
    "TemporalPositionIndex AcquisitionNumber SharedFunctionalGroupsSequence PerFrameFunctionalGroupsSequence "
    "PixelData WindowCenter "
)
_ATTRIBUTES = _KEYWORDS.split()
_TEXTS = (
    "",
    " ",
    "0",
    "-1",
    "1e999",
    "NaN",
    "inf",
    "1\\2",
    "1\\2\\3\\4\\5\\6",
    "0\\0\\0\\0\\0\\0",
    "x" * 300,
    "é\udcff",
    "\0",
)
_LENGTH_FREE = ("OB", "OW", "UN")


def _attributes(files: list[bytes], chance: random.Random) -> list[bytes]:
    """Values that no scanner writes, in otherwise valid objects; in one file, or the same in all."""
    names = [chance.choice(_ATTRIBUTES) for _ in range(chance.randint(1, 3))]
    number, alone = chance.getrandbits(32), chance.random() < 0.4
    changed = []
    for index, data in enumerate(files):
        if alone and index:
            changed.append(data)
            continue
        own = random.Random(number)
        try:
            dataset = pydicom.dcmread(io.BytesIO(data))
            for name in names:
                _set(dataset, name, own)
            out = io.BytesIO()
            dataset.save_as(out, enforce_file_format=False)
            changed.append(out.getvalue())
        except Exception:  # pydicom will not read or write everything: then bytes have to do
            changed.append(damaged(data, own))
    return changed


def _set(dataset: Dataset, name: str, chance: random.Random) -> None:
    if name in dataset and chance.random() < 0.25:
        del dataset[name]
        return
    kind = dictionary_VR(name)
    if kind in ("US", "SS", "US or SS"):
        setattr(dataset, name, chance.choice((0, 1, 2, 7, 8, 15, 16, 32, 64, 255, 4096, 65535)))
    elif kind in ("OB or OW", "OB", "OW"):
        dataset[name].value = chance.choice((b"", b"\0", dataset[name].value[:-2], dataset[name].value * 2))
    elif kind == "SQ":
        setattr(dataset, name, chance.choice(([], [Dataset()], [Dataset()] * 40)))
    elif kind in ("DS", "IS"):
        values = [
            chance.choice(("0", "-1", "1", "1e-30", "1e30", "0.5", "99999999")) for _ in range(chance.randint(1, 6))
        ]
        setattr(dataset, name, values if len(values) > 1 else values[0])
    else:
        setattr(dataset, name, chance.choice(_TEXTS))


_WAYS: dict[str, Callable[[list[bytes], random.Random], list[bytes]]] = {
    "as it is": _as_it_is,
    "bytes of one file": _bytes,
    "bytes of every file": _every_file,
    "spliced with another": _splice,
    "mixed with another": _mix,
    "repeated or thinned": _repeat,
    "packed": _packed,
    "NIfTI header": _nifti_header,
    "attributes": _attributes,
    "attributes again": _attributes,
}

config.settings.writing_validation_mode = config.IGNORE
config.settings.reading_validation_mode = config.IGNORE
