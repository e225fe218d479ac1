import struct
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.encaps import encapsulate, get_frame
from pydicom.uid import (
    JPEG2000,
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from discgrade.errors import UnreadableFile, UnsupportedTransferSyntax
from preprocess.study import read_study
from tests.support.dicom_files import encode, enhanced_dataset, jpeg_baseline, pixels, series_datasets, write

NATIVE = [ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian]
LOSSLESS = [RLELossless, JPEGLosslessSV1, JPEGLSLossless, JPEG2000Lossless]
LOSSY: dict[str, float] = {
    JPEGLSNearLossless: 2.0,
    JPEG2000: 15.0,
}  # in stored values: what the encoder is told, what ratio 2 costs here
COMPRESSED = [*LOSSLESS, *LOSSY]


@pytest.mark.parametrize("signed", [False, True], ids=["unsigned", "signed"])
@pytest.mark.parametrize("syntax", [*NATIVE, *COMPRESSED], ids=lambda syntax: syntax.keyword)
def test_every_syntax_gives_the_same_pixels(workdir: Path, syntax: str, signed: bool) -> None:
    image = pixels(3, signed=signed)
    paths = write(series_datasets(image), workdir.parent / "in", syntax)
    assert {dcmread(path).file_meta.TransferSyntaxUID for path in paths} == {syntax}
    volume = read_study(paths, workdir).volume
    assert np.abs(volume.array - image).max() <= LOSSY.get(syntax, 0.0)
    assert volume.spacing == pytest.approx((4.4, 0.75, 0.625))


@pytest.mark.parametrize("syntax", [*NATIVE, *LOSSLESS], ids=lambda syntax: syntax.keyword)
def test_every_syntax_of_an_enhanced_object(workdir: Path, syntax: str) -> None:
    study = read_study(write([enhanced_dataset(order=[3, 0, 2, 1, 4])], workdir.parent / "in", syntax), workdir)
    np.testing.assert_allclose(study.volume.array, pixels() * np.arange(2.0, 7.0)[:, None, None] - 3)


def test_jpeg_baseline(workdir: Path) -> None:
    image = (pixels(3) // 16).astype(np.uint8)
    datasets = [jpeg_baseline(dataset) for dataset in series_datasets(image, bits=8)]
    volume = read_study(write(datasets, workdir.parent / "in", JPEGBaseline8Bit), workdir).volume
    assert np.abs(volume.array - image).mean() < 2.0


@pytest.mark.parametrize("syntax", [*NATIVE, *COMPRESSED], ids=lambda syntax: syntax.keyword)
@pytest.mark.parametrize("lost", [9, 400])
def test_a_truncated_file_is_unreadable(workdir: Path, syntax: str, lost: int) -> None:
    paths = write(series_datasets(pixels(3)), workdir.parent / "in", syntax)
    paths[1].write_bytes(paths[1].read_bytes()[:-lost])
    with pytest.raises(UnreadableFile, match="file 2 of 3 is truncated"):
        read_study(paths, workdir)


@pytest.mark.parametrize("syntax", COMPRESSED, ids=lambda syntax: syntax.keyword)
@pytest.mark.parametrize("share", [0.05, 0.6, 0.99])
def test_a_truncated_codestream_is_unreadable(workdir: Path, syntax: str, share: float) -> None:
    paths = write(series_datasets(pixels(3)), workdir.parent / "in", syntax)
    dataset = dcmread(paths[1])
    frame = get_frame(dataset.PixelData, 0, number_of_frames=1)
    dataset.PixelData = encapsulate([frame[: int(len(frame) * share)]])
    dataset.save_as(paths[1])
    with pytest.raises(UnreadableFile, match="pixel data of file 2 of 3"):
        read_study(paths, workdir)


@pytest.mark.parametrize(
    ("syntax", "marker", "offset", "form"),
    [
        (JPEGLosslessSV1, b"\xff\xc3", 5, ">HH"),
        (JPEGLSLossless, b"\xff\xf7", 5, ">HH"),
        (JPEG2000Lossless, b"\xff\x51", 6, ">LL"),
    ],
    ids=["SV1", "JPEG-LS", "JPEG 2000"],
)
def test_a_codestream_that_asks_for_gigabytes_is_not_decoded(
    workdir: Path, syntax: str, marker: bytes, offset: int, form: str
) -> None:
    def enlarge(dataset: Dataset) -> None:
        frame = bytearray(get_frame(dataset.PixelData, 0, number_of_frames=1))
        struct.pack_into(form, frame, frame.index(marker) + offset, 60_000, 60_000)
        dataset.PixelData = encapsulate([bytes(frame)])

    paths = write(series_datasets(pixels(3)), workdir.parent / "in", syntax)
    dataset = dcmread(paths[2])
    enlarge(dataset)
    dataset.save_as(paths[2])
    with pytest.raises(UnreadableFile, match="pixel data of file 3 of 3"):
        read_study(paths, workdir)


@pytest.mark.parametrize(
    "syntax",
    [
        "1.2.840.10008.1.2.4.100",  # MPEG-2
        "1.2.840.10008.1.2.4.201",  # HTJ2K
        "1.2.840.10008.1.2.4.51",  # JPEG Extended, 12 bit
        "1.2.840.10008.1.2.4.94",  # JPIP
        "1.2.3.4.5",
    ],
)
def test_other_syntaxes_are_unsupported(workdir: Path, syntax: str) -> None:
    paths = write(series_datasets(pixels(3)), workdir.parent / "in")
    for path in paths:
        dataset = dcmread(path)
        dataset.PixelData = encapsulate([dataset.PixelData])
        dataset["PixelData"].VR = "OB"
        dataset.file_meta.TransferSyntaxUID = UID(syntax)
        dataset.save_as(path, implicit_vr=False, little_endian=True, force_encoding=True)
    with pytest.raises(UnsupportedTransferSyntax, match=r"file [13] of 3") as caught:
        read_study(paths, workdir)
    assert "Explicit VR Little Endian" in caught.value.advice


def test_an_unsupported_series_that_is_not_chosen_does_not_matter(workdir: Path) -> None:
    data = encode(series_datasets(pixels(1), series="t1", EchoTime=11.0, RepetitionTime=500.0)[0], RLELossless)
    assert data.count(b"1.2.840.10008.1.2.5\0") == 1
    other = workdir.parent / "other"
    other.write_bytes(data.replace(b"1.2.840.10008.1.2.5\0", b"1.2.840.10008.1.2.9\0"))
    volume = read_study([other, *write(series_datasets(), workdir.parent / "in")], workdir).volume
    np.testing.assert_array_equal(volume.array, pixels())
