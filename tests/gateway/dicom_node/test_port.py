"""The node's port with real associations: who may call, what is taken, what is answered."""

from __future__ import annotations

import socket
import ssl
import struct
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset, dcmread
from pydicom.uid import UID, EnhancedMRImageStorage, ExplicitVRLittleEndian, MRImageStorage
from pynetdicom import _config, evt

from gateway.dicom_node.scp import TRANSFER_SYNTAXES
from tests.support.certificates import make_authority, make_certificate
from tests.support.dicom_files import common, encode, enhanced_dataset, pixels, series_datasets, slice_dataset
from tests.support.pacs import CALLER, RunningNode, association, node_settings, push, running_node, until
from tests.support.processes import ROOT, free_port

ECHO, SR, SECONDARY = "1.2.840.10008.1.1", "1.2.840.10008.5.1.4.1.1.88.33", "1.2.840.10008.5.1.4.1.1.7"
NATIVE = [ExplicitVRLittleEndian]
JPEG_BASELINE, JPEG_LOSSLESS_ANY = "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.57"


@pytest.fixture
def node(tmp_path: Path) -> Iterator[RunningNode]:
    with running_node(node_settings(tmp_path, quiet_seconds=60.0)) as running:
        yield running


def written(datasets: list[Dataset], syntax: str = ExplicitVRLittleEndian) -> list[Dataset]:
    for dataset in datasets:
        encode(dataset, syntax)
    return datasets


def test_it_answers_an_echo(node: RunningNode) -> None:
    with association(node.settings.port, [(ECHO, NATIVE)]) as made:
        assert made.send_c_echo().Status == 0x0000
    assert (node.status("/livez"), node.status("/readyz"), node.status("/else")) == (200, 200, 404)


@pytest.mark.parametrize(
    ("titles", "outcome", "diagnostic"),
    [({"calling": "STRANGER"}, "rejected-calling", 3), ({"called": "OTHER"}, "rejected-called", 7)],
)
def test_wrong_titles_are_rejected(node: RunningNode, titles: dict[str, str], outcome: str, diagnostic: int) -> None:
    with association(node.settings.port, [(ECHO, NATIVE)], **titles) as made:
        assert made.is_rejected
        assert made.acceptor.primitive is not None
        assert made.acceptor.primitive.diagnostic == diagnostic
    caller = CALLER if outcome == "rejected-called" else "unknown"
    until(lambda: node.metric("associations", outcome=outcome, caller=caller) == 1)
    assert node.metric("associations") == 1


def test_too_many_associations_are_rejected_for_now(tmp_path: Path) -> None:
    contexts: list[tuple[str, Sequence[str]]] = [(ECHO, NATIVE)]
    with running_node(node_settings(tmp_path, max_associations=2)) as node:
        _fill(node, contexts)
        until(lambda: node.metric("associations", outcome="rejected-busy") == 1)


def _fill(node: RunningNode, contexts: list[tuple[str, Sequence[str]]]) -> None:
    with association(node.settings.port, contexts) as first, association(node.settings.port, contexts) as second:
        assert first.is_established
        assert second.is_established
        with association(node.settings.port, contexts) as third:
            assert third.is_rejected
            assert third.acceptor.primitive is not None
            assert third.acceptor.primitive.result == 2  # transient


def test_what_is_not_stored_has_no_context(node: RunningNode) -> None:
    find = "1.2.840.10008.5.1.4.1.2.2.1"
    with association(node.settings.port, [(find, NATIVE), (ECHO, NATIVE)]) as made:
        assert [context.abstract_syntax for context in made.accepted_contexts] == [ECHO]
        assert made.send_c_echo().Status == 0x0000
    assert node.metric("refused_contexts", caller=CALLER) == 1


def test_every_encoding_that_is_read_is_taken(node: RunningNode) -> None:
    for number, syntax in enumerate(TRANSFER_SYNTAXES):
        plane = slice_dataset(pixels(1)[0], (0, 0, 0), instance=number)
        if syntax in (JPEG_BASELINE, JPEG_LOSSLESS_ANY):  # not opened here: only the name of the encoding differs
            encode(plane, "1.2.840.10008.1.2.4.70")
        assert node.push(written([plane], syntax)) == [0x0000], syntax
    kept = [dcmread(file).file_meta.TransferSyntaxUID for file in node.folder.glob("studies/*/*.dcm")]
    assert sorted(kept) == sorted(TRANSFER_SYNTAXES)


