"""The node's TOML file."""

from __future__ import annotations

from pathlib import Path

import pytest

from discgrade.errors import InvalidRequest
from gateway.dicom_node.settings import CStoreDestination, StowDestination, load_settings

WHOLE = """
ae_title = "DISCGRADE"
data_dir = "node"
[callers.MR_1]
destinations = ["pacs"]
[callers.MR_2]
[destinations.pacs]
kind = "c-store"
ae_title = "ORTHANC"
host = "127.0.0.1"
port = 4242
[destinations.research]
kind = "stow-rs"
url = "https://example.org/dicom-web"
objects = ["report.sr.dcm"]
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "dicom-node.toml"
    path.write_text(text)
    return path


def test_a_file_is_read(tmp_path: Path) -> None:
    settings = load_settings(written(tmp_path, WHOLE))
    assert settings.data_dir == tmp_path / "node"
    assert isinstance(settings.destinations["pacs"], CStoreDestination)
    assert isinstance(settings.destinations["research"], StowDestination)
    assert settings.destinations["pacs"].objects == ("segmentation.dcm", "report.sr.dcm", "overlay.dcm")


def test_routes_follow_the_caller(tmp_path: Path) -> None:
    settings = load_settings(written(tmp_path, WHOLE))
    assert settings.routes(["MR_1"]) == ["pacs"]
    assert settings.routes(["MR_2"]) == ["pacs", "research"]
    assert settings.routes(["MR_1", "MR_2"]) == ["pacs", "research"]
    assert settings.routes(["GONE"]) == []


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('ae_title = "DISCGRADE"', 'ae_title = "A TITLE THAT IS LONG"', "ae_title"),
        ('ae_title = "DISCGRADE"', 'ae_title = "A\\\\B"', "ae_title"),
        ("[callers.MR_1]", '[callers."   "]', "callers"),
        ('destinations = ["pacs"]', 'destinations = ["nowhere"]', "MR_1 sends to nowhere"),
        ('kind = "c-store"', 'kind = "fax"', "destinations.pacs"),
        ('url = "https:', 'url = "ftp:', "destinations.research"),
        ("port = 4242", "port = 4242\nprot = 1", "prot"),
        ('url = "https://example.org/dicom-web"', 'url = "https://example.org"\nuser = "u"', "password_file"),
        ("[callers.MR_1]", "[tls]\ncert = 'a'\n[callers.MR_1]", "cert and key"),
        ("ae_title =", "ae_title", "no TOML"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, old: str, new: str, said: str) -> None:
    with pytest.raises(InvalidRequest, match=said):
        load_settings(written(tmp_path, WHOLE.replace(old, new, 1)))


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="cannot be read"):
        load_settings(tmp_path / "nothing.toml")
