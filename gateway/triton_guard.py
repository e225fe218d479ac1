"""A small process between the gateway and its tritonserver, so that neither can outlive the other.

Run as a script, with the standard library alone: ``triton_guard.py FOLDER SHM_PREFIX GRACE COMMAND…``. Its standard
input is a pipe that the gateway holds open: the line ``stop`` asks for a clean stop; the end of the pipe means that the
gateway died, by whatever signal, and kills the server at once. A parent-death signal alone would not do: it fires when
the *thread* that started the server ends, reaches neither the server's Python stubs nor its shared memory, and so is
used only between guard and server.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

__all__ = ["PREFIX", "clean_up", "main"]

PREFIX = "triton_guard: "
"""What the guard's own lines in the server's log begin with."""

_PR_SET_PDEATHSIG = 1  # prctl(2)
_PR_SET_CHILD_SUBREAPER = 36
_CHECK_SECONDS = 0.5


def main(folder: str, shm_prefix: str, grace_seconds: str, *command: str) -> int:
    """Run the server until it ends or must end, then leave nothing of it behind.

    Args:
        folder: Removed at the end.
        shm_prefix: Shared-memory segments whose names begin so are removed at the end.
        grace_seconds: Time from asking the server to stop to killing it.
        command: The server's command line.

    Returns:
        The server's exit status, 128 + n where signal n ended it.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)  # orphaned stubs become our children: we can wait for them
    server = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        preexec_fn=lambda: libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0),
    )
    threading.Thread(target=_watch, args=(server, float(grace_seconds)), daemon=True).start()
    status = _wait(server)
    clean_up(folder, shm_prefix)
    with contextlib.suppress(ChildProcessError):
        while True:
            os.wait()
    return 128 - status if status < 0 else status


def clean_up(folder: str, shm_prefix: str) -> None:
    """Kill what is left of a server, and remove its folder and its shared memory.

    Stubs notice by themselves that their server is gone, but not those that wait for a lock it held.

    Args:
        folder: Removed.
        shm_prefix: Chosen for this server alone: processes with it on their command line are killed (the server and
            its stubs have it, and the caller, who is spared, may), POSIX shared-memory segments with it are removed.
    """
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # it ended in this moment
            if shm_prefix.encode() in path.read_bytes() and int(path.parent.name) != os.getpid():
                os.kill(int(path.parent.name), signal.SIGKILL)
    for segment in Path("/dev/shm").glob(f"{shm_prefix}*"):
        segment.unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)


def _wait(server: subprocess.Popen[bytes]) -> int:
    """Wait until the server ends; end it when one of its stubs died.

    This server neither replaces a stub that was killed (by the kernel's out-of-memory killer, say) nor calls itself
    unready: it would answer every request with an error. The dead stub stays its zombie child.
    """
    dead: set[str] = set()
    while True:
        try:
            return server.wait(_CHECK_SECONDS)
        except subprocess.TimeoutExpired:
            still_dead, dead = dead, _zombies(server.pid)
        if still_dead & dead:
            print(f"{PREFIX}a Python stub died, so the server is ended", flush=True)
            server.kill()


def _zombies(parent: int) -> set[str]:
    """Children of a process that are dead and not waited for."""
    zombies = set()
    for children in Path(f"/proc/{parent}/task").glob("*/children"):
        with contextlib.suppress(OSError):  # the thread, or the child, ended in this moment
            for child in children.read_text().split():
                if Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                    zombies.add(child)
    return zombies


def _watch(server: subprocess.Popen[bytes], grace_seconds: float) -> None:
    if sys.stdin.readline().strip() == "stop":
        server.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.wait(grace_seconds)
    server.kill()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