def test_enhanced_objects_are_taken(node: RunningNode) -> None:
    dataset = enhanced_dataset()
    assert dataset.SOPClassUID == EnhancedMRImageStorage
    assert node.push(written([dataset])) == [0x0000]
    assert node.metric("instances", outcome="stored") == 1


def other_object(sop_class: str) -> Dataset:
    dataset = common("other", 1, "SR", sop_class)
    return written([dataset])[0]


def test_other_objects_are_accepted_and_not_kept(node: RunningNode) -> None:
    assert node.push([other_object(SR), *written(series_datasets()), other_object(SECONDARY)]) == [0x0000] * 7
    assert node.metric("instances", outcome="ignored") == 2
    assert node.metric("instances", outcome="stored") == 5
    assert len(list(node.folder.glob("studies/*/*.dcm"))) == 5


def test_other_objects_may_be_refused(tmp_path: Path) -> None:
    with (
        running_node(node_settings(tmp_path, other_objects="refuse")) as node,
        association(node.settings.port, [(SR, NATIVE), (MRImageStorage, NATIVE)]) as made,
    ):
        assert [context.abstract_syntax for context in made.accepted_contexts] == [MRImageStorage]
        assert made.send_c_store(written(series_datasets())[0]).Status == 0x0000


def test_duplicates_are_told_apart(node: RunningNode) -> None:
    planes = written(series_datasets())
    assert node.push(planes) == [0x0000] * 5
    assert node.push(planes[:2]) == [0x0000] * 2
    planes[0].ImageComments = "corrected"
    assert node.push(planes[:1]) == [0x0000]
    outcomes = {name: node.metric("instances", outcome=name) for name in ("stored", "duplicate", "replaced")}
    assert outcomes == {"stored": 5, "duplicate": 2, "replaced": 1}
    assert len(list(node.folder.glob("studies/*/*.dcm"))) == 5


def test_two_patients_in_one_study_are_seen(node: RunningNode) -> None:
    planes = written(series_datasets())
    for plane in planes[3:]:
        plane.PatientID = "ANOTHER"
    assert node.push(planes) == [0x0000] * 5
    assert node.metric("studies", event="two-patients") == 1
    assert node.metric("revisions", state="open") == 2


def test_objects_that_contradict_themselves_are_refused(node: RunningNode) -> None:
    plane = written(series_datasets())[0]
    with association(node.settings.port, [(MRImageStorage, NATIVE)]) as made:
        del plane.StudyInstanceUID
        assert made.send_c_store(plane).Status == 0xC000
        assert made.is_established
    assert node.metric("instances", outcome="unreadable") == 1


