"""The Dockerfiles, the locked packages in them, and the compose file."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from gateway.settings import Settings
from tests.support.manifests import build, of_kind

ROOT = Path(__file__).parents[2]
IMAGES = ROOT / "k8s" / "images"
DOCKERFILES = sorted(IMAGES.glob("*Dockerfile"))
EXTRAS = {"gateway": ("gateway", "dicom-node", "s3", "traces"), "triton": ("serve",)}


def _locked(name: str) -> dict[str, Version]:
    lines = (IMAGES / f"{name}.txt").read_text().splitlines()
    pins = [line.split(" \\")[0].split(" ;")[0] for line in lines if "==" in line]
    return {canonicalize_name(pin.split("==")[0]): Version(pin.split("==")[1]) for pin in pins}


def _required(extras: tuple[str, ...]) -> list[Requirement]:
    """What the extras, and those they name, ask for on the image's platform."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    found, todo = [Requirement(one) for one in project["dependencies"]], list(extras)
    for extra in todo:
        for one in map(Requirement, project["optional-dependencies"][extra]):
            if one.name == project["name"]:
                todo += one.extras
            else:
                found.append(one)
    image = {"python_version": "3.11", "platform_machine": "x86_64", "sys_platform": "linux", "extra": ""}
    return [one for one in found if one.marker is None or one.marker.evaluate(image)]


@pytest.mark.parametrize("name", EXTRAS)
def test_the_lock_holds_what_the_project_asks_for(name: str) -> None:
    locked = _locked(name)
    for requirement in _required(EXTRAS[name]):
        version = locked.get(canonicalize_name(requirement.name))
        assert version is not None, f"{requirement} is not in k8s/images/{name}.txt: make images-lock"
        assert requirement.specifier.contains(version), f"{requirement}, but {version} is locked"


@pytest.mark.parametrize("name", EXTRAS)
def test_every_package_is_locked_with_hashes(name: str) -> None:
    text = (IMAGES / f"{name}.txt").read_text()
    for block in re.split(r"(?m)^(?=[a-z0-9])", text)[1:]:
        assert re.match(r"[a-z0-9._-]+(\[[a-z,]+\])?==[^ ]+ ", block), block
        assert "--hash=sha256:" in block
    assert "://" not in text


def test_the_gateways_image_has_no_tritonserver() -> None:
    assert not {"nvidia-pytriton", "openvino", "onnxruntime"} & _locked("gateway").keys()


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: str(path.name))
def test_dockerfiles(path: Path) -> None:
    text = path.read_text()
    defaults = dict(re.findall(r"^ARG (\w+)=(\S+)", text, re.MULTILINE))
    stages = re.findall(r"^FROM (\S+)(?: AS (\S+))?", text, re.MULTILINE)
    known = {"scratch"}
    for base, name in stages:
        image = re.sub(r"\$\{(\w+)\}", lambda found: defaults[found[1]], base)
        if image not in known:
            assert re.fullmatch(r"[a-z-]+:[a-z0-9.-]+", image), f"{image}: a name without a registry, and a tag"
            assert not image.endswith(":latest")
        known.add(name)
    assert "ADD " not in text
    if "RUN" in text:
        assert text.rindex("\nUSER 10001:10001\n") > text.rindex("\nRUN ") or "RUN install -d" in text
        for part in re.split(r"(?m)^(?=FROM )", text):
            if "ENTRYPOINT" in part:
                assert re.search(r"^USER 10001:10001$", part, re.MULTILINE)


def test_only_what_the_images_need_is_sent_to_the_builder() -> None:
    lines = (ROOT / ".dockerignore").read_text().split()
    assert lines[0] == "*"
    copied = set(re.findall(r"^COPY (?!--from)(.+) \S+$", (IMAGES / "Dockerfile").read_text(), re.MULTILINE))
    wanted = {word for line in copied for word in line.split()}
    allowed = {line.removeprefix("!") for line in lines if line.startswith("!")}
    assert {word if not word.startswith("k8s/images") else "k8s/images" for word in wanted} == allowed


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
    return content


def test_compose_is_as_strict_as_the_manifests(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        assert int(service["user"].partition(":")[0]) > 0, name
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert {"mem_limit", "cpus", "healthcheck", "stop_grace_period"} <= service.keys(), name
        assert not service["image"].endswith(":latest"), name
        assert "privileged" not in service, name
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", [])), name
        assert all(network in compose["networks"] for network in service["networks"]), name
    for hidden in ("triton", "postgres"):
        assert compose["services"][hidden]["networks"] == ["inside"]
        assert "ports" not in compose["services"][hidden]
    assert compose["networks"]["inside"] == {"internal": True}


def test_compose_runs_what_the_manifests_run(compose: dict[str, Any]) -> None:
    manifests = build("overlays/cpu")
    for workload in of_kind(manifests, "Deployment", "StatefulSet"):
        (container,) = workload["spec"]["template"]["spec"]["containers"]
        service = compose["services"][container["name"]]
        assert service["image"] == container["image"]
        assert service.get("command", [])[:2] == container.get("args", [])[:2]
        if container["name"] != "postgres":
            memory = container["resources"]["limits"]["memory"]
            assert service["mem_limit"] == memory.lower().removesuffix("i")
            assert str(service["cpus"]) == container["resources"]["limits"]["cpu"]


def test_composes_settings_are_accepted(compose: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    known = {f"DISCGRADE_{name.upper()}" for name in Settings.model_fields}
    for service in compose["services"].values():
        settings = {key: value for key, value in service["environment"].items() if key.startswith("DISCGRADE_")}
        assert settings.keys() <= known
        for key, value in settings.items():
            monkeypatch.setenv(key, str(value))
        Settings()
