"""Where the embedded tritonserver can be reached: on this machine alone, for its own interface has no door."""

from __future__ import annotations

import socket
from urllib.parse import urlsplit

import psutil
import pytest

from gateway.embedded import EmbeddedTriton

pytestmark = pytest.mark.functional


def test_triton_listens_on_loopback_alone(triton: EmbeddedTriton) -> None:
    ports = {urlsplit(f"//{url.split('//')[-1]}").port for url in (triton.url, triton.http_url, triton.metrics_url)}
    assert len(ports) == 3
    listening = [
        connection.laddr
        for process in psutil.Process().children(recursive=True)
        for connection in process.net_connections(kind="tcp")
        if connection.status == psutil.CONN_LISTEN
    ]
    assert {address.port for address in listening} == ports
    assert {address.ip.removeprefix("::ffff:") for address in listening} == {"127.0.0.1"}


def test_triton_does_not_answer_on_other_addresses(triton: EmbeddedTriton) -> None:
    others = {
        address.address
        for addresses in psutil.net_if_addrs().values()
        for address in addresses
        if address.family is socket.AF_INET and not address.address.startswith("127.")
    }
    if not others:
        pytest.skip("this machine has no other address")
    port = urlsplit(f"//{triton.url}").port
    for address in others:
        with socket.socket() as probe:
            probe.settimeout(5)
            assert probe.connect_ex((address, port)) != 0
