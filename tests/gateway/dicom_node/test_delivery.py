"""Objects on their way out: to archives that take them, refuse them, or are away."""

from __future__ import annotations

import asyncio
import gc
import io
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.parser import BytesParser
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response
from pydicom import dcmwrite
from pydicom.uid import ComprehensiveSRStorage, SegmentationStorage

from gateway.dicom_node.database import Database
from gateway.dicom_node.delivery import Deliverer
from gateway.dicom_node.inbox import Revision
from gateway.dicom_node.metrics import NodeMetrics
from gateway.dicom_node.outbox import Letter, Outbox
from tests.support.certificates import make_authority, make_certificate
from tests.support.dicom_files import common
from tests.support.pacs import Archive, node_settings
from tests.support.processes import free_port
from tests.support.server import running_server

SEG, SR = "segmentation.dcm", "report.sr.dcm"
CLASSES = {SEG: SegmentationStorage, SR: ComprehensiveSRStorage}
REVISION = Revision("a" * 32, 1, 0, 0, ("SCANNER",), None, None)


def part10(name: str, words: str = "") -> bytes:
    dataset = common(f"{name}{words}", 1, "OT", CLASSES[name])
    stream = io.BytesIO()
    dcmwrite(stream, dataset, enforce_file_format=True)
    return stream.getvalue()


class Post:
    """An outbox with one destination, whose clock is turned by hand."""

    def __init__(self, folder: Path, destination: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = time.time()
        monkeypatch.setattr(time, "time", lambda: self.now)
        self.folder = folder
        self.settings = node_settings(
            folder, destinations={"pacs": {"timeout_seconds": 5, "refusals": 2, **destination}}
        )
        self.metrics = NodeMetrics()
        self.open()

    def open(self) -> None:
        self.database = Database(self.folder, exclusive=True)
        self.outbox = Outbox(self.database)
        self.outbox.recover()
        self.deliverer = Deliverer(self.settings, self.outbox, self.metrics)

    def put(self, *names: str, words: str = "") -> int:
        return self.outbox.put(REVISION, {name: part10(name, words) for name in names}, {"pacs": (SEG, SR)})

    def send(self, later: float = 0.0) -> dict[str, str]:
        """Deliver what is due; the state of everything, and why."""
        self.now += later
        asyncio.run(self.deliverer.step("pacs"))
        items = self.outbox.all(*Letter)
        return {item.name: item.state if item.reason is None else f"{item.state}: {item.reason}" for item in items}

    def count(self, name: str, outcome: str) -> float:
        labels = {"destination": "pacs", "object": name, "outcome": outcome}
        return self.metrics.registry.get_sample_value("discgrade_node_deliveries_total", labels) or 0.0


@pytest.fixture
def post(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Post]]:
    made: list[Post] = []

    def make(**destination: Any) -> Post:
        made.append(Post(tmp_path / "node", destination, monkeypatch))
        return made[-1]

    yield make
    for one in made:
        one.database.close()


def c_store(archive: Archive) -> dict[str, Any]:
    return {"kind": "c-store", "ae_title": archive.aet, "host": "127.0.0.1", "port": archive.port}


def test_objects_are_taken_once(post: Callable[..., Post]) -> None:
    with Archive(CLASSES.values()) as archive:
        box = post(**c_store(archive))
        assert box.put(SEG, SR) == 2
        assert box.send() == {SEG: "delivered", SR: "delivered"}
        assert box.put(SEG, SR) == 0, "another revision with the same objects"
        assert box.put(SEG, words="other") == 1
        box.send()
    assert [item.SOPClassUID for item in archive.stored] == [
        SegmentationStorage,
        ComprehensiveSRStorage,
        SegmentationStorage,
    ]
    assert list((box.folder / "outbox").iterdir()) == []


@pytest.mark.parametrize("how", ["no context", "status"])
def test_an_archive_that_refuses_one_object_gets_the_others(post: Callable[..., Post], how: str) -> None:
    with Archive([SegmentationStorage] if how == "no context" else CLASSES.values()) as archive:
        archive.statuses[ComprehensiveSRStorage] = 0xA900
        box = post(**c_store(archive))
        box.put(SR, SEG)
        why = "presentation context refused" if how == "no context" else "status A900"
        assert box.send() == {SEG: "delivered", SR: f"waiting: {why}"}
        assert box.send(later=1) == {SEG: "delivered", SR: f"waiting: {why}"}, "not at once"
        assert box.send(later=60) == {SEG: "delivered", SR: f"dead: {why}"}
        assert [path.read_bytes() for path in (box.folder / "dead").iterdir()] == [part10(SR)]
        assert box.send(later=9999)[SR].startswith("dead")
        assert (box.count(SR, "refused"), box.count(SR, "dead"), box.count(SEG, "delivered")) == (1, 1, 1)
        assert len(archive.stored) == 1


