"""Which servers ``discgrade models`` talks to."""

from __future__ import annotations

import socket

import pytest

from discgrade._models import _servers


def test_a_name_with_several_addresses_is_that_many_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    places = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (f"10.0.0.{number}", 8001)) for number in (7, 5, 6)]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: places)
    assert _servers("discgrade-triton:8001") == ["10.0.0.5:8001", "10.0.0.6:8001", "10.0.0.7:8001"]


@pytest.mark.parametrize("url", ["127.0.0.1:8001", "localhost:8001", "nowhere.invalid:8001", "no port"])
def test_other_names_stay_as_they_are(url: str) -> None:
    assert _servers(url) == [url]


def test_no_name_is_no_server() -> None:
    assert _servers("") == []
