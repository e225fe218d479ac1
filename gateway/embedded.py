"""Starts and supervises a tritonserver of its own: on the loopback interface, unless told otherwise."""

from __future__ import annotations

import contextlib
import http.client
import random
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from types import TracebackType

import structlog

from discgrade.errors import InferenceUnavailable
from gateway import triton_guard
from gateway.triton_install import TritonInstall
from gateway.triton_log import ServerLog

__all__ = ["EmbeddedTriton", "State"]

PIPELINE = "lumbar_grading"
_CANARY = f"{PIPELINE}_canary"
_HOST = "127.0.0.1"
_PORTS = range(20000, 32000)  # below those the kernel gives to outgoing connections: still free after a restart
_SHARED_MEMORY_BYTES = (
    512 * 2**20
)  # each slice of a study in flight takes about 3 MiB; Docker's default is 64 MiB in all
_log = structlog.get_logger("tritonserver")


class State(StrEnum):
    """Where the embedded server stands."""

    STOPPED = "stopped"
    STARTING = "starting"
    READY = "ready"
    RESTARTING = "restarting"
    FAILED = "failed"


class EmbeddedTriton:
    """One tritonserver process with its Python stubs, kept alive; a context manager.

    Methods block; call them from one thread (an event loop: ``await asyncio.to_thread(triton.start)``). The
    addresses stay the same when the server is restarted.

    Args:
        model_repository: Folder with the models; by default the one that is installed with discgrade.
        host: Address to listen on. Nothing guards it: others must be kept away by the network.
        ports: Of gRPC, HTTP and metrics; by default free ones.
        options: Further options of tritonserver.
        start_seconds: Longest time from start to ready, warm-up included.
        stop_seconds: Longest time that requests in flight are waited for at stop.
        max_restarts: Starts in a row that may fail, or end within ``stable_seconds``, before it is given up.
        backoff_seconds: Wait before the first restart; doubled for each one in a row, up to 30 s.
        stable_seconds: After so long in service an earlier death no longer counts.
    """

    def __init__(
        self,
        model_repository: Path | None = None,
        *,
        host: str = _HOST,
        ports: tuple[int, int, int] | None = None,
        options: Sequence[str] = (),
        start_seconds: float = 120.0,
        stop_seconds: float = 15.0,
        max_restarts: int = 5,
        backoff_seconds: float = 0.5,
        stable_seconds: float = 60.0,
    ) -> None:
        if model_repository is None:
            import model_repository as installed

            model_repository = installed.path()
        self._repository = model_repository.resolve()
        self._host = host
        self._wanted_ports = ports
        self._options = options
        self._start_seconds = start_seconds
        self._stop_seconds = stop_seconds
        self._max_restarts = max_restarts
        self._backoff_seconds = backoff_seconds
        self._stable_seconds = stable_seconds
        self._ports: tuple[int, int, int] | None = None
        self._state = State.STOPPED
        self._restarts = 0
        self._guard: subprocess.Popen[bytes] | None = None
        self._folder = Path()
        self._shm_prefix = ""
        self._stopping = threading.Event()
        self._supervisor: threading.Thread | None = None

    @property
    def state(self) -> State:
        """Where the server stands; requests can be answered when it is ``READY``."""
        return self._state

    @property
    def restarts(self) -> int:
        """How often the server died and was started again since :meth:`start`."""
        return self._restarts

    @property
    def url(self) -> str:
        """host:port of the gRPC service."""
        return f"{self._host}:{self._port(0)}"

    @property
    def http_url(self) -> str:
        """Base URL of the HTTP service."""
        return f"http://{self._host}:{self._port(1)}"

    @property
    def metrics_url(self) -> str:
        """URL of the Prometheus metrics."""
        return f"http://{self._host}:{self._port(2)}/metrics"

    def __enter__(self) -> EmbeddedTriton:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start the server and wait until every model is loaded and warm.

        Raises:
            InferenceUnavailable: It did not get ready; the message ends with the last lines of its log.
            RuntimeError: It is started already.
        """
        if self._supervisor is not None:
            raise RuntimeError("the embedded tritonserver is started already")
        self._install = TritonInstall.find()
        self._stopping.clear()
        self._restarts = 0
        self._ports = self._wanted_ports or _free_ports()
        if (free := shutil.disk_usage("/dev/shm").free) < _SHARED_MEMORY_BYTES:
            _log.warning("little shared memory in /dev/shm: large studies will fail", free_mib=free // 2**20)
        self._state = State.STARTING
        try:
            self._launch()
            self._await_ready()
        except BaseException:
            self._end_process()
            self._state = State.STOPPED
            raise
        self._state = State.READY
        self._supervisor = threading.Thread(target=self._supervise, name="tritonserver-supervisor", daemon=True)
        self._supervisor.start()

    def stop(self) -> None:
        """Let requests in flight end, then end the server and all it left; nothing happens if it is not started."""
        self._stopping.set()
        if self._supervisor is not None:
            self._supervisor.join()
            self._supervisor = None
        self._state = State.STOPPED

    def _port(self, index: int) -> int:
        if self._ports is None:
            raise RuntimeError("the embedded tritonserver has no address before it is started")
        return self._ports[index]

    def _launch(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="discgrade-triton-"))
        self._shm_prefix = f"discgrade-{secrets.token_hex(8)}-"  # two servers on one machine must not share segments
        try:
            environment = self._install.assemble(self._folder)
        except BaseException:
            triton_guard.clean_up(str(self._folder), self._shm_prefix)
            raise
        self._guard = subprocess.Popen(
            [
                *(sys.executable, "-I", "-S", triton_guard.__file__),
                *(str(self._folder), self._shm_prefix, str(self._stop_seconds + 5)),
                *self._command(),
            ],
            env=environment,
            cwd=self._folder,  # first on the stubs' import path: nothing in the caller's may shadow a module
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C in the terminal is the gateway's to handle: it drains first
        )
        assert self._guard.stdout is not None
        self._output = ServerLog(self._guard.stdout)

    def _command(self) -> list[str]:
        options = {
            "model-repository": self._repository,
            "model-control-mode": "explicit",
            "load-model": PIPELINE,
            "model-config-name": "cpu",
            "backend-directory": self._folder / "backends",
            "grpc-address": self._host,
            "grpc-port": self._port(0),
            "http-address": self._host,
            "http-port": self._port(1),
            "metrics-address": self._host,
            "metrics-port": self._port(2),
            "allow-gpu-metrics": "false",
            "pinned-memory-pool-byte-size": 0,
            "exit-timeout-secs": round(self._stop_seconds),
        }
        return [
            str(self._install.server),
            *(f"--{name}={value}" for name, value in options.items()),
            "--disable-auto-complete-config",  # our configs are complete, and asking each model takes time
            f"--backend-config=python,shm-region-prefix-name={self._shm_prefix}",
            *([f"--load-model={_CANARY}"] if (self._repository / _CANARY).exists() else []),
            *self._options,
        ]

    def _await_ready(self) -> None:
        assert self._guard is not None
        deadline = time.monotonic() + self._start_seconds
        while not self._answers_ready():
            if self._guard.poll() is not None:
                raise self._not_ready(f"ended with status {self._guard.returncode} before it was ready")
            if time.monotonic() > deadline:
                raise self._not_ready(f"was not ready within {self._start_seconds:g} s")
            if self._stopping.wait(0.05):
                raise self._not_ready("was stopped before it was ready")

    def _not_ready(self, what: str) -> InferenceUnavailable:
        return InferenceUnavailable(f"The embedded tritonserver {what}. The end of its log:\n{self._output.tail(1)}")

    def _answers_ready(self) -> bool:
        connection = http.client.HTTPConnection(self._host, self._port(1), timeout=2)
        try:
            connection.request("GET", f"/v2/models/{PIPELINE}/ready")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def _supervise(self) -> None:
        """Restart the server whenever it dies, until it is stopped or dies too often."""
        in_a_row = 0
        while True:
            ready_at = time.monotonic()
            if self._state is State.READY and self._wait_for_death():
                break
            if time.monotonic() - ready_at > self._stable_seconds:
                in_a_row = 0
            if in_a_row == self._max_restarts:
                self._state = State.FAILED
                _log.critical("tritonserver given up", restarts=self._restarts)
                break
            self._state = State.RESTARTING
            delay = min(self._backoff_seconds * 2**in_a_row, 30.0)
            in_a_row += 1
            _log.warning("tritonserver restarts", in_a_row=in_a_row, after_seconds=delay)
            if self._stopping.wait(delay):
                break
            self._restarts += 1
            try:
                self._launch()
                self._await_ready()
            except (InferenceUnavailable, OSError) as error:
                self._end_process()
                _log.error("tritonserver did not restart", error=type(error).__name__)
            else:
                self._state = State.READY
        self._end_process()

    def _wait_for_death(self) -> bool:
        """Wait until the server dies (False) or is to be stopped (True)."""
        assert self._guard is not None
        while not self._stopping.wait(0.1):
            if self._guard.poll() is not None:
                self._end_process()
                return False
        return True

    def _end_process(self) -> None:
        guard = self._guard
        if guard is None:
            return
        assert guard.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it may be dead already
            guard.stdin.write(b"stop\n")
            guard.stdin.close()
        guard.wait()
        triton_guard.clean_up(str(self._folder), self._shm_prefix)  # as the guard did, unless it was killed
        self._guard = None


def _free_ports() -> tuple[int, int, int]:
    free: list[int] = []
    for port in random.sample(_PORTS, len(_PORTS)):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind((_HOST, port))
            free.append(port)
        if len(free) == 3:
            return free[0], free[1], free[2]
    raise InferenceUnavailable(f"No three free ports between {_PORTS.start} and {_PORTS.stop}.")
