"""``discgrade keys`` and ``discgrade audit``."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest
from typer.testing import CliRunner

from discgrade.cli import app
from gateway.audit import Audit, Entry, audit_key
from gateway.door.keys import KeyFile
from gateway.workers import Workers

run = CliRunner().invoke


@pytest.fixture
def data(tmp_path: Path) -> list[str]:
    return ["--data-dir", str(tmp_path)]


def write_log(folder: Path, count: int) -> Path:
    log = folder / "audit" / "log.jsonl"
    audit = Audit(log, audit_key(folder / "audit" / "key", log), Workers(1))

    async def write() -> None:
        for _ in range(count):
            await audit.record("anonymous", "grade", Entry(), "ok", None)

    anyio.run(write)
    return log


def test_a_key_is_printed_alone_and_works(tmp_path: Path, data: list[str]) -> None:
    made = run(app, ["keys", "create", "--name", "pacs", "--scope", "grade", "--scope", "read", *data])
    assert made.exit_code == 0
    token = made.stdout.strip()
    key = KeyFile(tmp_path / "keys.json").find(token)
    assert key is not None
    assert (key.name, sorted(key.scopes)) == ("pacs", ["grade", "read"])
    listed = run(app, ["keys", "list", *data])
    assert "pacs" in listed.stdout
    assert token[-43:] not in listed.stdout
    assert run(app, ["keys", "revoke", "pacs", *data]).exit_code == 0
    assert KeyFile(tmp_path / "keys.json").find(token) is None


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--name", "pacs", "--scope", "everything"], "scopes are grade"),
        (["--name", "Erika Mustermann", "--scope", "read"], "name"),
        (["--name", "pacs", "--scope", "read", "--rate", "often"], "rate"),
        (["--name", "pacs"], "--scope"),
    ],
)
def test_a_key_that_makes_no_sense_is_refused(tmp_path: Path, data: list[str], options: list[str], told: str) -> None:
    refused = run(app, ["keys", "create", *options, *data])
    assert refused.exit_code == 2
    assert told in refused.stderr
    assert not (tmp_path / "keys.json").exists()


def test_unknown_and_doubled_names_are_told(data: list[str]) -> None:
    assert run(app, ["keys", "create", "--name", "pacs", "--scope", "read", *data]).exit_code == 0
    assert run(app, ["keys", "create", "--name", "pacs", "--scope", "read", *data]).exit_code == 2
    assert run(app, ["keys", "revoke", "viewer", *data]).exit_code == 2


def test_serving_to_others_without_keys_is_refused_before_anything_starts(data: list[str]) -> None:
    refused = run(app, ["serve", "--host", "0.0.0.0", *data])
    assert refused.exit_code == 2
    assert "discgrade keys create" in refused.stderr


def test_a_whole_log_is_told_with_its_head(tmp_path: Path, data: list[str]) -> None:
    write_log(tmp_path, 3)
    whole = run(app, ["audit", "verify", *data])
    assert whole.exit_code == 0
    assert "3 entries" in whole.stderr
    head = whole.stdout.strip()
    write_log(tmp_path, 1)
    assert run(app, ["audit", "verify", "--head", head, *data]).exit_code == 0
    assert run(app, ["audit", "verify", "--head", f"9:{'0' * 64}", *data]).exit_code == 1


def test_a_broken_log_is_told_with_its_line(tmp_path: Path, data: list[str]) -> None:
    log = write_log(tmp_path, 3)
    log.write_bytes(log.read_bytes().replace(b'"n":2,', b'"n":2, ', 1))
    broken = run(app, ["audit", "verify", str(log), "--key-file", str(tmp_path / "audit" / "key")])
    assert broken.exit_code == 1
    assert "line 2" in broken.stderr
    assert broken.stdout == ""


def test_there_must_be_a_log(data: list[str]) -> None:
    assert run(app, ["audit", "verify", *data]).exit_code == 2
