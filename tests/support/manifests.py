"""The manifests in k8s/ as kustomize builds them."""

from __future__ import annotations

import functools
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

K8S = Path(__file__).parents[2] / "k8s"
OVERLAYS = ("overlays/cpu", "overlays/gpu", "overlays/dev")
CANARIES = ("overlays/cpu/canary", "overlays/gpu/canary")
JOBS = ("jobs/engines", "jobs/promote")
KUSTOMIZATIONS = (*OVERLAYS, *CANARIES, *JOBS)

Manifest = dict[str, Any]


@functools.cache
def kubectl() -> str:
    """A kubectl whose kustomize knows what we use (5, of kubectl 1.27); `make .venv/bin/kubectl` brings one."""
    for place in (Path(sys.executable).with_name("kubectl"), shutil.which("kubectl")):
        if place is None or not Path(place).is_file():
            continue
        shown = subprocess.run([str(place), "version", "--client"], capture_output=True, text=True).stdout
        if (found := re.search(r"Kustomize Version: v(\d+)\.", shown)) and int(found[1]) >= 5:
            return str(place)
    pytest.skip("there is no kubectl with kustomize 5 here: make .venv/bin/kubectl")


@functools.cache
def _built(kustomization: str) -> str:
    built = subprocess.run([kubectl(), "kustomize", str(K8S / kustomization)], capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    assert not built.stderr, built.stderr  # deprecated fields are warned of
    return built.stdout


def build(kustomization: str) -> list[Manifest]:
    """Every object of a kustomization, by its folder in k8s/."""
    return [document for document in yaml.safe_load_all(_built(kustomization)) if document]


def of_kind(manifests: list[Manifest], *kinds: str) -> list[Manifest]:
    return [manifest for manifest in manifests if manifest["kind"] in kinds]


def templates(manifests: list[Manifest]) -> Iterator[tuple[Manifest, Manifest]]:
    """Workloads, each with its Pod template."""
    for manifest in of_kind(manifests, "Deployment", "StatefulSet", "Job"):
        yield manifest, manifest["spec"]["template"]


def containers(pod: Manifest) -> list[Manifest]:
    return [*pod["spec"].get("initContainers", []), *pod["spec"]["containers"]]


def selects(selector: Manifest | None, labels: dict[str, str]) -> bool:
    """Whether a label selector selects something with these labels; the empty one selects everything."""
    assert selector is not None
    for key, value in selector.get("matchLabels", {}).items():
        if labels.get(key) != value:
            return False
    for expression in selector.get("matchExpressions", []):
        assert expression["operator"] == "In"
        if labels.get(expression["key"]) not in expression["values"]:
            return False
    return True
