"""The profile and its options, file by file."""

from __future__ import annotations

import gzip
import json
import stat
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import Dataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    MediaStorageDirectoryStorage,
    MRImageStorage,
    RLELossless,
    SecondaryCaptureImageStorage,
)

from discgrade.errors import InputError
from gateway.deidentify import Deidentifier, Option
from gateway.deidentify.keyed import Keyed
from gateway.deidentify.mapping import Mapping
from gateway.deidentify.profile import EDITION, Profile, table_tags
from gateway.deidentify.words import clean
from preprocess.contrast import describes, is_localizer, weighting
from preprocess.dicom_slice import Acquisition
from preprocess.limits import Limits
from preprocess.study import read_study
from tests.support import dicom_files

Run = Callable[..., list[Path]]
DAMAGED = dicom_files.encode(dicom_files.series_datasets(dicom_files.pixels(2))[0], RLELossless)
SYNTAXES = [
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    ExplicitVRBigEndian,
    DeflatedExplicitVRLittleEndian,
    RLELossless,
    JPEGLSLossless,
    JPEG2000Lossless,
]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """De-identifies files; a fresh pair of folders each time."""

    def deidentify(
        files: list[Path], *options: Option, key: bytes = b"k" * 32, mapping: Path | None = None
    ) -> list[Path]:
        number = len(list(tmp_path.glob("run-*")))
        into, workdir = tmp_path / f"run-{number}" / "into", tmp_path / f"run-{number}" / "work"
        into.mkdir(parents=True)
        workdir.mkdir()
        kept = None if mapping is None else Mapping(mapping)
        return Deidentifier(Profile(frozenset(options)), Keyed(key), kept, Limits()).study(files, into, workdir)

    return deidentify


def one(run: Run, folder: Path, *options: Option, **attributes: Any) -> Dataset:
    """A single slice with these attributes, de-identified."""
    (dataset, *_) = dicom_files.series_datasets(**attributes)
    (path,) = run(dicom_files.write([dataset], folder / "in"), *options)
    return pydicom.dcmread(path)


@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda syntax: syntax.name)
def test_pixels_are_the_same_byte_for_byte(run: Run, tmp_path: Path, syntax: str) -> None:
    files = dicom_files.write(dicom_files.series_datasets(), tmp_path / "in", syntax)
    for before, after in zip(files, run(files), strict=True):
        old, new = pydicom.dcmread(before), pydicom.dcmread(after)
        assert old.PixelData == new.PixelData
        flat = ExplicitVRLittleEndian if syntax == DeflatedExplicitVRLittleEndian else syntax
        assert new.file_meta.TransferSyntaxUID == flat
        np.testing.assert_array_equal(old.pixel_array, new.pixel_array)


def test_a_file_without_meta_information_gets_one(run: Run, tmp_path: Path) -> None:
    (dataset, *_) = dicom_files.series_datasets()
    path = tmp_path / "bare"
    dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    pydicom.dcmwrite(path, dataset, enforce_file_format=False, implicit_vr=True, little_endian=True)
    content = path.read_bytes()
    path.write_bytes(content[content.index(b"\x08\x00\x08\x00") :])  # the data set alone
    assert pydicom.dcmread(run([path])[0]).PixelData == dataset.PixelData


def test_the_volume_is_the_same_of_every_kind_of_source(run: Run, tmp_path: Path) -> None:
    for name, datasets in {
        "classic": dicom_files.series_datasets(),
        "enhanced": [dicom_files.enhanced_dataset()],
    }.items():
        files = dicom_files.write(datasets, tmp_path / name)
        (tmp_path / f"{name}-work").mkdir()
        plain, masked = (read_study(paths, tmp_path / f"{name}-work").volume for paths in (files, run(files)))
        np.testing.assert_array_equal(plain.array, masked.array)
        np.testing.assert_array_equal(plain.affine, masked.affine)


