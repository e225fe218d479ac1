"""A gateway, workers and a tritonserver, each started again as soon as it is killed, as an init system would."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

import httpx
import psutil

from gateway.embedded import EmbeddedTriton, State
from tests.support.processes import Command, free_port

__all__ = ["House"]

_HEALTHY_SECONDS = 600.0
_POLL_SECONDS = 0.02


class House:
    """The processes; a context manager.

    Args:
        data_dir: Theirs.
        environment: Settings of theirs, such as the database.
        workers: How many.
        models: The model repository; by default the installed one.
    """

    def __init__(
        self, data_dir: Path, environment: Mapping[str, str], *, workers: int = 2, models: Path | None = None
    ) -> None:
        # More restarts than any run has kills: giving up is what a tritonserver that dies of itself deserves.
        self._triton = EmbeddedTriton(models, max_restarts=10_000, backoff_seconds=0.1, stable_seconds=0.0)
        self._data_dir = data_dir
        self._environment = environment
        self._workers = [f"worker-{number + 1}" for number in range(workers)]
        self._grpc_port = free_port()
        self._ports: dict[str, int] = {}
        self._commands: dict[str, Command] = {}

    @property
    def names(self) -> list[str]:
        """What can be killed."""
        return [*self._commands, "tritonserver"]

    @property
    def url(self) -> str:
        """The gateway; it stays the same."""
        return self.url_of("gateway")

    @property
    def grpc(self) -> str:
        """host:port of the gateway's gRPC service."""
        return f"127.0.0.1:{self._grpc_port}"

    @property
    def triton_url(self) -> str:
        """host:port of the tritonserver's gRPC service."""
        return self._triton.url

    @property
    def pages(self) -> list[str]:
        """The gateway and the workers: each has its metrics and its view of the models."""
        return [self.url_of(name) for name in self._commands]

    def __enter__(self) -> House:
        self._triton.start()
        try:
            for name in ("gateway", *self._workers):
                self._ports[name] = free_port()
                self._start(name)
            for name in self._commands:
                self._await(name)
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def kill(self, name: str) -> float:
        """Kill one with SIGKILL.

        Returns:
            Seconds until it was started again and healthy: until it answers, whether or not the others do.
        """
        started = time.monotonic()
        if name == "tritonserver":
            self._kill_triton()
        else:
            command = self._commands[name]
            assert command.process.poll() is None, f"{name} ended by itself: {''.join(command.log[-20:])}"
            command.kill()
            self._start(name)
            self._await(name)
        return time.monotonic() - started

    def _kill_triton(self) -> None:
        restarts = self._triton.restarts
        port = self._triton.url.rsplit(":", 1)[1]  # a test session may have a server of its own beside this one
        (server,) = [
            child
            for child in psutil.Process().children(recursive=True)
            if child.name() == "tritonserver" and any(port in argument for argument in child.cmdline())
        ]
        server.kill()
        deadline = time.monotonic() + _HEALTHY_SECONDS
        while self._triton.restarts == restarts or self._triton.state is not State.READY:
            assert time.monotonic() < deadline, "tritonserver did not come back"
            time.sleep(_POLL_SECONDS)

    def _start(self, name: str) -> None:
        gateway = ["serve", "--no-worker", "--grpc-port", str(self._grpc_port)]
        self._commands[name] = Command(
            *(gateway if name == "gateway" else ["worker"]),
            *("--port", str(self._ports[name])),
            *("--triton-url", self._triton.url),
            *("--data-dir", str(self._data_dir)),
            environment=self._environment,
        )

    def _await(self, name: str) -> None:
        deadline = time.monotonic() + _HEALTHY_SECONDS
        while True:
            try:
                if httpx.get(f"{self.url_of(name)}/livez", timeout=5).status_code == 200:
                    return
            except httpx.TransportError:
                pass
            log = "".join(self._commands[name].log[-20:])
            assert time.monotonic() < deadline, f"{name} does not answer: {log}"
            assert self._commands[name].process.poll() is None, f"{name} ended by itself: {log}"
            time.sleep(_POLL_SECONDS)

    def url_of(self, name: str) -> str:
        """The gateway or a worker."""
        return f"http://127.0.0.1:{self._ports[name]}"

    def _end(self) -> None:
        for command in self._commands.values():
            command.kill()
        self._triton.stop()
