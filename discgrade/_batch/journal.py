"""What a batch remembers: an SQLite file beside the table, so that a killed batch goes on where it was.

It names files and studies, so only its owner can read it. Everything that leaves it is named by a keyed hash.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from discgrade._batch.find import Found
from discgrade.errors import Conflict

__all__ = ["Journal", "State", "Study"]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS files (
    path TEXT PRIMARY KEY, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, study TEXT, scan INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS files_of_study ON files (study, path);
CREATE TABLE IF NOT EXISTS studies (
    study TEXT PRIMARY KEY, kind TEXT NOT NULL, uid TEXT, state TEXT NOT NULL, round INTEGER NOT NULL,
    job_id TEXT, result TEXT, problem TEXT
) WITHOUT ROWID;
"""
_HASH_DIGITS = 16


class State(StrEnum):
    """Where a study stands."""

    WAITING = "waiting"
    SUBMITTED = "submitted"
    GRADED = "graded"
    FAILED = "failed"


@dataclass(frozen=True)
class Study:
    """One study of the batch.

    Attributes:
        study: Its pseudonym.
        kind: ``dicom``, ``zip`` or ``nifti``.
        uid: Study Instance UID, where it has one.
        path: Its file, or the folder that holds all of its files, relative to the batch's folder.
        state: Where it stands.
        job_id: The job that grades it.
        result: The result as JSON.
        problem: The problem document as JSON.
    """

    study: str
    kind: str
    uid: str | None
    path: str
    state: State
    job_id: str | None
    result: str | None
    problem: str | None


