"""Results on their way to archives: kept on disk until each has been taken, or refused for good."""

from __future__ import annotations

import hashlib
import os
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from sqlite3 import Row

from gateway.dicom_node.database import Database, sync_folder
from gateway.dicom_node.inbox import Inbox, Revision, State
from gateway.dicom_node.settings import CStoreDestination, StowDestination

__all__ = ["Delivery", "Letter", "Outbox", "Outcome"]


class Letter(StrEnum):
    """Where an object stands."""

    WAITING = "waiting"
    DELIVERED = "delivered"
    DEAD = "dead"
    """Refused for good; waits for an operator."""
    DISCARDED = "discarded"
    """Given up by an operator."""


class Outcome(StrEnum):
    """How an attempt ended."""

    DELIVERED = "delivered"
    AWAY = "away"
    """The destination did not answer, or asked to come back."""
    REFUSED = "refused"
    """It answered that it does not take this object."""
    DEAD = "dead"
    """It refused for the last time."""


@dataclass(frozen=True)
class Delivery:
    """One object for one destination.

    Attributes:
        number: Names it.
        study: Pseudonym of its study.
        revision: Revision of the study that it came of.
        destination: Name of the destination.
        name: Which object of a result it is.
        path: Its file.
        state: Where it stands.
        attempts: Attempts so far.
        refusals: How many of them were refusals.
        reason: Why the last one failed.
        made: When it was put here, seconds since the epoch.
        due: When the next attempt is made.
    """

    number: int
    study: str
    revision: int
    destination: str
    name: str
    path: Path
    state: Letter
    attempts: int
    refusals: int
    reason: str | None
    made: float
    due: float


