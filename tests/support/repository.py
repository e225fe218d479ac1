"""Model repositories whose numbers do not move on with the committed one."""

from __future__ import annotations

import shutil
from pathlib import Path

from export.configs import write_configs
from export.models import MEMBERS, PIPELINE
from export.repository import RELEASE, Repository, release_text
from export.service import Service

__all__ = ["first_release"]


def first_release(folder: Path) -> Repository:
    """A new repository of one release, 1: the networks that the committed repository has in service.

    Args:
        folder: It is made.
    """
    repository = Repository.new(folder)
    service = repository.service
    for name, number in {PIPELINE: service.release, **service.members}.items():
        kept = (folder / name / str(number)).rename(folder / name / ".kept")
        for version in (folder / name).glob("[0-9]*"):
            shutil.rmtree(version)
        kept.rename(folder / name / "1")
    (folder / PIPELINE / "1" / RELEASE).write_bytes(release_text(dict.fromkeys(MEMBERS, 1), {}))
    write_configs(folder, Service.first())
    return repository