def test_uids_are_replaced_everywhere_alike(run: Run, tmp_path: Path) -> None:
    datasets = dicom_files.series_datasets()
    reference = Dataset()
    reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID = MRImageStorage, datasets[1].SOPInstanceUID
    datasets[0].ReferencedImageSequence = [reference]
    files = dicom_files.write(datasets, tmp_path / "in")
    new = [pydicom.dcmread(path) for path in run(files)]
    assert (
        len({dataset.SeriesInstanceUID for dataset in new}) == len({dataset.StudyInstanceUID for dataset in new}) == 1
    )
    assert len({dataset.SOPInstanceUID for dataset in new}) == len(new)
    assert new[0].ReferencedImageSequence[0].ReferencedSOPInstanceUID == new[1].SOPInstanceUID
    assert new[0].ReferencedImageSequence[0].ReferencedSOPClassUID == new[0].SOPClassUID == MRImageStorage
    for old, dataset in zip(datasets, new, strict=True):
        assert dataset.SOPInstanceUID.is_valid
        assert dataset.file_meta.MediaStorageSOPInstanceUID == dataset.SOPInstanceUID != old.SOPInstanceUID
    again, otherwise = (pydicom.dcmread(run(files, key=key)[0]) for key in (b"k" * 32, b"l" * 32))
    assert again.SOPInstanceUID == new[0].SOPInstanceUID != otherwise.SOPInstanceUID
    assert pydicom.dcmread(run(files, Option.RETAIN_UIDS)[0]).SOPInstanceUID == datasets[0].SOPInstanceUID


def test_what_was_done_is_said(run: Run, tmp_path: Path) -> None:
    options = sorted(set(Option) - {Option.RETAIN_DATES})
    dataset = one(run, tmp_path, *options)
    assert dataset.PatientIdentityRemoved == "YES"
    assert dataset.LongitudinalTemporalInformationModified == "MODIFIED"
    codes = dataset.DeidentificationMethodCodeSequence
    assert {(code.CodingSchemeDesignator, code.CodeValue, code.CodeMeaning) for code in codes} == {
        ("DCM", "113100", "Basic Application Confidentiality Profile"),
        *(("DCM", *option.code) for option in options),
    }


def test_codes_are_those_of_the_standard() -> None:
    from pydicom.sr.codedict import codes

    known = {code.value: code.meaning for code in (getattr(codes.CID7050, name) for name in codes.CID7050.dir())}
    assert {option.code[0]: option.code[1] for option in Option}.items() <= known.items()


DATES = {
    "StudyDate": "20240229",
    "StudyTime": "101112",
    "AcquisitionDateTime": "20240301101112.5",
    "PatientAge": "061Y",
}


@pytest.mark.parametrize(
    ("option", "said", "study_time"),
    [(None, "REMOVED", ""), (Option.RETAIN_DATES, "UNMODIFIED", "101112"), (Option.SHIFT_DATES, "MODIFIED", "101112")],
)
def test_dates_go_stay_or_move_together(
    run: Run, tmp_path: Path, option: Option | None, said: str, study_time: str
) -> None:
    dataset = one(run, tmp_path, *([option] if option else []), **DATES)
    assert dataset.LongitudinalTemporalInformationModified == said
    assert dataset.StudyTime == study_time
    assert dataset.PatientBirthDate == ""
    day, moment = str(dataset.StudyDate), str(dataset.AcquisitionDateTime)
    if option is Option.RETAIN_DATES:
        assert (day, moment) == ("20240229", DATES["AcquisitionDateTime"])
    elif option is Option.SHIFT_DATES:
        assert day < "2023"
        assert (
            np.datetime64(f"{moment[:4]}-{moment[4:6]}-{moment[6:8]}")
            - np.datetime64(f"{day[:4]}-{day[4:6]}-{day[6:]}")
        ) == 1
        assert moment.endswith("101112.5")
    else:
        assert (day, moment) == ("", "19000101000000")


