"""Studies that were received: kept until they are graded, and for late images a while longer."""

from __future__ import annotations

import json
import os
import shutil
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from sqlite3 import Connection

from gateway.dicom_node.database import Database, sync_folder
from gateway.dicom_node.header import Header
from gateway.dicom_node.settings import NodeSettings
from gateway.dicom_node.spool import SpooledFile

__all__ = ["Full", "Inbox", "Kept", "Revision", "State"]


class Full(Exception):
    """The study has as many objects or bytes as one may have."""


class Kept(StrEnum):
    """What became of an object."""

    STORED = "stored"
    DUPLICATE = "duplicate"
    """It was there already, to the last byte."""
    REPLACED = "replaced"
    """Another content was there under the same SOP Instance UID; the last one that is sent counts."""


class State(StrEnum):
    """Where a revision of a study stands."""

    OPEN = "open"
    HELD = "held"
    WAITING = "waiting"
    GRADING = "grading"
    GRADED = "graded"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True)
class Revision:
    """What is graded at once: all of a study that had been received by then.

    Attributes:
        study: Its pseudonym.
        revision: Counted from 1.
        round: Counted from 0; raised where the gateway lost the job or failed, so that another one is made.
        attempts: Calls of the gateway that failed in a row.
        callers: AE titles of those who sent it.
        job_id: The gateway's job.
        result_id: Its result.
    """

    study: str
    revision: int
    round: int
    attempts: int
    callers: tuple[str, ...]
    job_id: str | None
    result_id: str | None