class Outbox:
    """Keeps objects as files, in one folder those that wait, in another those that were refused for good.

    Args:
        database: The node's.
    """

    def __init__(self, database: Database) -> None:
        self._db = database
        self._waiting, self._dead = database.folder / "outbox", database.folder / "dead"
        for folder in (self._waiting, self._dead):
            folder.mkdir(mode=0o700, exist_ok=True)

    def recover(self) -> None:
        """Remove files that a process left which was killed while it fetched or delivered them."""
        rows = self._db.rows("SELECT file FROM outbox WHERE state IN (?, ?)", Letter.WAITING, Letter.DEAD)
        known = {row["file"] for row in rows}
        for folder in (self._waiting, self._dead):
            for file in list(folder.iterdir()):
                if file.name not in known:
                    file.unlink()

    def put(self, revision: Revision, objects: Mapping[str, bytes], routes: Mapping[str, tuple[str, ...]]) -> int:
        """Keep a result's objects for their destinations, and note that the revision is done.

        What a destination already got, or waits for, of this study to the last byte, it does not get again.

        Args:
            revision: What was graded.
            objects: DICOM files by name.
            routes: Destinations, and the names of the objects that each gets.

        Returns:
            How many deliveries were added.
        """
        known = {
            (row["destination"], row["digest"])
            for row in self._db.rows("SELECT destination, digest FROM outbox WHERE study = ?", revision.study)
        }
        files = {}
        for place, name in ((place, name) for place, names in routes.items() for name in names if name in objects):
            digest = hashlib.sha256(objects[name]).hexdigest()
            if (place, digest) in known:
                continue
            file = self._db.pseudonym("letter", revision.study, place, digest)
            files[place, name] = file, digest
            self._write(self._waiting / file, objects[name])
        sync_folder(self._waiting)
        with self._db.change() as db:
            for (place, name), (file, digest) in files.items():
                db.execute(
                    "INSERT INTO outbox (study, revision, destination, name, file, digest, state, made)"
                    " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                    (revision.study, revision.revision, place, name, file, digest, Letter.WAITING, time.time()),
                )
            Inbox.move_within(db, revision, State.DONE)
        return len(files)

    @staticmethod
    def _write(path: Path, content: bytes) -> None:
        with open(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())

    def due(self, destination: str) -> list[Delivery]:
        """What is to be delivered to a destination now, the oldest first."""
        rows = self._db.rows(
            "SELECT * FROM outbox WHERE destination = ? AND state = ? AND due <= ? ORDER BY id LIMIT 32",
            *(destination, Letter.WAITING, time.time()),
        )
        return [self._delivery(row) for row in rows]

    def all(self, *states: Letter) -> list[Delivery]:
        """Deliveries in some states, the oldest first."""
        marks = ", ".join("?" for _ in states)
        rows = self._db.rows(f"SELECT * FROM outbox WHERE state IN ({marks}) ORDER BY id", *states)
        return [self._delivery(row) for row in rows]

    def _delivery(self, row: Row) -> Delivery:
        state = Letter(row["state"])
        folder = self._dead if state is Letter.DEAD else self._waiting
        return Delivery(
            row["id"],
            row["study"],
            row["revision"],
            row["destination"],
            row["name"],
            folder / row["file"],
            state,
            row["attempts"],
            row["refusals"],
            row["reason"],
            row["made"],
            row["due"],
        )

    def settle(
        self,
        delivery: Delivery,
        outcome: Outcome,
        reason: str | None,
        destination: CStoreDestination | StowDestination,
        after_seconds: float = 0.0,
    ) -> Outcome:
        """Note how an attempt ended.

        Args:
            delivery: What was attempted.
            outcome: DELIVERED, AWAY or REFUSED.
            reason: Why not, in a few words.
            destination: Where to; says how often and when it is tried again.
            after_seconds: The least wait that the destination asked for.

        Returns:
            ``outcome``, or DEAD after the last refusal.
        """
        if outcome is Outcome.DELIVERED:
            with self._db.change() as db:
                db.execute(
                    "UPDATE outbox SET state = ?, attempts = attempts + 1, reason = NULL WHERE id = ?",
                    (Letter.DELIVERED, delivery.number),
                )
            delivery.path.unlink(missing_ok=True)
            return outcome
        attempts, refusals = delivery.attempts + 1, delivery.refusals + (outcome is Outcome.REFUSED)
        dead = refusals >= destination.refusals
        longest = min(destination.first_retry_seconds * 2.0 ** min(attempts - 1, 30), destination.longest_retry_seconds)
        due = time.time() + max(after_seconds, longest * random.uniform(0.5, 1.0))
        if dead:
            os.replace(delivery.path, self._dead / delivery.path.name)
            sync_folder(self._dead)
            sync_folder(self._waiting)
        with self._db.change() as db:
            db.execute(
                "UPDATE outbox SET state = ?, attempts = ?, refusals = ?, reason = ?, due = ? WHERE id = ?",
                (Letter.DEAD if dead else Letter.WAITING, attempts, refusals, reason, due, delivery.number),
            )
        return Outcome.DEAD if dead else outcome

    def retry(self, number: int | None = None) -> int:
        """Have deliveries attempted at once, those that were refused for good included.

        Args:
            number: Which; all when omitted.

        Returns:
            How many.
        """
        chosen = [
            delivery
            for delivery in self.all(Letter.WAITING, Letter.DEAD)
            if number is None or delivery.number == number
        ]
        for delivery in chosen:
            if delivery.state is Letter.DEAD and delivery.path.exists():
                os.replace(delivery.path, self._waiting / delivery.path.name)
                sync_folder(self._waiting)
            with self._db.change() as db:
                db.execute(
                    "UPDATE outbox SET state = ?, refusals = 0, due = 0 WHERE id = ? AND state IN (?, ?)",
                    (Letter.WAITING, delivery.number, Letter.WAITING, Letter.DEAD),
                )
        return len(chosen)

    def discard(self, number: int) -> bool:
        """Give up an object that was refused for good; False where none of this number was."""
        chosen = [delivery for delivery in self.all(Letter.DEAD) if delivery.number == number]
        for delivery in chosen:
            with self._db.change() as db:
                db.execute("UPDATE outbox SET state = ? WHERE id = ?", (Letter.DISCARDED, number))
            delivery.path.unlink(missing_ok=True)
        return bool(chosen)

    def counts(self) -> dict[tuple[str, str], int]:
        """How many deliveries are in each state, by destination and state."""
        rows = self._db.rows("SELECT destination, state, COUNT(*) FROM outbox GROUP BY destination, state")
        return {(row[0], row[1]): row[2] for row in rows}

    def oldest(self, destination: str) -> float:
        """Seconds for which the oldest delivery to a destination has been waiting; 0 where none is."""
        ((made,),) = self._db.rows(
            "SELECT MIN(made) FROM outbox WHERE destination = ? AND state = ?", destination, Letter.WAITING
        )
        return 0.0 if made is None else max(0.0, time.time() - float(made))
