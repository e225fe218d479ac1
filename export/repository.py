"""Adds releases to a model repository: whole or not at all, and never over one that is there.

A release is a version of the ensemble: an (almost) empty folder with a ``release.json`` that names the versions of its
members. It appears last, so whoever sees it sees all of it; it is served only when it is promoted.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import model_repository
from export.configs import write_configs
from export.errors import ReleaseExists, RepositoryProblem
from export.models import MEMBERS, NETWORKS, PIPELINE
from export.service import Service, read_service

__all__ = ["MANIFEST", "MODEL_PY", "QUANTISED", "RELEASE", "Release", "Repository", "release_text"]

RELEASE = "release.json"
MANIFEST = "manifest.json"
QUANTISED = "quantised.onnx"
"""The network with the INT8 scales it was calibrated to; what INT8 engines are built from."""
MODEL_PY = '''"""Computes model.onnx beside this file with a CPU engine (configs/cpu.pbtxt)."""

from engines.triton_model import TritonPythonModel

__all__ = ["TritonPythonModel"]
'''


@dataclass(frozen=True)
class Release:
    """One release.

    Attributes:
        number: Version of the ensemble.
        members: Version of each member.
        about: The rest of its ``release.json``: when and from what it was made.
    """

    number: int
    members: Mapping[str, int]
    about: Mapping[str, Any]


class Repository:
    """A model repository on disk.

    Args:
        root: What tritonserver gets as ``--model-repository``.

    Raises:
        RepositoryProblem: It was not written by discgrade.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        try:
            read_service(root)
        except (OSError, ValueError) as error:
            raise RepositoryProblem(f"{root} is no model repository of discgrade: {error}") from error

    @classmethod
    def new(cls, root: Path) -> Repository:
        """Copy the installed repository, to add releases to.

        Raises:
            RepositoryProblem: The folder exists.
        """
        if root.exists():
            raise RepositoryProblem(f"{root} exists.", "Name a new folder.")
        shutil.copytree(model_repository.path(), root, ignore=shutil.ignore_patterns("__init__.py", "__pycache__"))
        return cls(root)

    @property
    def service(self) -> Service:
        """What the config files put in service."""
        return read_service(self.root)

    def network(self, name: str) -> Path:
        """The ``model.onnx`` of a network that is in service."""
        return self.root / name / str(self.service.members[name]) / "model.onnx"

    def releases(self) -> list[Release]:
        """Every release, oldest first.

        Raises:
            RepositoryProblem: A ``release.json`` cannot be read.
        """
        found = []
        for path in (self.root / PIPELINE).glob(f"[0-9]*/{RELEASE}"):
            try:
                about = json.loads(path.read_text())
                found.append(Release(int(path.parent.name), about.pop("members"), about))
            except (ValueError, KeyError) as error:
                raise RepositoryProblem(f"{path} cannot be read: {error}") from error
        return sorted(found, key=lambda release: release.number)

    def next_number(self) -> int:
        """The version that the next release, and each network in it, gets: no model has it or a later one."""
        folders = (path.name for model in (PIPELINE, *MEMBERS) for path in (self.root / model).glob("[0-9]*"))
        return 1 + max((int(name) for name in folders if name.isdigit()), default=0)

    def add(self, number: int, files: Mapping[str, Mapping[str, bytes]], about: Mapping[str, Any]) -> Release:
        """Add a release of newly exported networks; the other members stay at the versions in service.

        Args:
            number: From :meth:`next_number`.
            files: For each network file name to contents.
            about: What ``release.json`` says beside the members.

        Raises:
            ReleaseExists: One of the version folders is there already; nothing was changed.
        """
        members = {name: number if name in files else self.service.members[name] for name in MEMBERS}
        text = release_text(members, about)
        whole = {**{name: files[name] for name in NETWORKS if name in files}, PIPELINE: {RELEASE: text}}
        staging = Path(tempfile.mkdtemp(prefix=".incoming-", dir=self.root / PIPELINE))
        moved: list[Path] = []
        try:
            for model, contents in whole.items():
                _write(staging / model, contents)
            for model in whole:  # the ensemble's folder comes last
                target = self.root / model / str(number)
                _move(staging / model, target)
                moved.append(target)
        except BaseException:
            for target in moved:
                shutil.rmtree(target)
            raise
        finally:
            shutil.rmtree(staging, ignore_errors=True)
        write_configs(self.root, self.service)
        return Release(number, members, about)


def release_text(members: Mapping[str, int], about: Mapping[str, Any]) -> bytes:
    """Contents of a ``release.json``."""
    return (json.dumps({"members": members, **about}, indent=2) + "\n").encode()


def _write(folder: Path, contents: Mapping[str, bytes]) -> None:
    folder.mkdir()
    folder.chmod(0o755)
    for name, content in contents.items():
        with (folder / name).open("xb") as handle:
            handle.write(content)
            handle.flush()
            os.fsync(handle.fileno())


def _move(source: Path, target: Path) -> None:
    if target.exists():
        raise ReleaseExists(f"{target.parent.name} has a version {target.name} already.")
    try:
        source.rename(target)
    except OSError as error:
        raise ReleaseExists(f"{target.parent.name} has a version {target.name} already.") from error
