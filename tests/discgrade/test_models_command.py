"""Which servers ``discgrade models`` talks to, and what it takes."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from discgrade._models import _servers, _share, models
from export.models import NETWORKS
from tests.support.repository import first_release


def test_a_name_with_several_addresses_is_that_many_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    places = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (f"10.0.0.{number}", 8001)) for number in (7, 5, 6)]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: places)
    assert _servers("discgrade-triton:8001") == ["10.0.0.5:8001", "10.0.0.6:8001", "10.0.0.7:8001"]


@pytest.mark.parametrize("url", ["127.0.0.1:8001", "localhost:8001", "nowhere.invalid:8001", "no port"])
def test_other_names_stay_as_they_are(url: str) -> None:
    assert _servers(url) == [url]


def test_no_name_is_no_server() -> None:
    assert _servers("") == []


@pytest.mark.parametrize(("text", "share"), [("5%", 0.05), ("0.5%", 0.005), ("99%", 0.99)])
def test_a_share_is_given_in_percent(text: str, share: float) -> None:
    assert _share(text) == pytest.approx(share)


@pytest.mark.parametrize("text", ["0.05", "5", "0%", "100%", "-5%", "five%", "nan%", "%"])
def test_what_is_no_share(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="such as 5%"):
        _share(text)


def test_a_release_is_tried_on_a_share_of_the_studies(tmp_path: Path) -> None:
    repository = first_release(tmp_path / "models")
    files = {name: {"model.onnx": b"network", "manifest.json": b"{}"} for name in NETWORKS}
    repository.add(2, files, {})
    of = ["--repository", str(repository.root)]
    ran = CliRunner().invoke(models, ["canary", "2", "--share", "12.5%", *of])
    assert ran.exit_code == 0
    assert "Release 2 grades 12.5 % of the studies, release 1 the others" in " ".join(ran.output.split())
    listed = CliRunner().invoke(models, ["list", *of], env={"COLUMNS": "200"})
    assert "canary, 12.5 % of the studies" in listed.output
    assert CliRunner().invoke(models, ["rollback", *of]).exit_code == 0
    assert repository.service.canary is None
    refused = CliRunner().invoke(models, ["canary", "2", "--share", "12.5", *of])
    assert refused.exit_code == 2