class Inbox:
    """Keeps objects as files and what they belong to in the database.

    A row is written when its file is on disk under its name: what has no row was never answered with Success, and is
    removed at the start.

    Args:
        database: The node's.
        settings: The node's.
    """

    def __init__(self, database: Database, settings: NodeSettings) -> None:
        self._db = database
        self._settings = settings
        self._files = threading.Lock()  # around what changes files and rows together
        self.folder = database.folder / "studies"
        self.folder.mkdir(mode=0o700, exist_ok=True)

    def recover(self) -> None:
        """Remove files that a process left which was killed before they were kept."""
        known = {row["file"] for row in self._db.rows("SELECT file FROM instances")}
        for folder in list(self.folder.iterdir()):
            for file in list(folder.iterdir()):
                if f"{folder.name}/{file.name}" not in known:
                    file.unlink()
            if not any(folder.iterdir()):
                folder.rmdir()

    def keep(self, spooled: SpooledFile, header: Header, caller: str) -> tuple[str, Kept]:
        """Keep an object for good.

        Args:
            spooled: The object, whole and on disk.
            header: What it says.
            caller: AE title of who sent it.

        Returns:
            Pseudonym of its study, and what became of it.

        Raises:
            OSError: It cannot be written.
            Full: The study is too large.
        """
        study = self._db.pseudonym("study", header.study, *header.patient)
        instance = self._db.pseudonym("instance", header.study, *header.patient, header.instance)
        with self._files:
            return self._keep(spooled, header.study, study, instance, caller)

    def _keep(self, spooled: SpooledFile, uid: str, study: str, instance: str, caller: str) -> tuple[str, Kept]:
        with self._db.change() as db:
            same = db.execute(
                "SELECT * FROM instances WHERE study = ? AND instance = ? AND replaced IS NULL", (study, instance)
            ).fetchone()
            if same is not None and same["digest"] == spooled.digest:
                self._resume(db, study, caller)
                return study, Kept.DUPLICATE
            count, size = db.execute(
                "SELECT COUNT(*), COALESCE(SUM(bytes), 0) FROM instances WHERE study = ?", (study,)
            ).fetchone()
            limits = self._settings
            if count >= limits.max_study_instances or size + spooled.size > limits.max_study_bytes:
                raise Full
            revision = self._touch(db, study, self._db.pseudonym("uid", uid), caller)
            # A name for this revision and content, so that what was answered with Success stays until this is.
            file = f"{study}/{instance}-{revision}-{spooled.digest[:16]}.dcm"
            self._place(Path(spooled.name), self.folder / file)
            unseen = same is not None and same["added"] == revision  # by any job
            if same is not None and unseen:
                db.execute("DELETE FROM instances WHERE file = ?", (same["file"],))
            elif same is not None:
                db.execute("UPDATE instances SET replaced = ? WHERE file = ?", (revision, same["file"]))
            db.execute(
                "INSERT INTO instances VALUES (?, ?, ?, ?, ?, ?, NULL)",
                (study, instance, file, spooled.digest, spooled.size, revision),
            )
        if same is not None and unseen:
            (self.folder / same["file"]).unlink()
        return study, Kept.STORED if same is None else Kept.REPLACED

    def _place(self, source: Path, target: Path) -> None:
        if not target.parent.is_dir():
            target.parent.mkdir(mode=0o700)
            sync_folder(self.folder)
        os.replace(source, target)
        sync_folder(target.parent)

    def _touch(self, db: Connection, study: str, uid: str, caller: str) -> int:
        """Note that something was added; a study that was closed gets a new revision."""
        row = db.execute("SELECT * FROM studies WHERE study = ?", (study,)).fetchone()
        now = time.time()
        if row is None:
            db.execute("INSERT INTO studies VALUES (?, ?, ?, 1, ?, 0)", (study, uid, json.dumps([caller]), now))
            db.execute("INSERT INTO revisions (study, revision, state) VALUES (?, 1, ?)", (study, State.OPEN))
            return 1
        (state,) = db.execute(
            "SELECT state FROM revisions WHERE study = ? AND revision = ?", (study, row["revision"])
        ).fetchone()
        revision = int(row["revision"])
        if state not in (State.OPEN, State.HELD):
            revision += 1
            db.execute("INSERT INTO revisions (study, revision, state) VALUES (?, ?, ?)", (study, revision, State.OPEN))
        db.execute("UPDATE studies SET revision = ? WHERE study = ?", (revision, study))
        self._resume(db, study, caller)
        return revision

    def _resume(self, db: Connection, study: str, caller: str) -> None:
        """A study that is open or held is being sent, from its beginning or once more."""
        row = db.execute("SELECT callers, revision FROM studies WHERE study = ?", (study,)).fetchone()
        reopened = db.execute(
            "UPDATE revisions SET state = ? WHERE study = ? AND revision = ? AND state IN (?, ?)",
            (State.OPEN, study, row["revision"], State.OPEN, State.HELD),
        )
        if reopened.rowcount:
            callers = json.dumps(sorted({*json.loads(row["callers"]), caller}))
            db.execute(
                "UPDATE studies SET touched = ?, whole = 0, callers = ? WHERE study = ?", (time.time(), callers, study)
            )

    def other_patients(self, study: str) -> int:
        """Studies of the same Study Instance UID that name another patient."""
        ((count,),) = self._db.rows(
            "SELECT COUNT(*) FROM studies WHERE study != ? AND uid = (SELECT uid FROM studies WHERE study = ?)",
            study,
            study,
        )
        return int(count)

    def revision_of(self, study: str) -> int:
        """The latest revision of a study."""
        ((revision,),) = self._db.rows("SELECT revision FROM studies WHERE study = ?", study)
        return int(revision)

    def sent(self, study: str, *, whole: bool) -> None:
        """Note that nobody sends a study any more.

        Args:
            study: Its pseudonym.
            whole: Whether the last one to send it ended as it should, by releasing the association.
        """
        with self._db.change() as db:
            db.execute("UPDATE studies SET touched = ?, whole = ? WHERE study = ?", (time.time(), int(whole), study))

    def close_quiet(self, sending: set[str]) -> Iterator[tuple[str, State]]:
        """Close studies that got nothing for a while; yields each with its new state.

        Args:
            sending: Pseudonyms of those that are part of an association that is open.
        """
        now, settings = time.time(), self._settings
        after_cut = State.HELD if settings.interrupted == "hold" else State.WAITING
        for row in self._db.rows(
            "SELECT study, revision, touched, whole FROM studies JOIN revisions USING (study, revision)"
            " WHERE state = ?",
            State.OPEN,
        ):
            patience = settings.quiet_seconds if row["whole"] else settings.interrupted_seconds
            state = State.WAITING if row["whole"] else after_cut
            if row["study"] in sending or now < row["touched"] + patience:
                continue
            with self._db.change() as db:
                changed = db.execute(
                    "UPDATE revisions SET state = ? WHERE study = ? AND revision = ? AND state = ?"
                    " AND (SELECT touched FROM studies WHERE study = ?) = ?",
                    (state, row["study"], row["revision"], State.OPEN, row["study"], row["touched"]),
                )
            if changed.rowcount:
                yield row["study"], state

    def release(self, study: str) -> bool:
        """Have a held study graded as it is; False where none of this name is held."""
        with self._db.change() as db:
            changed = db.execute(
                "UPDATE revisions SET state = ? WHERE study = ? AND state = ?", (State.WAITING, study, State.HELD)
            )
        return bool(changed.rowcount)

    def discard(self, study: str) -> bool:
        """Give up a held study; False where none of this name is held."""
        with self._db.change() as db:
            changed = db.execute(
                "UPDATE revisions SET state = ?, problem = 'discarded' WHERE study = ? AND state = ?",
                (State.FAILED, study, State.HELD),
            )
        return bool(changed.rowcount)

    def due(self) -> list[Revision]:
        """What is to be done now with the gateway, the oldest first; of a study one revision at a time.

        The gateway has no more studies at a time than it may; the others wait here.
        """
        now = time.time()
        ((busy,),) = self._db.rows("SELECT COUNT(*) FROM revisions WHERE state IN (?, ?)", State.GRADING, State.GRADED)
        room = max(0, self._settings.studies_at_once - int(busy))
        rows = self._db.rows(
            "SELECT r.*, s.callers FROM revisions r JOIN studies s USING (study)"
            " WHERE r.state IN (?, ?, ?) AND r.due <= ?"
            " AND NOT EXISTS (SELECT 1 FROM revisions e WHERE e.study = r.study AND e.revision < r.revision"
            " AND e.state IN (?, ?, ?)) ORDER BY r.due, s.touched",
            *(State.WAITING, State.GRADING, State.GRADED),
            now,
            *(State.WAITING, State.GRADING, State.GRADED),
        )
        begun = [row for row in rows if row["state"] != State.WAITING]
        waiting = [row for row in rows if row["state"] == State.WAITING]
        return [
            Revision(
                row["study"],
                row["revision"],
                row["round"],
                row["attempts"],
                tuple(json.loads(row["callers"])),
                row["job_id"],
                row["result_id"],
            )
            for row in begun + waiting[:room]
        ]

    def files(self, revision: Revision) -> list[Path]:
        """Files of a revision, in a fixed order."""
        rows = self._db.rows(
            "SELECT file FROM instances WHERE study = ? AND added <= ? AND (replaced IS NULL OR replaced > ?)"
            " ORDER BY instance",
            *(revision.study, revision.revision, revision.revision),
        )
        return [self.folder / row["file"] for row in rows]

    def idempotency_key(self, revision: Revision) -> str:
        """The key under which the gateway knows the job of a revision, however often it is handed in."""
        return self._db.pseudonym("job", revision.study, str(revision.revision), str(revision.round))

    def move(self, revision: Revision, state: State, **values: object) -> None:
        """Note how a revision goes on.

        Args:
            revision: The revision.
            state: Where it stands now.
            values: Further columns: round, attempts, due, job_id, result_id, problem.
        """
        with self._db.change() as db:
            self.move_within(db, revision, state, **values)

    @staticmethod
    def move_within(db: Connection, revision: Revision, state: State, **values: object) -> None:
        """As :meth:`move`, as part of a transaction."""
        columns = "".join(f", {name} = ?" for name in values)
        db.execute(
            f"UPDATE revisions SET state = ?{columns} WHERE study = ? AND revision = ?",
            (state, *values.values(), revision.study, revision.revision),
        )

    def counts(self) -> dict[str, int]:
        """How many revisions are in each state."""
        found = {row[0]: row[1] for row in self._db.rows("SELECT state, COUNT(*) FROM revisions GROUP BY state")}
        return {state.value: found.get(state.value, 0) for state in State}

    def listing(self) -> list[tuple[str, ...]]:
        """Revisions as an operator wants to see them: study, revision, state, objects, last object, whole, problem."""
        rows = self._db.rows(
            "SELECT r.*, s.touched, s.whole, (SELECT COUNT(*) FROM instances i WHERE i.study = r.study"
            " AND i.added <= r.revision AND (i.replaced IS NULL OR i.replaced > r.revision)) AS objects"
            " FROM revisions r JOIN studies s USING (study) ORDER BY s.touched, r.revision"
        )
        return [
            (
                *(row["study"], str(row["revision"]), row["state"], str(row["objects"])),
                *(f"{datetime.fromtimestamp(row['touched']):%F %T}", "yes" if row["whole"] else "no"),
                row["problem"] or "",
            )
            for row in rows
        ]

    def forget(self) -> int:
        """Remove studies that ended a while ago and have nothing in the outbox; how many."""
        ended = (State.DONE, State.FAILED)
        rows = self._db.rows(
            "SELECT study FROM studies s WHERE touched < ?"
            " AND NOT EXISTS (SELECT 1 FROM revisions r WHERE r.study = s.study AND r.state NOT IN (?, ?))"
            " AND NOT EXISTS (SELECT 1 FROM outbox o WHERE o.study = s.study AND o.state IN ('waiting', 'dead'))",
            time.time() - self._settings.keep_hours * 3600.0,
            *ended,
        )
        for row in rows:
            with self._files:
                self._forget(row["study"])
        return len(rows)

    def _forget(self, study: str) -> None:
        with self._db.change() as db:
            gone = db.execute(
                "DELETE FROM studies WHERE study = ? AND touched < ?",
                (study, time.time() - self._settings.keep_hours * 3600.0),
            )
            if not gone.rowcount:  # it just got another image
                return
            for table in ("revisions", "instances", "outbox"):
                db.execute(f"DELETE FROM {table} WHERE study = ?", (study,))
        shutil.rmtree(self.folder / study)