@pytest.mark.parametrize(
    ("option", "attributes"),
    [
        (Option.RETAIN_PATIENT_CHARACTERISTICS, {"PatientAge": "061Y", "PatientSex": "F", "PatientWeight": "71"}),
        (Option.RETAIN_DEVICE, {"DeviceSerialNumber": "4711", "StationName": "MR1"}),
        (Option.RETAIN_INSTITUTION, {"InstitutionName": "Klinik", "InstitutionAddress": "Weg 1"}),
    ],
)
def test_an_option_retains_what_it_says_and_nothing_else(
    run: Run, tmp_path: Path, option: Option, attributes: dict[str, str]
) -> None:
    kept = one(run, tmp_path / "with", option, **attributes, PatientComments="Mustermann")
    gone = one(run, tmp_path / "without", **attributes)
    for keyword, value in attributes.items():
        assert str(kept[keyword].value) == value
        assert str(gone.get(keyword, "")) != value
    assert "PatientComments" not in kept


def test_pixels_of_captures_and_reports_are_not_kept(run: Run, tmp_path: Path) -> None:
    (capture, mr, *_) = dicom_files.series_datasets()
    capture.SOPClassUID = capture.file_meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    capture.Modality, capture.BurnedInAnnotation = "OT", "YES"
    after = [pydicom.dcmread(path) for path in run(dicom_files.write([capture, mr], tmp_path / "in"))]
    assert after[0].PixelData == b"\0\0"
    assert after[1].PixelData == mr.PixelData


def test_what_is_no_image_leaves_nothing_but_that_it_was_there(run: Run, tmp_path: Path) -> None:
    files = dicom_files.write(dicom_files.series_datasets(), tmp_path / "in")
    (tmp_path / "in" / "letter").write_text("Mustermann")
    (tmp_path / "in" / "empty").touch()
    after = run([*files, tmp_path / "in" / "letter", tmp_path / "in" / "empty"])
    assert b"Mustermann" not in after[-2].read_bytes()
    (tmp_path / "work").mkdir()
    assert [warning.code for warning in read_study(after, tmp_path / "work").warnings] == ["files_ignored"]


def test_lies_about_value_representations_hide_nothing(run: Run, tmp_path: Path) -> None:
    (dataset, *_) = dicom_files.series_datasets()
    (path,) = dicom_files.write([dataset], tmp_path / "in")
    content = path.read_bytes()
    word = b"Mustermann"
    inner = b"\x10\x00\x10\x00PN" + len(word).to_bytes(2, "little") + word
    item = b"\xfe\xff\x00\xe0" + len(inner).to_bytes(4, "little") + inner
    elements = [
        b"\x08\x00\x40\x11UN\0\0" + len(item).to_bytes(4, "little") + item,  # a sequence told to be unknown
        b"\x08\x00\x60\x00SQ\0\0" + len(item).to_bytes(4, "little") + item,  # a value told to be a sequence
        b"\x08\x00\x40\x11LO" + len(word).to_bytes(2, "little") + word,  # and the other way
        b"\x10\x00\x00\x40UN\0\0" + len(word).to_bytes(4, "little") + word,
    ]
    at = content.index(b"\x10\x00\x10\x00PN")
    for element in elements:
        path.write_bytes(content[:at] + element + content[at:])
        assert word not in run([path])[0].read_bytes()


@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_nifti_keeps_its_voxels_and_loses_its_words(run: Run, tmp_path: Path, kind: Any, name: str) -> None:
    affine = np.array([[0, 0, 4.0, -30], [-0.7, 0, 0, 80], [0, -0.7, 0, 90], [0, 0, 0, 1]])
    image = kind(dicom_files.pixels(5).transpose(1, 2, 0), affine)
    for field in ("descrip", "aux_file", "intent_name"):
        image.header[field] = b"Mustermann"
    image.header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", b"Mustermann^Erika"))
    nibabel.save(image, tmp_path / name)
    with (tmp_path / name).open("ab") as file:
        file.write(gzip.compress(b"Mustermann") if name.endswith("gz") else b"Mustermann")
    (after,) = run([tmp_path / name])
    content = after.read_bytes()
    assert content.startswith(b"\x1f\x8b") == name.endswith("gz")
    assert b"Mustermann" not in (gzip.decompress(content) if name.endswith("gz") else content)
    (tmp_path / "work").mkdir()
    plain, masked = (read_study([path], tmp_path / "work").volume for path in (tmp_path / name, after))
    np.testing.assert_array_equal(plain.array, masked.array)
    np.testing.assert_array_equal(plain.affine, masked.affine)


