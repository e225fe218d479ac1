"""What stands around a DICOM node: devices that send, archives that take or refuse, and a node in this process."""

from __future__ import annotations

import asyncio
import re
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from pydicom import Dataset, dcmread
from pydicom.uid import UID, ExplicitVRLittleEndian
from pynetdicom import AE, evt
from pynetdicom.association import Association

from gateway.dicom_node.links import Links
from gateway.dicom_node.node import Node
from gateway.dicom_node.settings import NodeSettings
from tests.support.processes import free_port

__all__ = ["CALLER", "Archive", "RunningNode", "association", "node_settings", "push", "running_node", "until"]

CALLER = "SCANNER"
_SECONDS = 60.0


def until(there: Callable[[], Any], seconds: float = _SECONDS) -> Any:
    """What ``there`` answers, once it is true; fails if it never is."""
    deadline = time.monotonic() + seconds
    while not (found := there()):
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.05)
    return found


def node_settings(folder: Path, **values: Any) -> NodeSettings:
    """Settings of a node on free ports that need not be patient."""
    given = {
        **{"port": free_port(), "metrics_port": free_port(), "data_dir": folder, "callers": {CALLER: {}}},
        **{"quiet_seconds": 0.2, "interrupted_seconds": 0.5, "stop_seconds": 1.0, "min_free_bytes": 0},
    }
    return NodeSettings.model_validate({**given, **values})


@contextmanager
def association(
    port: int,
    contexts: Iterable[tuple[str, Sequence[str]]],
    *,
    calling: str = CALLER,
    called: str = "DISCGRADE",
    tls: Any = None,
) -> Iterator[Association]:
    """An association of ours with a node; it is released at the end of the block if it is still there."""
    entity = AE(calling)
    entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = 20.0
    for sop_class, syntaxes in contexts:
        entity.add_requested_context(sop_class, list(syntaxes))
    links = Links(20.0)
    handlers: list[Any] = [(evt.EVT_CONN_OPEN, links.opened)]
    made = entity.associate("127.0.0.1", port, ae_title=called, tls_args=tls, evt_handlers=handlers)
    try:
        yield made
    finally:
        if made.is_established:
            made.release()
        links.close(made)


def push(port: int, files: Iterable[Path | Dataset], **options: Any) -> list[int]:
    """Send objects as they are, in one association; the status of each."""
    objects = [dcmread(file) if isinstance(file, Path) else file for file in files]
    contexts = {(item.SOPClassUID, item.file_meta.TransferSyntaxUID) for item in objects}
    with association(port, [(sop_class, [syntax]) for sop_class, syntax in sorted(contexts)], **options) as made:
        assert made.is_established
        return [int(made.send_c_store(item).Status) for item in objects]


class RunningNode:
    """A node in a thread of this process."""

    def __init__(self, settings: NodeSettings) -> None:
        self.settings = settings
        self.folder = settings.data_dir
        self._url = f"http://127.0.0.1:{settings.metrics_port}"

    def metric(self, name: str, **labels: str) -> float:
        """The sum of a metric's series that have some labels."""
        total = 0.0
        for line in httpx.get(f"{self._url}/metrics", trust_env=False).text.splitlines():
            found = re.match(r"discgrade_node_(\w+?)(?:_total)?(?:\{(.*)\})? (\S+)$", line)
            if found and found[1] == name:
                said = dict(re.findall(r'(\w+)="([^"]*)"', found[2] or ""))
                total += float(found[3]) if labels.items() <= said.items() else 0.0
        return total

    def status(self, path: str) -> int:
        """The status of a page."""
        return httpx.get(f"{self._url}{path}", trust_env=False).status_code

    def push(self, files: Iterable[Path | Dataset], **options: Any) -> list[int]:
        """As :func:`push`."""
        return push(self.settings.port, files, **options)


@contextmanager
def running_node(settings: NodeSettings) -> Iterator[RunningNode]:
    """Run a node until the end of the block."""
    started: list[tuple[asyncio.AbstractEventLoop, Node]] = []

    async def work() -> None:
        with Node(settings) as node:
            started.append((asyncio.get_running_loop(), node))
            await node.run()

    thread = threading.Thread(target=asyncio.run, args=(work(),))
    thread.start()
    running = RunningNode(settings)
    try:
        until(lambda: _answers(running) or not thread.is_alive())
        yield running
    finally:
        for loop, node in started:
            if thread.is_alive():
                loop.call_soon_threadsafe(node.stop)
        thread.join()


def _answers(node: RunningNode) -> bool:
    try:
        return node.status("/livez") == 200
    except httpx.TransportError:
        return False


class Archive:
    """An archive that takes what it is sent by C-STORE, but for what it is told to refuse; a context manager.

    Attributes:
        aet: Its AE title.
        port: Where it listens.
        stored: Every object that it took, in order.
        statuses: What it answers for a SOP class, Success otherwise.
    """

    def __init__(self, sop_classes: Iterable[str], tls: ssl.SSLContext | None = None) -> None:
        self._tls = tls
        self.aet, self.port = "ARCHIVE", free_port()
        self.stored: list[Dataset] = []
        self.statuses: dict[str, int] = {}
        self._entity = AE(self.aet)
        for sop_class in sop_classes:
            self._entity.add_supported_context(sop_class, [ExplicitVRLittleEndian])

    def __enter__(self) -> Archive:
        handlers: list[Any] = [(evt.EVT_C_STORE, self._store)]
        address = ("127.0.0.1", self.port)
        self._entity.start_server(address, block=False, ssl_context=self._tls, evt_handlers=handlers)
        return self

    def __exit__(self, *_: object) -> None:
        self._entity.shutdown()

    def _store(self, event: evt.Event) -> int:
        sop_class = UID(event.request.AffectedSOPClassUID or "")
        status = self.statuses.get(sop_class, 0x0000)
        if status == 0x0000 or status & 0xF000 == 0xB000:
            self.stored.append(event.dataset)
        return status
