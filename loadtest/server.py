"""The server under load: one of our own, or somebody's; and the memory of our own while it works."""

from __future__ import annotations

import json
import os
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psutil

from discgrade._process import serving
from discgrade.client import Client

__all__ = ["Memory", "Target", "own_server", "watched"]

_MIB = 1024 * 1024
_STUB = "triton_python_backend_stub"
_READY_SECONDS = 60.0


@dataclass(frozen=True)
class Target:
    """A server.

    Attributes:
        url: Base URL of its HTTP API.
        grpc: host:port of its gRPC service; empty where there is none.
        pid: Its process, where it is our own.
    """

    url: str
    grpc: str = ""
    pid: int | None = None

    @contextmanager
    def client(self) -> Iterator[Client]:
        """A client of it, with the key in the environment; the environment's proxies are not used."""
        with Client(self.url, transport=httpx.HTTPTransport(), api_key=os.environ.get("DISCGRADE_API_KEY")) as client:
            yield client

    def ready(self) -> bool:
        """Whether it could grade, now or within a moment."""
        deadline = time.monotonic() + _READY_SECONDS
        with self.client() as client:
            while not client.ready():
                if time.monotonic() > deadline:
                    return False
                time.sleep(0.5)
        return True


@contextmanager
def own_server(*options: str) -> Iterator[Target]:
    """Start ``discgrade serve`` with tritonserver, REST and gRPC on free loopback ports; it ends with the block.

    Args:
        options: Further options of ``discgrade serve``.
    """
    with (
        tempfile.TemporaryDirectory(prefix="discgrade-load-") as scratch,
        serving(Path(scratch), "--grpc-port", "0", *options) as server,
    ):
        with server.client():
            url = server.url()
        entries = map(json.loads, Path(scratch, "log").read_text().splitlines())
        grpc = next(entry["target"] for entry in entries if entry["event"] == "listening for gRPC")
        yield Target(url, grpc, server.pid)


@dataclass
class Memory:
    """Resident memory of our own server over time.

    Attributes:
        at: When, in s of the monotonic clock.
        gateway: MiB of the gateway's process.
        triton: MiB of tritonserver.
        stubs: MiB of its Python processes together; memory that they share counts in each.
    """

    at: list[float] = field(default_factory=list)
    gateway: list[float] = field(default_factory=list)
    triton: list[float] = field(default_factory=list)
    stubs: list[float] = field(default_factory=list)

    def look(self, pid: int) -> None:
        """Take a sample."""
        process = psutil.Process(pid)
        triton = stubs = 0
        for child in process.children(recursive=True):
            try:
                name, resident = child.name(), child.memory_info().rss
            except psutil.NoSuchProcess:
                continue
            triton += resident if name == "tritonserver" else 0
            stubs += resident if _STUB.startswith(name) else 0  # the kernel cuts names off after 15 characters
        self.at.append(time.monotonic())
        self.gateway.append(process.memory_info().rss / _MIB)
        self.triton.append(triton / _MIB)
        self.stubs.append(stubs / _MIB)


@contextmanager
def watched(target: Target, every_seconds: float = 1.0) -> Iterator[Memory]:
    """Sample the memory of a server while the block runs; of somebody's server there are no samples.

    Args:
        target: The server.
        every_seconds: Between two samples.
    """
    memory, over = Memory(), threading.Event()

    def watch(pid: int) -> None:
        while not over.wait(every_seconds):
            memory.look(pid)

    thread = None if target.pid is None else threading.Thread(target=watch, args=(target.pid,), daemon=True)
    if thread is not None:
        thread.start()
    try:
        yield memory
    finally:
        over.set()
        if thread is not None:
            thread.join()