def test_an_object_that_is_not_the_one_announced_is_refused(
    node: RunningNode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # pynetdicom then announces a file by its meta information, and sends its data set as it is.
    monkeypatch.setattr(_config, "STORE_SEND_CHUNKED_DATASET", True)
    plane = written(series_datasets())[0]
    plane.save_as(tmp_path / "plane.dcm", enforce_file_format=True)
    other = dcmread(tmp_path / "plane.dcm")
    other.file_meta.MediaStorageSOPInstanceUID = UID("1.2.3.4")
    other.save_as(tmp_path / "other.dcm", enforce_file_format=False)
    with association(node.settings.port, [(MRImageStorage, NATIVE)]) as made:
        assert made.send_c_store(tmp_path / "other.dcm").Status == 0xA900
        assert made.send_c_store(tmp_path / "plane.dcm").Status == 0x0000
    assert (node.metric("instances", outcome="mismatch"), node.metric("instances", outcome="stored")) == (1, 1)


def test_an_object_that_is_too_large_is_refused(tmp_path: Path) -> None:
    with running_node(node_settings(tmp_path, max_instance_bytes=2000)) as node:
        assert node.push(written(series_datasets())[:1]) == [0xA700]
        assert node.metric("instances", outcome="too-large") == 1
        until(lambda: not list(tmp_path.glob("incoming/*")))


def test_a_study_that_is_too_large_is_refused(tmp_path: Path) -> None:
    with running_node(node_settings(tmp_path, max_study_instances=2)) as node:
        assert node.push(written(series_datasets())) == [0x0000, 0x0000, 0xA700, 0xA700, 0xA700]


def test_nothing_is_taken_when_there_is_little_space(tmp_path: Path) -> None:
    with running_node(node_settings(tmp_path, min_free_bytes=2**60)) as node:
        assert node.push(written(series_datasets())[:1]) == [0xA700]
        assert node.metric("instances", outcome="no-space") == 1


def test_an_abort_in_mid_study_is_noted_and_what_was_answered_kept(node: RunningNode) -> None:
    planes = written(series_datasets())
    with association(node.settings.port, [(MRImageStorage, NATIVE)]) as made:
        assert [made.send_c_store(plane).Status for plane in planes[:2]] == [0, 0]
        made.abort()
    until(lambda: node.metric("studies", event="interrupted") == 1)
    assert node.metric("associations", outcome="aborted") == 1
    assert node.push(planes) == [0x0000] * 5
    assert node.metric("instances", outcome="duplicate") == 2
    assert len(list(node.folder.glob("studies/*/*.dcm"))) == 5


def test_a_connection_that_breaks_in_mid_object_leaves_nothing(node: RunningNode) -> None:
    plane = written(series_datasets(pixels(1, 512, 512)))[0]
    fragments = 0

    def stop(event: evt.Event) -> None:
        nonlocal fragments
        fragments += 1
        if fragments == 4:
            link: Any = event.assoc.dul.socket
            link.socket.shutdown(socket.SHUT_RDWR)

    with association(node.settings.port, [(MRImageStorage, NATIVE)]) as made:
        made.bind(evt.EVT_PDU_SENT, stop)
        assert "Status" not in made.send_c_store(plane)
    until(lambda: node.metric("associations", outcome="aborted") == 1)
    assert node.metric("instances") == 0
    assert not list(node.folder.glob("studies/*"))
    until(lambda: not list(node.folder.glob("incoming/*")))


def test_noise_does_not_stop_it(node: RunningNode) -> None:
    for noise in (
        b"GET / HTTP/1.0\r\n\r\n",
        struct.pack(">BBL", 1, 0, 68) + b"\xff" * 68,
        b"\x04\0\0\0\0\x06" + b"\0" * 6,
    ):
        with socket.create_connection(("127.0.0.1", node.settings.port), timeout=20) as connection:
            connection.sendall(noise)
            connection.settimeout(20)
            while connection.recv(4096):
                pass
    assert node.push(written(series_datasets())[:1]) == [0x0000]


def test_tls_with_certificates_of_callers(tmp_path: Path) -> None:
    ours, theirs = tmp_path / "ours.pem", tmp_path / "theirs.pem"
    cert, key = make_certificate(make_authority(ours), tmp_path, "localhost")
    caller = make_certificate(make_authority(theirs), tmp_path, "scanner")
    tls = {"cert": cert, "key": key, "ca": theirs}
    context = ssl.create_default_context(cafile=ours)
    with running_node(node_settings(tmp_path / "node", tls=tls)) as node:
        with socket.create_connection(("127.0.0.1", node.settings.port)):  # silent, and in nobody's way
            without = association(node.settings.port, [(ECHO, NATIVE)], tls=(context, "localhost"))
            with without as made:
                assert not made.is_established
            context.load_cert_chain(*caller)
            files = written(series_datasets())
            assert push(node.settings.port, files[:1], tls=(context, "localhost")) == [0x0000]
        with association(node.settings.port, [(ECHO, NATIVE)]) as made:  # not encrypted
            assert not made.is_established


_FULL_DISK = """
import asyncio, resource, sys
from pathlib import Path
from typing import Any
from gateway.dicom_node.node import Node
from tests.support.pacs import node_settings
resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
asyncio.run(Node(node_settings(Path(sys.argv[1]), port=int(sys.argv[2]), quiet_seconds=60.0)).run())
"""


def test_a_disk_that_is_full_is_told_to_the_sender(tmp_path: Path) -> None:
    """No file may grow beyond 300 kB here, which to the node looks like a disk that is full in mid-object."""
    port = free_port()
    process = subprocess.Popen([sys.executable, "-c", _FULL_DISK, str(tmp_path), str(port)], cwd=ROOT)
    try:
        until(lambda: _listens(port))
        large = written(series_datasets(pixels(1, 512, 512)))
        small = written(series_datasets(series="small"))
        assert push(port, [small[0], large[0], small[1]]) == [0x0000, 0xA700, 0x0000]
    finally:
        process.kill()
        process.wait()
    assert len(list(tmp_path.glob("studies/*/*.dcm"))) == 2


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True