def test_what_was_refused_for_good_can_be_sent_again_or_given_up(post: Callable[..., Post]) -> None:
    with Archive(CLASSES.values()) as archive:
        archive.statuses[ComprehensiveSRStorage] = 0xC123
        box = post(**c_store(archive))
        box.put(SR)
        box.send()
        box.send(later=60)
        (dead,) = box.outbox.all(Letter.DEAD)
        archive.statuses.clear()
        assert box.outbox.retry(dead.number + 1) == 0
        assert box.outbox.retry(dead.number) == 1
        assert not box.outbox.discard(dead.number)
        assert box.send() == {SR: "delivered"}
        assert len(archive.stored) == 1

        archive.statuses[SegmentationStorage] = 0xC123
        box.put(SEG)
        box.send()
        box.send(later=60)
        (dead,) = box.outbox.all(Letter.DEAD)
        assert box.outbox.discard(dead.number)
        assert box.outbox.all(Letter.DEAD) == []
        assert list((box.folder / "dead").iterdir()) == []


def test_a_warning_is_a_delivery(post: Callable[..., Post]) -> None:
    with Archive(CLASSES.values()) as archive:
        archive.statuses[SegmentationStorage] = 0xB000
        box = post(**c_store(archive))
        box.put(SEG)
        assert box.send() == {SEG: "delivered"}


def test_an_archive_without_room_is_asked_again_for_ever(post: Callable[..., Post]) -> None:
    with Archive(CLASSES.values()) as archive:
        archive.statuses[SegmentationStorage] = 0xA700
        box = post(**c_store(archive))
        box.put(SEG)
        for _ in range(5):
            assert box.send(later=700) == {SEG: "waiting: status A700"}
        archive.statuses.clear()
        assert box.send(later=700) == {SEG: "delivered"}


# pynetdicom leaves a socket that never got connected to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_archive_that_is_away_gets_everything_when_it_is_back(post: Callable[..., Post]) -> None:
    archive = Archive(CLASSES.values())
    box = post(**c_store(archive))
    box.put(SEG, SR)
    said = box.send()
    assert said == {name: "waiting: association aborted or not answered" for name in (SEG, SR)}
    waits = []
    for _ in range(4):
        waits.append(box.outbox.all(Letter.WAITING)[0].due - box.now)
        box.send(later=700)
    gc.collect()
    assert 2.5 <= waits[0] <= 5 <= waits[1] <= 10 <= waits[2] <= 20
    box.database.close()
    box.open()
    with archive:
        assert box.send(later=700) == {SEG: "delivered", SR: "delivered"}
    assert len(archive.stored) == 2


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_archive_is_known_by_its_certificate(post: Callable[..., Post], tmp_path: Path) -> None:
    ours, theirs = make_authority(tmp_path / "ours.pem"), make_authority(tmp_path / "theirs.pem")
    cert, key = make_certificate(theirs, tmp_path, "localhost")
    mine = make_certificate(ours, tmp_path, "node")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=tmp_path / "ours.pem")
    context.load_cert_chain(cert, key)
    context.verify_mode = ssl.CERT_REQUIRED
    tls = {"cert": mine[0], "key": mine[1], "ca": tmp_path / "theirs.pem"}
    with Archive(CLASSES.values(), context) as archive:
        box = post(**{**c_store(archive), "host": "localhost", "tls": {**tls, "ca": tmp_path / "ours.pem"}})
        box.put(SEG)
        assert box.send() == {SEG: "waiting: association aborted or not answered"}
        gc.collect()
        known = {**c_store(archive), "host": "localhost", "tls": tls}
        box.settings = node_settings(box.folder, destinations={"pacs": known})
        box.database.close()
        box.open()
        assert box.send(later=700) == {SEG: "delivered"}


def test_wrong_title_is_no_fault_of_the_object(post: Callable[..., Post]) -> None:
    with Archive(CLASSES.values()) as archive:
        archive._entity.require_called_aet = True
        box = post(**{**c_store(archive), "ae_title": "WRONG"})
        box.put(SEG)
        for _ in range(3):
            assert box.send(later=700) == {SEG: "waiting: association rejected"}


