"""The file of DICOMweb servers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from gateway.dicomweb import load_servers
from gateway.settings import Settings
from tests.gateway.dicomweb.conftest import WriteServers


def test_no_file_is_no_servers() -> None:
    assert load_servers(None) == {}


def test_servers_are_found_by_name(write_servers: WriteServers) -> None:
    path = write_servers(pacs={"url": "https://pacs/rs/"}, near={"url": "http://127.0.0.1:8042/dicom-web"})
    assert {name: server.url for name, server in load_servers(path).items()} == {
        "pacs": "https://pacs/rs",
        "near": "http://127.0.0.1:8042/dicom-web",
    }


@pytest.mark.parametrize(
    "server",
    [
        {},
        {"url": "ftp://pacs/rs"},
        {"url": "/rs"},
        {"url": "http://pacs/rs"},
        {"url": "https://name:geheim@pacs/rs"},
        {"url": "https://pacs/rs?x=1"},
        {"url": "https://pacs/rs", "password": "geheim"},
        {"url": "https://pacs/rs", "user": "name"},
        {"url": "https://pacs/rs", "password_file": "geheim"},
        {"url": "https://pacs/rs", "user": "name", "password_file": "geheim", "token_file": "geheim"},
        {"url": "https://pacs/rs", "client_cert": "geheim"},
        {"url": "https://pacs/rs", "idle_seconds": 0},
    ],
)
def test_what_cannot_work_is_refused_at_the_start_without_its_values(
    server: dict[str, Any], write_servers: WriteServers
) -> None:
    path = write_servers(pacs=server)
    with pytest.raises(ValueError, match=r"pacs") as caught:
        load_servers(path)
    with pytest.raises(ValidationError, match="dicomweb_file"):
        Settings(dicomweb_file=path)
    assert "geheim" not in str(caught.value)


def test_plain_http_to_another_machine_must_be_wanted(write_servers: WriteServers) -> None:
    assert load_servers(write_servers(pacs={"url": "http://orthanc:8042/dicom-web", "plain_http": True}))


def test_a_name_is_a_word(tmp_path: Path) -> None:
    path = tmp_path / "servers.toml"
    path.write_text('["two words"]\nurl = "https://pacs/rs"\n')
    with pytest.raises(ValueError, match="two words"):
        load_servers(path)


def test_what_is_no_toml_is_said(tmp_path: Path) -> None:
    (tmp_path / "servers.toml").write_text("[pacs\n")
    for name, why in {"servers.toml": "TOML", "missing.toml": "cannot be read"}.items():
        with pytest.raises(ValueError, match=why):
            load_servers(tmp_path / name)