class Journal:
    """Opens or makes a journal; a context manager.

    Every change is on disk when its method returns.

    Args:
        path: The SQLite file.
        root: The folder that is graded.

    Raises:
        Conflict: It belongs to another folder, or another batch is using it.
    """

    def __init__(self, path: Path, root: Path) -> None:
        self._root = root
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        self._db = sqlite3.connect(path, isolation_level=None, timeout=0.5)
        try:
            self._db.execute("PRAGMA locking_mode = EXCLUSIVE")  # one batch at a time
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = FULL")
            self._db.executescript(_SCHEMA)
        except sqlite3.OperationalError as error:
            self._db.close()
            raise Conflict("Another batch is writing this table.", "Wait for it to end, or stop it.") from error
        except sqlite3.DatabaseError as error:
            self._db.close()
            raise Conflict("The journal beside the table is damaged.", "Remove it to begin anew.") from error
        if self._meta("root", lambda: str(root.resolve())) != str(root.resolve()):
            self._db.close()
            raise Conflict("This table belongs to another folder.", "Choose another --out, or remove its journal.")
        self._key = bytes.fromhex(self._meta("key", lambda: secrets.token_hex(32)))

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self._db.close()

    def scan(
        self, files: Iterator[tuple[str, os.stat_result]], identify: Callable[[str], Found | None]
    ) -> tuple[int, int]:
        """Bring the journal in step with what is in the folder.

        Files that have not changed since the last scan are not opened. A study whose files are gone stays as it is.

        Args:
            files: From :func:`discgrade._batch.find.files_below`.
            identify: Says what a file belongs to.

        Returns:
            How many files are part of a study, and how many are not.
        """
        number = int(self._meta("scan", lambda: "0")) + 1
        known, other = 0, 0
        self._db.execute("BEGIN")
        try:
            for path, status in files:
                row = self._db.execute("SELECT size, mtime_ns, study FROM files WHERE path = ?", (path,)).fetchone()
                if row is not None and row[:2] == (status.st_size, status.st_mtime_ns):
                    study = row[2]
                    self._db.execute("UPDATE files SET scan = ? WHERE path = ?", (number, path))
                else:
                    found = identify(path)
                    study = None if found is None else self._pseudonym(found.study)
                    if found is not None:
                        self._add(str(study), found)
                    self._db.execute(
                        "INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?)",
                        (path, status.st_size, status.st_mtime_ns, study, number),
                    )
                known, other = known + (study is not None), other + (study is None)
            self._db.execute("DELETE FROM files WHERE scan < ?", (number,))
            self._db.execute("UPDATE meta SET value = ? WHERE name = 'scan'", (str(number),))
            self._db.execute("COMMIT")
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        return known, other

    def again(self, kinds: Callable[[str], bool]) -> None:
        """Let failed studies wait again, under a new idempotency key.

        Args:
            kinds: Given a problem document, whether its study is to be tried again.
        """
        for study, problem in self._db.execute(
            "SELECT study, problem FROM studies WHERE state = ?", (State.FAILED,)
        ).fetchall():
            if kinds(problem):
                self.restart(study)

    def restart(self, study: str) -> None:
        """Forget a study's job; the next one has a new idempotency key."""
        self._db.execute(
            "UPDATE studies SET state = ?, round = round + 1, job_id = NULL, problem = NULL WHERE study = ?",
            (State.WAITING, study),
        )

    def open_studies(self) -> list[str]:
        """Those that have no end yet and whose files are still there, those begun first."""
        rows = self._db.execute(
            "SELECT study FROM studies WHERE state IN (?, ?) AND study IN (SELECT study FROM files) "
            "ORDER BY state = ?, study",
            (State.WAITING, State.SUBMITTED, State.WAITING),
        )
        return [study for (study,) in rows]

    def counts(self) -> dict[State, int]:
        """Studies in each state."""
        rows = dict(self._db.execute("SELECT state, count(*) FROM studies GROUP BY state").fetchall())
        return {state: rows.get(state.value, 0) for state in State}

    def studies(self) -> Iterator[Study]:
        """All studies, in the order of their pseudonyms, read one by one."""
        for study, kind, uid, state, job_id, result, problem in self._db.execute(
            "SELECT study, kind, uid, state, job_id, result, problem FROM studies ORDER BY study"
        ):
            yield Study(study, kind, uid, self._place(study), State(state), job_id, result, problem)

    def job_of(self, study: str) -> str | None:
        """The job that was submitted for a study."""
        row = self._db.execute("SELECT job_id FROM studies WHERE study = ?", (study,)).fetchone()
        return None if row is None else row[0]

    def files_of(self, study: str) -> list[Path]:
        """A study's files, in a fixed order."""
        rows = self._db.execute("SELECT path FROM files WHERE study = ? ORDER BY path", (study,))
        return [self._root / path for (path,) in rows]

    def idempotency_key(self, study: str) -> str:
        """The same until a study's files change or it is restarted: one job grades it, whatever is killed when."""
        (turn,) = self._db.execute("SELECT round FROM studies WHERE study = ?", (study,)).fetchone()
        digest = hmac.new(self._key, f"{study}\0{turn}".encode(), hashlib.sha256)
        for row in self._db.execute("SELECT path, size, mtime_ns FROM files WHERE study = ? ORDER BY path", (study,)):
            digest.update(repr(row).encode())
        return digest.hexdigest()

    def submitted(self, study: str, job_id: str) -> None:
        """Note the job that grades a study."""
        self._db.execute("UPDATE studies SET state = ?, job_id = ? WHERE study = ?", (State.SUBMITTED, job_id, study))

    def graded(self, study: str, result: str) -> None:
        """Note a study's result."""
        self._db.execute("UPDATE studies SET state = ?, result = ? WHERE study = ?", (State.GRADED, result, study))

    def failed(self, study: str, problem: str) -> None:
        """Note why a study could not be graded."""
        self._db.execute("UPDATE studies SET state = ?, problem = ? WHERE study = ?", (State.FAILED, problem, study))

    def _add(self, study: str, found: Found) -> None:
        uid = found.study.removeprefix("uid:") if found.study.startswith("uid:") else None
        self._db.execute(
            "INSERT OR IGNORE INTO studies (study, kind, uid, state, round) VALUES (?, ?, ?, ?, 0)",
            (study, found.kind, uid, State.WAITING),
        )

    def _pseudonym(self, study: str) -> str:
        return hmac.new(self._key, study.encode(), hashlib.sha256).hexdigest()[:_HASH_DIGITS]

    def _place(self, study: str) -> str:
        paths = [path for (path,) in self._db.execute("SELECT path FROM files WHERE study = ?", (study,))]
        if len(paths) < 2:
            return paths[0] if paths else ""
        return os.path.commonpath(paths) or "."

    def _meta(self, name: str, first: Callable[[], str]) -> str:
        self._db.execute("INSERT OR IGNORE INTO meta VALUES (?, ?)", (name, first()))
        value: str = self._db.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()[0]
        return value