def stored_by(app: FastAPI) -> list[bytes]:
    stored: list[bytes] = []

    @app.post("/dicom-web/studies")
    async def store(request: Request) -> Response:
        kind = request.headers["content-type"]
        message = BytesParser().parsebytes(b"Content-Type: " + kind.encode() + b"\r\n\r\n" + await request.body())
        parts: Any = message.get_payload()
        (part,) = parts
        assert part.get_content_type() == "application/dicom"
        assert 'type="application/dicom"' in kind
        content = part.get_payload(decode=True)
        answer = app.state.answer(request, content)
        if answer.status_code < 300:
            stored.append(content)
        return answer  # type: ignore[no-any-return]

    return stored


@contextmanager
def dicomweb(answer: Callable[[Request, bytes], Response]) -> Iterator[tuple[str, list[bytes], FastAPI]]:
    app = FastAPI()
    app.state.answer = answer
    stored = stored_by(app)
    with running_server(app) as url:
        yield f"{url}/dicom-web", stored, app


def test_stow_sends_each_object_as_it_is(post: Callable[..., Post], tmp_path: Path) -> None:
    (tmp_path / "token").write_text("secret\n")

    def answer(request: Request, content: bytes) -> Response:
        assert request.headers["authorization"] == "Bearer secret"
        return JSONResponse({"00081199": {"vr": "SQ", "Value": [{}]}})

    with dicomweb(answer) as (url, stored, _):
        box = post(kind="stow-rs", url=url, token_file=tmp_path / "token")
        box.put(SEG, SR)
        assert box.send() == {SEG: "delivered", SR: "delivered"}
    assert sorted(stored) == sorted([part10(SEG), part10(SR)])


def failed(reason: int) -> dict[str, Any]:
    return {"00081198": {"vr": "SQ", "Value": [{"00081197": {"vr": "US", "Value": [reason]}}]}}


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (409, failed(0xA900), "dead: failure reason A900"),
        (202, failed(0xC000), "dead: failure reason C000"),
        (415, None, "dead: HTTP status 415"),
        (409, failed(0xA701), "waiting: failure reason A701"),
        (503, failed(0xA900), "waiting: HTTP status 503"),
        (401, None, "waiting: HTTP status 401"),
        (404, None, "waiting: HTTP status 404"),
        (302, None, "waiting: HTTP status 302"),
    ],
)
def test_what_stow_servers_say(post: Callable[..., Post], status: int, body: Any, said: str) -> None:
    def answer(request: Request, content: bytes) -> Response:
        refuses = ComprehensiveSRStorage.encode() + b"\0" in content or ComprehensiveSRStorage.encode() in content
        return JSONResponse(body, status) if refuses else Response(status_code=200)

    with dicomweb(answer) as (url, stored, _):
        box = post(kind="stow-rs", url=url)
        box.put(SEG, SR)
        box.send()
        assert box.send(later=60) == {SEG: "delivered", SR: said}
    assert stored == [part10(SEG)] if status >= 300 else part10(SEG) in stored


def test_a_server_that_asks_to_wait_is_left_alone_for_so_long(post: Callable[..., Post]) -> None:
    with dicomweb(lambda *_: Response(status_code=503, headers={"Retry-After": "3000"})) as (url, _, app):
        box = post(kind="stow-rs", url=url)
        box.put(SEG)
        box.send()
        app.state.answer = lambda *_: Response(status_code=200)
        assert box.send(later=2990) == {SEG: "waiting: HTTP status 503"}
        assert box.send(later=20) == {SEG: "delivered"}


def test_a_server_that_is_away_is_asked_once_a_round(post: Callable[..., Post]) -> None:
    box = post(kind="stow-rs", url=f"http://127.0.0.1:{free_port()}")
    box.put(SEG, SR)
    assert box.send() == {SEG: "waiting: no answer", SR: "waiting: no answer"}


def test_files_that_nobody_waits_for_are_removed_at_the_start(post: Callable[..., Post]) -> None:
    box = post(kind="stow-rs", url="http://127.0.0.1:9")
    box.put(SEG)
    (box.folder / "outbox" / "stray").write_bytes(b"written, and then killed")
    box.database.close()
    box.open()
    assert len(list((box.folder / "outbox").iterdir())) == 1
    (item,) = box.outbox.all(Letter.WAITING)
    assert item.path.read_bytes() == part10(SEG)
