"""Puts releases into service and takes them out, without a request failing.

The repository's config files say which versions are loaded and which release answers; the servers are told to load
them again (Triton's model repository extension, explicit mode). First the members of the new release are loaded and
warmed up beside those in service; then the ensemble changes over, at once and for all its members together. A request
that began before ends with the versions it began with. The release before stays loaded: going back takes no loading.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any

from tritonclient.grpc import InferenceServerClient
from tritonclient.utils import InferenceServerException

from export.configs import Service, write_configs
from export.errors import ReleaseProblem
from export.models import MEMBERS, PIPELINE
from export.repository import Release, Repository

__all__ = ["Lifecycle", "ReleaseState"]

_PROBE_SECONDS = 10.0
_LOAD_SECONDS = 900.0
"""Loading includes warm-up and, for TensorRT, capturing CUDA graphs."""


@dataclass(frozen=True)
class ReleaseState:
    """A release and where it stands.

    Attributes:
        release: Which.
        in_service: Whether the repository's config files put it in service.
        answering: The servers on which it answers.
        loaded: The servers on which all its members are loaded.
    """

    release: Release
    in_service: bool
    answering: tuple[str, ...]
    loaded: tuple[str, ...]


class Lifecycle:
    """Changes the release that a repository's servers answer with.

    Args:
        repository: On the disk that the servers read.
        urls: host:port of each server's gRPC service; none changes the files alone, for servers that start later.
    """

    def __init__(self, repository: Repository, urls: Sequence[str]) -> None:
        self._repository = repository
        self._urls = urls

    def states(self) -> list[ReleaseState]:
        """Every release, oldest first.

        Raises:
            ReleaseProblem: A server cannot be asked.
        """
        with self._servers() as servers:
            ready = {url: _ready(url, server) for url, server in servers.items()}
        in_service = self._repository.service.release
        return [
            ReleaseState(
                release,
                release.number == in_service,
                tuple(url for url, models in ready.items() if (PIPELINE, release.number) in models),
                tuple(url for url, models in ready.items() if release.members.items() <= models),
            )
            for release in self._repository.releases()
        ]

    def promote(self, number: int) -> Service:
        """Let a release answer on every server.

        Raises:
            ReleaseProblem: There is no such release, or a server cannot load it; the one before answers as it did.
        """
        release = next((one for one in self._repository.releases() if one.number == number), None)
        if release is None:
            known = ", ".join(str(one.number) for one in self._repository.releases()) or "none"
            raise ReleaseProblem(f"There is no release {number} in {self._repository.root}; there are: {known}.")
        with self._alone(), self._servers() as servers:
            return self._change(self._repository.service, release, servers)

    def rollback(self) -> Service:
        """Let the release before answer again.

        Raises:
            ReleaseProblem: There is none, or a server cannot load it.
        """
        previous = self._repository.service.previous
        if previous is None:
            raise ReleaseProblem("No release was in service before this one.")
        return self.promote(previous)

    def _change(self, before: Service, release: Release, servers: Mapping[str, InferenceServerClient]) -> Service:
        loaded = {name: tuple(sorted({before.members[name], release.members[name]})) for name in MEMBERS}
        both = replace(before, loaded=loaded)
        previous = before.previous if release.number == before.release else before.release
        after = Service(release.number, release.members, loaded, previous)
        ready = {url: _ready(url, server) for url, server in servers.items()}  # all must answer before any is changed
        try:
            changed = write_configs(self._repository.root, both)
            for url, server in servers.items():
                for name in MEMBERS:
                    wanted = {(name, version) for version in loaded[name]}
                    if not wanted <= ready[url] or f"{name}/config.pbtxt" in changed:
                        _load(url, server, name)
            write_configs(self._repository.root, after)
            for url, server in servers.items():
                _load(url, server, PIPELINE)
        except BaseException:
            write_configs(self._repository.root, before)
            _restore(servers)
            raise
        return after

    @contextmanager
    def _servers(self) -> Iterator[dict[str, InferenceServerClient]]:
        with ExitStack() as stack:
            yield {url: stack.enter_context(InferenceServerClient(url)) for url in self._urls}

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Two changes of one repository at once would leave a mixture of both."""
        folder = os.open(self._repository.root / PIPELINE, os.O_RDONLY)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(folder)
            raise ReleaseProblem("Someone else is changing the release of this repository.", "Try later.") from error
        try:
            yield
        finally:
            os.close(folder)


def _ready(url: str, server: InferenceServerClient) -> set[tuple[str, int]]:
    """Models and versions that a server has loaded."""
    try:
        index: Any = server.get_model_repository_index(client_timeout=_PROBE_SECONDS)
    except InferenceServerException as error:
        raise ReleaseProblem(f"tritonserver at {url} does not answer: {error.message()}.") from error
    return {(model.name, int(model.version)) for model in index.models if model.state == "READY"}


def _load(url: str, server: InferenceServerClient, model: str) -> None:
    try:
        server.load_model(model, client_timeout=_LOAD_SECONDS)
    except InferenceServerException as error:
        advice = "Run tritonserver with --model-control-mode=explicit; its log says more."
        raise ReleaseProblem(f"tritonserver at {url} does not load {model}: {error.message()}.", advice) from error


def _restore(servers: Mapping[str, InferenceServerClient]) -> None:
    """Let each server take the files as they were; what it cannot load it goes on serving."""
    for server in servers.values():
        for model in (PIPELINE, *MEMBERS):
            try:
                server.load_model(model, client_timeout=_LOAD_SECONDS)
            except InferenceServerException:
                continue