def test_what_pseudonyms_stand_for_is_kept_if_wanted(run: Run, tmp_path: Path) -> None:
    files = dicom_files.write(dicom_files.series_datasets(), tmp_path / "in")
    path = tmp_path / "mapping" / "kept.jsonl"
    for _ in range(2):
        (after, *_) = run(files, mapping=path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    dataset = pydicom.dcmread(after)
    mapping = Mapping(path)
    assert mapping.find(str(dataset.PatientID)) == ("PatientID", "SYNTHETIC")
    assert mapping.find(str(dataset.StudyInstanceUID)) == ("StudyInstanceUID", dicom_files.STUDY)
    assert mapping.find("unknown") is None
    with path.open("a") as file:
        file.write('{"cut off')
    assert mapping.find("unknown") is None
    assert all(json.loads(line) for line in path.read_text().splitlines()[:-1])


DESCRIPTIONS = {
    "t2_tse_sag Mustermann 4711": "t2_tse_sag",
    "SAG T2 FRFSE (Dr. Müller)": "SAG T2 FRFSE",
    "T2W_TSE LWS 12.03.1961": "T2W_TSE LWS",
    "t2_tse_dixon_sag_W": "t2_tse_dixon_sag_W",
    "Sag T2 w/o FS": "Sag T2 w/o FS",
    "3-Plane Localizer": "Plane Localizer",
    "Erika": "",
    "STIR sag": "STIR sag",
    "t2* gre Mustermann": "t2* gre",
}


@pytest.mark.parametrize(("told", "left"), DESCRIPTIONS.items())
def test_descriptors_keep_what_the_choice_of_the_series_reads(told: str, left: str) -> None:
    assert clean(told) == left
    before, after = (
        Acquisition(description=text.lower(), echo_time=100.0, repetition_time=3000.0) for text in (told, left)
    )
    assert weighting(before) is weighting(after)
    assert is_localizer(before) == is_localizer(after)
    for word in ("lumbar", "spine", "elsewhere", "t2", "fast spin echo", "fat suppressed", "not fat suppressed"):
        assert describes(before, word) == describes(after, word)


def test_the_table_is_of_a_recent_edition() -> None:
    assert EDITION >= "2026c"
    assert len(table_tags()) > 640


def test_a_directory_loses_its_records_and_stays_a_directory(run: Run, tmp_path: Path) -> None:
    files = dicom_files.write(dicom_files.series_datasets(), tmp_path / "in")
    directory = Dataset()
    record = Dataset()
    record.DirectoryRecordType, record.PatientName, record.ReferencedFileID = "PATIENT", "Mustermann", ["MUSTERMANN"]
    directory.FileSetID = "MUSTERMANN"
    directory.DirectoryRecordSequence = [record]
    directory.file_meta = dicom_files.file_meta(MediaStorageDirectoryStorage, dicom_files.uid("directory"))
    files.append(tmp_path / "DICOMDIR")
    files[-1].write_bytes(dicom_files.encode(directory, ExplicitVRLittleEndian))
    after = run(files)
    assert b"MUSTERMANN" not in after[-1].read_bytes().upper()
    (tmp_path / "work").mkdir()
    assert len(read_study(after, tmp_path / "work").volume.array) == len(files) - 1


@settings(max_examples=150, deadline=None)
@given(changes=st.lists(st.tuples(st.integers(132, 1999), st.integers(0, 255)), min_size=1, max_size=6))
def test_damage_is_an_error_of_ours_or_none(changes: list[tuple[int, int]]) -> None:
    content = bytearray(DAMAGED)
    for at, value in changes:
        content[at % len(content)] = value
    with tempfile.TemporaryDirectory() as folder:
        path, into, workdir = (Path(folder, name) for name in ("in", "into", "work"))
        path.write_bytes(content)
        into.mkdir()
        workdir.mkdir()
        with suppress(InputError):
            Deidentifier(Profile(frozenset(Option) - {Option.RETAIN_DATES}), Keyed(b"k" * 32), None, Limits()).study(
                [path], into, workdir
            )
