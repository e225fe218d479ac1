"""API keys: made here, shown once, kept as hashes in a file that may change while servers run.

A key is ``dg_ID_SECRET`` with 256 random bits of secret. Its SHA-256 is kept: against so much entropy there is nothing
to guess, so a slow password hash would protect nothing, and cost every request what it costs an attacker.
"""

from __future__ import annotations

import fcntl
import hashlib
import hmac
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

import structlog
from limits import parse
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from discgrade.errors import Conflict, NotFound, ServiceError
from gateway.door.principal import Scope

__all__ = ["KEY_PREFIX", "ApiKey", "KeyFile", "Rate"]

KEY_PREFIX = "dg_"
"""What every key begins with, so that scanners for secrets find it where it does not belong."""

_TOKEN = re.compile(r"dg_([0-9a-f]{12})_[A-Za-z0-9_-]{43}")
_log = structlog.get_logger("door")


def _rate(text: str) -> str:
    parse(text)
    return text


Rate = Annotated[str, AfterValidator(_rate)]
"""Calls in a time, as the library ``limits`` writes it: ``60/minute``."""


class ApiKey(BaseModel):
    """One key, without its secret.

    Attributes:
        id: Public part of the key, by which it is found.
        name: What it is for; the audit log shows it.
        scopes: What its holder may do.
        rate: Calls in a time; None takes the server's default.
        created: When it was made, UTC.
        sha256: Hash of the whole key, hexadecimal.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str = Field(pattern=r"^[0-9a-f]{12}$")
    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")
    scopes: frozenset[Scope] = Field(min_length=1)
    rate: Rate | None = None
    created: datetime
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class _Contents(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Literal[1] = 1
    keys: tuple[ApiKey, ...] = ()


class KeyFile:
    """The keys in one file; read again whenever the file changes.

    Args:
        path: A JSON file; one that is missing holds no keys.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, int, int] | None = None
        self._keys: dict[str, ApiKey] = {}

    def find(self, token: str) -> ApiKey | None:
        """The key a caller shows, if it is one of these."""
        shape = _TOKEN.fullmatch(token)
        if shape is None:
            return None
        self._refresh()
        key = self._keys.get(shape[1])
        digest = hashlib.sha256(token.encode()).hexdigest()
        return key if hmac.compare_digest(digest, key.sha256 if key else "0" * 64) else None

    def all(self) -> tuple[ApiKey, ...]:
        """All keys in the order they were made.

        Raises:
            ServiceError: The file is damaged.
        """
        return self._read().keys

    def create(self, name: str, scopes: frozenset[Scope], rate: str | None = None) -> str:
        """Make a key.

        Args:
            name: Letters, digits, dots, hyphens and underscores; at most 64.
            scopes: At least one.
            rate: Calls in a time, such as ``60/minute``.

        Returns:
            The key itself, which is kept nowhere.

        Raises:
            Conflict: There is a key of this name.
            ServiceError: The file is damaged.
            pydantic.ValidationError: The name, the scopes or the rate is not valid.
        """
        identifier = secrets.token_hex(6)
        token = f"{KEY_PREFIX}{identifier}_{secrets.token_urlsafe(32)}"
        key = ApiKey(
            id=identifier,
            name=name,
            scopes=scopes,
            rate=rate,
            created=datetime.now(UTC),
            sha256=hashlib.sha256(token.encode()).hexdigest(),
        )
        with self._locked():
            keys = self._read().keys
            if any(other.name == name for other in keys):
                raise Conflict("There is a key of this name already.", "Choose another name, or revoke that key first.")
            self._write(_Contents(keys=(*keys, key)))
        return token

    def revoke(self, name: str) -> None:
        """Remove a key; servers that run refuse it from the next call on.

        Raises:
            NotFound: There is no key of this name.
            ServiceError: The file is damaged.
        """
        with self._locked():
            keys = self._read().keys
            kept = tuple(key for key in keys if key.name != name)
            if len(kept) == len(keys):
                raise NotFound("There is no key of this name.", "'discgrade keys list' shows the names.")
            self._write(_Contents(keys=kept))

    def _refresh(self) -> None:
        try:
            stat = self._path.stat()
            seen = stat.st_ino, stat.st_mtime_ns, stat.st_size
        except FileNotFoundError:
            seen = 0, 0, 0
        if seen == self._seen:
            return
        try:
            self._keys = {key.id: key for key in self._read().keys}
        except ServiceError:  # a damaged file may have lost a revocation: better to admit no key at all
            _log.error("the file of API keys is damaged: no key is accepted")
            self._keys = {}
        self._seen = seen

    def _read(self) -> _Contents:
        try:
            return _Contents.model_validate_json(self._path.read_bytes())
        except FileNotFoundError:
            return _Contents()
        except ValidationError:
            raise ServiceError("The file of API keys is damaged.", "Bring back a copy, or remove it.") from None

    def _write(self, contents: _Contents) -> None:
        staged = self._path.with_name(f".{self._path.name}.new")
        staged.unlink(missing_ok=True)
        staged.touch(0o600)
        staged.write_text(contents.model_dump_json(indent=2) + "\n")
        staged.replace(self._path)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder = os.open(self._path.parent, os.O_RDONLY)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            yield
        finally:
            os.close(folder)
