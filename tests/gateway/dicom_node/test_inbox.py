"""What the inbox keeps, and which study and revision it belongs to."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.dicom_node.database import Database
from gateway.dicom_node.header import Header
from gateway.dicom_node.inbox import Full, Inbox, Kept, State
from gateway.dicom_node.spool import SpooledFile
from tests.support.pacs import node_settings

MR = "1.2.840.10008.5.1.4.1.1.4"


class House:
    """An inbox whose clock is turned by hand."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.now = time.time()
        monkeypatch.setattr(time, "time", lambda: self.now)

    def open(self, **settings: Any) -> None:
        chosen = node_settings(self.folder, **{"quiet_seconds": 60.0, "interrupted_seconds": 600.0, **settings})
        self.database = Database(self.folder, exclusive=True)
        self.inbox = Inbox(self.database, chosen)
        self.inbox.recover()
        (self.folder / "incoming").mkdir(exist_ok=True)

    def reopen(self, **settings: Any) -> None:
        self.database.close()
        self.open(**settings)

    def keep(self, instance: str, content: bytes = b"pixels", *, patient: str = "P", study: str = "1.2") -> Kept:
        spooled = SpooledFile(self.folder / "incoming", 1000)
        spooled.write(content)
        spooled.finish()
        self.study, kept = self.inbox.keep(spooled, Header(MR, instance, study, (patient, "")), "SCANNER")
        return kept

    def close(self, after: float = 61.0, *, whole: bool = True) -> list[State]:
        self.inbox.sent(self.study, whole=whole)
        self.now += after
        return [state for _, state in self.inbox.close_quiet(set())]

    def contents(self) -> list[bytes]:
        (revision,) = self.inbox.due()
        return sorted(path.read_bytes() for path in self.inbox.files(revision))


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    made = House(tmp_path / "node", monkeypatch)
    made.open()
    yield made
    made.database.close()


def test_a_study_is_closed_once_it_was_sent_whole_and_is_quiet(house: House) -> None:
    house.keep("1")
    house.keep("2", b"more")
    assert house.close(59.0) == []
    house.now += 2
    assert [state for _, state in house.inbox.close_quiet({house.study})] == []  # another association is sending it
    assert [state for _, state in house.inbox.close_quiet(set())] == [State.WAITING]
    assert house.contents() == [b"more", b"pixels"]


def test_what_was_answered_is_there_after_a_restart(house: House) -> None:
    house.keep("1")
    stray = house.inbox.folder / house.study / "not-answered.dcm"
    stray.write_bytes(b"half")
    house.reopen()
    assert not stray.exists()
    house.close()
    assert house.contents() == [b"pixels"]


def test_the_same_object_again_is_ignored(house: House) -> None:
    house.keep("1")
    assert house.keep("1") is Kept.DUPLICATE
    house.close()
    assert house.keep("1") is Kept.DUPLICATE
    assert house.inbox.counts()["waiting"] == 1
    assert house.inbox.counts()["open"] == 0


def test_of_two_contents_under_one_uid_the_last_counts(house: House) -> None:
    house.keep("1", b"first")
    assert house.keep("1", b"second") is Kept.REPLACED
    house.close()
    assert house.contents() == [b"second"]
    assert len(list((house.inbox.folder / house.study).iterdir())) == 1


def test_a_correction_after_closing_leaves_the_first_job_what_it_has(house: House) -> None:
    house.keep("1", b"first")
    house.close()
    (first,) = house.inbox.due()
    for content in (b"second", b"first"):  # and back again
        assert house.keep("1", content) is Kept.REPLACED
    assert [path.read_bytes() for path in house.inbox.files(first)] == [b"first"]
    house.inbox.move(first, State.DONE)
    house.keep("1", b"third")
    house.close()
    assert house.contents() == [b"third"]


def test_late_objects_make_a_revision_of_the_whole_study(house: House) -> None:
    house.keep("1")
    house.close()
    (first,) = house.inbox.due()
    house.keep("2", b"late")
    house.close()
    assert house.inbox.due() == [first], "one revision of a study at a time"
    assert len(house.inbox.files(first)) == 1
    house.inbox.move(first, State.DONE)
    (second,) = house.inbox.due()
    assert (second.revision, house.contents()) == (2, [b"late", b"pixels"])
    assert house.inbox.idempotency_key(first) != house.inbox.idempotency_key(second)


