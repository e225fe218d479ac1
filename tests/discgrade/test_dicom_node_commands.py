"""``discgrade dicom-node …``, as an operator uses it beside a node."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from discgrade.cli import app
from gateway.dicom_node.database import Database
from gateway.dicom_node.header import Header
from gateway.dicom_node.inbox import Inbox
from gateway.dicom_node.outbox import Outbox, Outcome
from gateway.dicom_node.settings import NodeSettings, load_settings
from gateway.dicom_node.spool import SpooledFile

_CONFIG = """
data_dir = "node"
interrupted_seconds = 1e-9
[callers.SCANNER]
[destinations.pacs]
kind = "stow-rs"
url = "http://127.0.0.1:9"
refusals = 1
"""


class Shelf:
    """A node's folder with a held study and an object that was refused for good; the node itself has it open."""

    def __init__(self, folder: Path) -> None:
        self.config = folder / "dicom-node.toml"
        self.config.write_text(_CONFIG)
        self.settings: NodeSettings = load_settings(self.config)
        self.database = Database(self.settings.data_dir, exclusive=True)
        self.inbox, self.outbox = Inbox(self.database, self.settings), Outbox(self.database)
        self.study = self.receive("1.2")
        spare = self.receive("1.3")
        self.inbox.sent(self.study, whole=False)
        self.inbox.sent(spare, whole=False)
        assert len(list(self.inbox.close_quiet(set()))) == 2
        self.inbox.release(spare)
        (revision,) = self.inbox.due()
        self.outbox.put(revision, {"report.sr.dcm": b"object"}, {"pacs": ("report.sr.dcm",)})
        (delivery,) = self.outbox.due("pacs")
        destination = self.settings.destinations["pacs"]
        assert self.outbox.settle(delivery, Outcome.REFUSED, "HTTP status 415", destination) is Outcome.DEAD

    def receive(self, uid: str) -> str:
        spooled = SpooledFile(self.settings.data_dir, 100)
        spooled.write(b"pixels")
        spooled.finish()
        header = Header("1.2.840.10008.5.1.4.1.1.4", "1", uid, ("P", ""))
        return self.inbox.keep(spooled, header, "SCANNER")[0]

    def command(self, *words: str) -> Result:
        return CliRunner().invoke(app, ["dicom-node", "--config", str(self.config), *words])


@pytest.fixture
def shelf(tmp_path: Path) -> Iterator[Shelf]:
    made = Shelf(tmp_path)
    yield made
    made.database.close()


def test_studies_are_listed_and_released(shelf: Shelf) -> None:
    listed = shelf.command("studies")
    assert listed.exit_code == 0
    (line,) = [line for line in listed.stdout.splitlines() if shelf.study in line]
    assert line.split()[1:4] == ["1", "held", "1"]
    assert shelf.command("release", shelf.study).exit_code == 0
    assert [revision.study for revision in shelf.inbox.due()] == [shelf.study]
    assert shelf.command("release", shelf.study).exit_code == 2


def test_the_outbox_is_listed_and_sent_again(shelf: Shelf) -> None:
    listed = shelf.command("outbox").stdout
    assert "report.sr.dcm" in listed
    assert "dead" in listed
    assert "HTTP status 415" in listed
    assert shelf.command("retry", "77").exit_code == 2
    assert shelf.command("retry").stdout == "1 to be sent.\n"
    assert len(shelf.outbox.due("pacs")) == 1


def test_what_nobody_wants_is_given_up(shelf: Shelf) -> None:
    assert shelf.command("discard", "77").exit_code == 2
    assert shelf.command("discard", "1").exit_code == 0
    assert shelf.command("discard", shelf.study).exit_code == 0
    assert shelf.inbox.counts()["held"] == 0
    assert "dead" not in shelf.command("outbox").stdout
    assert not list(shelf.settings.data_dir.glob("dead/*"))


def test_there_is_one_node_a_folder(shelf: Shelf) -> None:
    done = shelf.command()
    assert done.exit_code == 2
    assert "Another node uses this data folder." in done.stderr


def test_a_wrong_configuration_is_named(shelf: Shelf) -> None:
    shelf.config.write_text(_CONFIG.replace("refusals", "refusal"))
    done = shelf.command("studies")
    assert done.exit_code == 2
    assert "destinations.pacs.stow-rs.refusal" in done.stderr
