"""Model repositories whose numbers do not move on with the committed one, and releases to add to them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from export.configs import write_configs
from export.models import MEMBERS, NETWORKS, PIPELINE
from export.repository import MANIFEST, MODEL_PY, RELEASE, Release, Repository, release_text
from export.service import Service

__all__ = ["first_release", "served_again"]


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


def served_again(repository: Repository, grader: str = MODEL_PY) -> Release:
    """Add a release of the networks that are in service already.

    Args:
        repository: Where.
        grader: Its grading network's ``model.py``.
    """
    number = repository.next_number()
    files = {
        name: {
            "model.onnx": repository.network(name).read_bytes(),
            "model.py": (grader if name == "disc_grading" else MODEL_PY).encode(),
            MANIFEST: json.dumps({"model": name, "version": number}).encode(),
        }
        for name in NETWORKS
    }
    return repository.add(number, files, {})
