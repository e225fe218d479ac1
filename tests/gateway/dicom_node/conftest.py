from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from pydicom.uid import Comprehensive3DSRStorage, SecondaryCaptureImageStorage, SegmentationStorage
from pynetdicom import _config, dimse_messages

from tests.support.node_house import House, serving
from tests.support.pacs import Archive
from tests.support.processes import free_port
from tests.support.truth import TruthGrader
from training.phantom import Phantom, write_dicom


@pytest.fixture(autouse=True)
def pynetdicom_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a node sets in its process is undone after each test."""
    for module, name in ((_config, "STORE_RECV_CHUNKED_DATASET"), (dimse_messages, "NamedTemporaryFile")):
        monkeypatch.setattr(module, name, getattr(module, name))
    monkeypatch.setattr(_config, "LOG_HANDLER_LEVEL", "none")


@pytest.fixture(scope="session")
def study_files(phantom: Phantom, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return write_dicom(phantom, tmp_path_factory.mktemp("study"))


@pytest.fixture(scope="module")
def gateway(phantom: Phantom, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A gateway for all tests of a module; there can be one at a time in a process."""
    port = free_port()
    with serving(tmp_path_factory.mktemp("gateway"), port, TruthGrader(phantom)):
        yield f"http://127.0.0.1:{port}"


@pytest.fixture
def house(tmp_path: Path, phantom: Phantom) -> Iterator[House]:
    with Archive((SegmentationStorage, Comprehensive3DSRStorage, SecondaryCaptureImageStorage)) as archive:
        yield House(tmp_path, phantom, archive, free_port(), TruthGrader(phantom))
