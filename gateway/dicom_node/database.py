"""What a node remembers: an SQLite file beside the objects, which names nobody.

Studies and objects are named by keyed hashes of their UIDs; what they hash is in the DICOM files alone.
"""

from __future__ import annotations

import fcntl
import hashlib
import hmac
import os
import secrets
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from discgrade.errors import Conflict

__all__ = ["Database", "sync_folder"]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS studies (
    study TEXT PRIMARY KEY, uid TEXT NOT NULL, callers TEXT NOT NULL, revision INTEGER NOT NULL,
    touched REAL NOT NULL, whole INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS studies_by_uid ON studies (uid);
CREATE TABLE IF NOT EXISTS revisions (
    study TEXT NOT NULL, revision INTEGER NOT NULL, state TEXT NOT NULL, round INTEGER NOT NULL DEFAULT 0,
    attempts INTEGER NOT NULL DEFAULT 0, due REAL NOT NULL DEFAULT 0, job_id TEXT, result_id TEXT, problem TEXT,
    PRIMARY KEY (study, revision)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS instances (
    study TEXT NOT NULL, instance TEXT NOT NULL, file TEXT NOT NULL UNIQUE, digest TEXT NOT NULL,
    bytes INTEGER NOT NULL, added INTEGER NOT NULL, replaced INTEGER
);
CREATE INDEX IF NOT EXISTS instances_of_study ON instances (study, instance);
CREATE TABLE IF NOT EXISTS outbox (
    id INTEGER PRIMARY KEY, study TEXT NOT NULL, revision INTEGER NOT NULL, destination TEXT NOT NULL,
    name TEXT NOT NULL, file TEXT NOT NULL, digest TEXT NOT NULL, state TEXT NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0, refusals INTEGER NOT NULL DEFAULT 0, due REAL NOT NULL DEFAULT 0,
    reason TEXT, made REAL NOT NULL, UNIQUE (study, destination, digest)
);
"""


class Database:
    """Opens or makes the database of a node; threads share it.

    Args:
        folder: The node's data folder; made if missing, for its owner alone.
        exclusive: Whether this is the node itself, of which there may be one at a time.

    Raises:
        Conflict: Another node uses the folder, or the file is damaged.
    """

    def __init__(self, folder: Path, *, exclusive: bool) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.folder = folder
        self._guard = threading.RLock()
        self._house = os.open(folder / "lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            if exclusive:
                fcntl.flock(self._house, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.close(os.open(folder / "node.sqlite", os.O_CREAT | os.O_RDWR, 0o600))
            self._connection = sqlite3.connect(
                folder / "node.sqlite", isolation_level=None, timeout=30.0, check_same_thread=False
            )
            self._connection.row_factory = sqlite3.Row
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = FULL")
            self._connection.executescript(_SCHEMA)
            self._connection.execute(
                "INSERT OR IGNORE INTO meta VALUES ('key', ?)", (secrets.token_hex(32),)
            )  # beside a damaged file no key is of use, so it needs no file of its own
            (key,) = self._connection.execute("SELECT value FROM meta WHERE name = 'key'").fetchone()
        except BlockingIOError:
            os.close(self._house)
            raise Conflict("Another node uses this data folder.", "Stop it, or give this one its own folder.") from None
        except sqlite3.DatabaseError as error:
            os.close(self._house)
            raise Conflict("The node's database is damaged or busy.", "Restore it, or begin a new folder.") from error
        self._key = bytes.fromhex(key)

    def close(self) -> None:
        """Close the file and let another node in."""
        self._connection.close()
        os.close(self._house)

    def pseudonym(self, *words: str) -> str:
        """A name for what must not be named: 32 hexadecimal digits, the same for the same words in this folder."""
        said = b"".join(len(word.encode()).to_bytes(4, "big") + word.encode() for word in words)
        return hmac.new(self._key, said, hashlib.sha256).hexdigest()[:32]

    @contextmanager
    def change(self) -> Iterator[sqlite3.Connection]:
        """A transaction; it is on disk when the block has ended."""
        with self._guard:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    def rows(self, query: str, *values: object) -> list[sqlite3.Row]:
        """Ask for rows."""
        with self._guard:
            return self._connection.execute(query, values).fetchall()


def sync_folder(folder: Path) -> None:
    """Bring names in a folder to disk."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
