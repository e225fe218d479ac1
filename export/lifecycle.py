"""Puts releases into service and takes them out, without a request failing.

The repository's config files say which versions are loaded and which release answers; the servers are told to load
them again (Triton's model repository extension, explicit mode). First the members of the new release are loaded and
warmed up beside those in service; then the ensemble changes over, at once and for all its members together. A request
that began before ends with the versions it began with. The release before stays loaded: going back takes no loading.

A canary is a second ensemble over the members of another release. Gateways read its share of the studies from its
config, and ask it for them (:mod:`gateway.canary`).
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any

from tritonclient.grpc import InferenceServerClient
from tritonclient.utils import InferenceServerException

from export.configs import write_configs
from export.errors import ReleaseProblem
from export.models import CANARY, MEMBERS, PIPELINE
from export.repository import Release, Repository
from export.service import Canary, Service

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
        share: Of the studies, that it grades as the canary; 0 where it is none.
        answering: The servers on which it answers.
        loaded: The servers on which all its members are loaded.
    """

    release: Release
    in_service: bool
    share: float
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
        service = self._repository.service
        shares = {service.canary.release: service.canary.share} if service.canary else {}
        return [
            ReleaseState(
                release,
                release.number == service.release,
                shares.get(release.number, 0.0),
                tuple(
                    url
                    for url, models in ready.items()
                    if models & {(PIPELINE, release.number), (CANARY, release.number)}
                ),
                tuple(url for url, models in ready.items() if release.members.items() <= models),
            )
            for release in self._repository.releases()
        ]

    def promote(self, number: int) -> Service:
        """Let a release answer on every server; a canary ends.

        Raises:
            ReleaseProblem: There is no such release, or a server cannot load it; the one before answers as it did.
        """
        release = self._release(number)
        with self._alone(), self._servers() as servers:
            before = self._repository.service
            loaded = _together(before.members, release.members)
            previous = before.previous if number == before.release else before.release
            return self._change(before, Service(number, release.members, loaded, previous), servers)

    def canary(self, number: int, share: float) -> Service:
        """Let a release grade a share of the studies on every server; another canary ends.

        Args:
            number: Its number.
            share: Above 0 and below 1.

        Raises:
            ReleaseProblem: There is no such release, it answers everything already, or a server cannot load it; what
                answered before does as it did.
        """
        release = self._release(number)
        with self._alone(), self._servers() as servers:
            before = self._repository.service
            if number == before.release:
                raise ReleaseProblem(f"Release {number} answers already, all of the studies.")
            loaded = _together(before.members, release.members)
            canary = Canary(number, release.members, share)
            return self._change(before, replace(before, loaded=loaded, canary=canary), servers)

    def rollback(self) -> Service:
        """Undo the last change: end the canary, or where there is none let the release before answer again.

        Raises:
            ReleaseProblem: There is none, or a server cannot load it.
        """
        before = self._repository.service
        if before.canary is None:
            if before.previous is None:
                raise ReleaseProblem("No release was in service before this one.")
            return self.promote(before.previous)
        kept = [before.members] if before.previous is None else [before.members, self._release(before.previous).members]
        with self._alone(), self._servers() as servers:
            ended = self._change(before, replace(before, canary=None), servers)  # whatever becomes of the rest
            return self._change(ended, replace(ended, loaded=_together(*kept)), servers)

    def _release(self, number: int) -> Release:
        releases = self._repository.releases()
        for release in releases:
            if release.number == number:
                return release
        known = ", ".join(str(one.number) for one in releases) or "none"
        raise ReleaseProblem(f"There is no release {number} in {self._repository.root}; there are: {known}.")

    def _change(self, before: Service, after: Service, servers: Mapping[str, InferenceServerClient]) -> Service:
        ready = {url: _ready(url, server) for url, server in servers.items()}  # all must answer before any is changed
        # A canary that is promoted, or goes on, keeps its members, so it may answer until the end; another ends first.
        goes_on = before.canary is not None and before.canary.release in _releases(after)
        both = replace(before, loaded=after.loaded, canary=before.canary if goes_on else None)
        try:
            changed = write_configs(self._repository.root, both)
            for url, server in servers.items():
                if not goes_on:
                    _end_canary(url, server, ready[url])
                for name in MEMBERS:
                    wanted = {(name, version) for version in after.loaded[name]}
                    if not wanted <= ready[url] or f"{name}/config.pbtxt" in changed:
                        _load(url, server, name)
            changed = write_configs(self._repository.root, after)
            for url, server in servers.items():
                if f"{PIPELINE}/config.pbtxt" in changed or (PIPELINE, after.release) not in ready[url]:
                    _load(url, server, PIPELINE)
                if after.canary is not None:
                    _load(url, server, CANARY)
                elif goes_on:
                    _end_canary(url, server, ready[url])
        except BaseException:
            write_configs(self._repository.root, before)
            _restore(servers, before)
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


def _end_canary(url: str, server: InferenceServerClient, ready: set[tuple[str, int]]) -> None:
    """Take the canary out of service, where there is one; requests that it has are answered."""
    if CANARY not in dict(ready):
        return
    try:
        server.unload_model(CANARY, client_timeout=_LOAD_SECONDS)
    except InferenceServerException as error:
        raise ReleaseProblem(f"tritonserver at {url} does not unload {CANARY}: {error.message()}.") from error


def _restore(servers: Mapping[str, InferenceServerClient], service: Service) -> None:
    """Let each server take the files as they were; what it cannot load it goes on serving."""
    for server in servers.values():
        with suppress(InferenceServerException):
            if service.canary is None:
                server.unload_model(CANARY, client_timeout=_LOAD_SECONDS)
        for model in (PIPELINE, *MEMBERS, *([CANARY] if service.canary else [])):
            with suppress(InferenceServerException):
                server.load_model(model, client_timeout=_LOAD_SECONDS)


def _together(*releases: Mapping[str, int]) -> dict[str, tuple[int, ...]]:
    """The versions of each member that some releases are made of."""
    return {name: tuple(sorted({members[name] for members in releases})) for name in MEMBERS}


def _releases(service: Service) -> set[int]:
    """Those that answer."""
    return {service.release, *([service.canary.release] if service.canary else [])}