def test_jobs_have_the_same_key_after_a_restart(house: House) -> None:
    house.keep("1")
    house.close()
    key = house.inbox.idempotency_key(house.inbox.due()[0])
    house.reopen()
    assert house.inbox.idempotency_key(house.inbox.due()[0]) == key


def test_a_study_that_was_cut_off_is_held_until_the_rest_comes(house: House) -> None:
    house.keep("1")
    assert house.close(599.0, whole=False) == []
    house.now += 2
    assert [state for _, state in house.inbox.close_quiet(set())] == [State.HELD]
    assert house.inbox.due() == []
    assert house.keep("1") is Kept.DUPLICATE  # the sender begins anew
    house.keep("2", b"rest")
    assert house.close() == [State.WAITING]
    assert len(house.contents()) == 2


def test_a_restart_in_mid_study_counts_as_cut_off(house: House) -> None:
    house.keep("1")
    house.reopen()
    house.now += 61
    assert list(house.inbox.close_quiet(set())) == []
    house.now += 600
    assert [state for _, state in house.inbox.close_quiet(set())] == [State.HELD]


def test_what_is_held_can_be_released_or_given_up(house: House) -> None:
    house.keep("1")
    house.close(601.0, whole=False)
    assert not house.inbox.release("another")
    assert house.inbox.release(house.study)
    assert len(house.inbox.due()) == 1
    assert not house.inbox.discard(house.study)

    house.keep("1", study="1.3")
    house.close(601.0, whole=False)
    assert house.inbox.discard(house.study)
    assert house.inbox.counts()["failed"] == 1


def test_a_node_may_grade_what_is_there(house: House) -> None:
    house.reopen(interrupted="grade")
    house.keep("1")
    assert house.close(601.0, whole=False) == [State.WAITING]


def test_two_patients_under_one_study_uid_are_two_studies(house: House) -> None:
    house.keep("1", patient="P")
    assert house.inbox.other_patients(house.study) == 0
    house.keep("1", b"other", patient="Q")
    assert house.inbox.other_patients(house.study) == 1
    house.now += 61
    for patient in ("P", "Q"):
        house.keep("2", patient=patient)
        house.inbox.sent(house.study, whole=True)
    house.now += 61
    assert len(list(house.inbox.close_quiet(set()))) == 2
    assert [len(house.inbox.files(revision)) for revision in house.inbox.due()] == [2, 2]


@pytest.mark.parametrize("limit", [{"max_study_instances": 1}, {"max_study_bytes": 8}])
def test_a_study_has_bounds(house: House, limit: dict[str, int]) -> None:
    house.reopen(**limit)
    house.keep("1")
    with pytest.raises(Full):
        house.keep("2")
    assert house.keep("1") is Kept.DUPLICATE
    house.close()
    assert house.contents() == [b"pixels"]


def test_the_gateway_gets_no_more_studies_than_it_may(house: House) -> None:
    house.reopen(studies_at_once=1)
    for study in ("1.2", "1.3"):
        house.keep("1", study=study)
        house.close()
    (first,) = house.inbox.due()
    house.inbox.move(first, State.GRADING, job_id="a")
    assert [revision.job_id for revision in house.inbox.due()] == ["a"]
    house.inbox.move(first, State.DONE)
    assert [revision.study for revision in house.inbox.due()] == [house.study]


def test_finished_studies_are_forgotten_after_a_while(house: House) -> None:
    house.keep("1")
    house.close()
    house.inbox.move(house.inbox.due()[0], State.DONE)
    house.now += 23 * 3600
    house.inbox.forget()
    assert house.inbox.counts()["done"] == 1
    house.now += 2 * 3600
    house.inbox.forget()
    assert sum(house.inbox.counts().values()) == 0
    assert list(house.inbox.folder.iterdir()) == []
    assert house.keep("1") is Kept.STORED


def test_names_on_disk_say_nothing(house: House) -> None:
    house.keep("1.2.276.0.7230010.3.1", patient="PAT-4711", study="1.2.276.0.7230010.9")
    house.database.close()
    everything = b"".join(path.read_bytes() for path in house.folder.glob("node.sqlite*"))
    names = " ".join(str(path) for path in house.folder.rglob("*"))
    for word in ("1.2.276.0.7230010", "PAT-4711"):
        assert word.encode() not in everything
        assert word not in names
    house.open()


def test_the_operator_sees_what_is_there(house: House) -> None:
    house.keep("1")
    ((study, revision, state, objects, _, whole, problem),) = house.inbox.listing()
    assert (study, revision, state, objects, whole, problem) == (house.study, "1", "open", "1", "no", "")
