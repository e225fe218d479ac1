"""What a repository serves, as its config files say it: the release, a canary beside it, and what is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from export.models import CANARY, MEMBERS, PIPELINE

__all__ = ["PREVIOUS", "SHARE", "Canary", "Service", "read_service"]

PREVIOUS = "previous_release"
SHARE = "share"
"""Parameters of the ensembles' configs."""


@dataclass(frozen=True)
class Canary:
    """A release that grades a share of the studies.

    Attributes:
        release: Which.
        members: Version of each member that it is made of.
        share: Of the studies, above 0 and below 1.
    """

    release: int
    members: Mapping[str, int]
    share: float


@dataclass(frozen=True)
class Service:
    """What a repository serves.

    Attributes:
        release: Version of the ensemble.
        members: Version of each member that the release is made of.
        loaded: Versions of each member that Triton keeps loaded: those of the release, and of the one before or of the
            canary.
        previous: The release before, to roll back to.
        canary: The release that grades a share of the studies; None where none does.
    """

    release: int
    members: Mapping[str, int]
    loaded: Mapping[str, tuple[int, ...]]
    previous: int | None = None
    canary: Canary | None = None

    @classmethod
    def first(cls) -> Service:
        """Version 1 of everything."""
        return cls(1, dict.fromkeys(MEMBERS, 1), dict.fromkeys(MEMBERS, (1,)))


def read_service(repository: Path) -> Service:
    """What a repository's config files say is in service.

    Raises:
        FileNotFoundError: It has no ensemble.
        ValueError: A config was not written by :func:`export.configs.write_configs`: an ensemble does not name its
            members' versions.
    """
    ensemble, release, members = _read_ensemble(repository, PIPELINE)
    loaded = {
        name: tuple(sorted(_parsed(repository / name / "config.pbtxt").version_policy.specific.versions))
        for name in members
    }
    previous = ensemble.parameters[PREVIOUS].string_value if PREVIOUS in ensemble.parameters else ""
    canary = None
    if (repository / CANARY).exists():
        config, number, canary_members = _read_ensemble(repository, CANARY)
        canary = Canary(number, canary_members, float(config.parameters[SHARE].string_value))
    return Service(release, members, loaded, int(previous) if previous else None, canary)


def _read_ensemble(repository: Path, name: str) -> tuple[Any, int, dict[str, int]]:
    """Its config, its release and the versions of its members."""
    config = _parsed(repository / name / "config.pbtxt")
    releases = list(config.version_policy.specific.versions)
    members = {step.model_name: int(step.model_version) for step in config.ensemble_scheduling.step}
    if len(releases) != 1 or min(members.values(), default=-1) < 1:
        raise ValueError(f"{name}/config.pbtxt does not name one release and its members' versions")
    return config, int(releases[0]), members


def _parsed(path: Path) -> Any:
    return text_format.Parse(path.read_text(), model_config_pb2.ModelConfig())
