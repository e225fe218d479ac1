from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.filebase import DicomBytesIO

from tests.gateway.conftest import Parts
from tests.support.orthanc import Orthanc, running_orthanc

WriteServers = Callable[..., Path]


@pytest.fixture
def write_servers(tmp_path: Path) -> WriteServers:
    """Writes the file of DICOMweb servers; keyword arguments are the servers' settings."""

    def write(**servers: Mapping[str, Any]) -> Path:
        path = tmp_path / "dicomweb.toml"
        tables = (
            "\n".join([f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in server.items())])
            for name, server in servers.items()
        )
        path.write_text("\n\n".join(tables))
        return path

    return write


@pytest.fixture(scope="module")
def orthanc() -> Iterator[Orthanc]:
    with running_orthanc() as server:
        yield server


@pytest.fixture
def uids(study: Parts) -> tuple[str, str]:
    """Study and Series Instance UID."""
    dataset = pydicom.dcmread(DicomBytesIO(study[0][1][1]), stop_before_pixels=True)
    return str(dataset.StudyInstanceUID), str(dataset.SeriesInstanceUID)
