"""What every workload in k8s/ must hold to, and that all it names is there."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway import standalone_triton
from gateway.settings import Settings
from tests.support.manifests import CANARIES, JOBS, K8S, KUSTOMIZATIONS, OVERLAYS, build, containers, of_kind, templates

DOCS = Path(__file__).parents[2] / "docs" / "kubernetes.md"
SERVED = (*OVERLAYS, *CANARIES)
EVERY = pytest.mark.parametrize("kustomization", KUSTOMIZATIONS)


@EVERY
def test_nothing_runs_with_rights(kustomization: str) -> None:
    for workload, pod in templates(build(kustomization)):
        spec, name = pod["spec"], workload["metadata"]["name"]
        assert spec["automountServiceAccountToken"] is False, name
        assert spec["enableServiceLinks"] is False, name
        context = spec["securityContext"]
        assert context["runAsNonRoot"] is True, name
        assert min(context["runAsUser"], context["runAsGroup"], context["fsGroup"]) > 0, name
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys(), name
        assert not any("hostPath" in volume for volume in spec.get("volumes", [])), name
        for container in containers(pod):
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }, name


@EVERY
def test_resources_are_bounded(kustomization: str) -> None:
    for _, pod in templates(build(kustomization)):
        for container in containers(pod):
            requests, limits = (container["resources"][key] for key in ("requests", "limits"))
            assert {"cpu", "memory", "ephemeral-storage"} <= requests.keys()
            assert {"cpu", "memory", "ephemeral-storage"} <= limits.keys()
            assert all(_amount(requests[name]) <= _amount(limits[name]) for name in requests)
        folders = [volume["emptyDir"] for volume in pod["spec"]["volumes"] if "emptyDir" in volume]
        assert all("sizeLimit" in folder for folder in folders)
        memory = sum(_amount(folder["sizeLimit"]) for folder in folders if folder.get("medium") == "Memory")
        assert memory < min(_amount(container["resources"]["limits"]["memory"]) for container in containers(pod))


@EVERY
def test_images_are_pinned(kustomization: str) -> None:
    images = [container["image"] for _, pod in templates(build(kustomization)) for container in containers(pod)]
    for _, pod in templates(build(kustomization)):
        images += [volume["image"]["reference"] for volume in pod["spec"]["volumes"] if "image" in volume]
    assert images
    for image in images:
        assert re.fullmatch(r"[a-z-]+:[a-z0-9.-]+", image), f"{image}: a name without a registry, and a tag"
        assert not image.endswith(":latest")


@pytest.mark.parametrize("kustomization", SERVED)
def test_probes(kustomization: str) -> None:
    for _, pod in templates(build(kustomization)):
        for container in containers(pod):
            ports = {port["name"] for port in container["ports"]}
            for kind in ("startupProbe", "readinessProbe", "livenessProbe"):
                probe = container[kind]
                assert "exec" in probe or probe["httpGet"]["port"] in ports
                assert probe["timeoutSeconds"] >= 1
            startup, liveness = container["startupProbe"], container["livenessProbe"]
            assert startup["periodSeconds"] * startup["failureThreshold"] >= 60
            assert liveness["periodSeconds"] * liveness.get("failureThreshold", 3) >= 30


def test_gateways_take_jobs_while_tritonserver_is_away() -> None:
    (gateway,) = (one for one in of_kind(build("overlays/cpu"), "StatefulSet") if _component(one) == "gateway")
    (container,) = containers(gateway["spec"]["template"])
    paths = {kind: container[kind]["httpGet"]["path"] for kind in ("startupProbe", "readinessProbe", "livenessProbe")}
    assert paths == {"startupProbe": "/readyz", "readinessProbe": "/livez", "livenessProbe": "/livez"}


@pytest.mark.parametrize("kustomization", ["overlays/cpu", "overlays/gpu"])
def test_what_is_in_flight_may_end(kustomization: str) -> None:
    manifests = build(kustomization)
    (settings,) = (
        one["data"]
        for one in of_kind(manifests, "ConfigMap")
        if one["metadata"]["name"].startswith("discgrade-settings")
    )
    drain, shutdown = (float(settings[f"DISCGRADE_{name}_SECONDS"]) for name in ("DRAIN", "SHUTDOWN"))
    assert shutdown > float(settings["DISCGRADE_INFERENCE_TIMEOUT_SECONDS"]) + drain
    for workload, pod in templates(manifests):
        grace = pod["spec"]["terminationGracePeriodSeconds"]
        if _component(workload) in {"gateway", "worker"}:
            assert grace >= shutdown + 20
        if _component(workload) == "triton":
            (container,) = containers(pod)
            (pause,) = (container["lifecycle"]["preStop"]["exec"]["command"][1:],)
            own = [entry["value"] for entry in container["env"] if entry["name"] == "DISCGRADE_SHUTDOWN_SECONDS"]
            given = [str(arg).partition("=")[2] for arg in container["args"] if "exit-timeout-secs" in str(arg)]
            assert all(grace >= float(pause[0]) + float(wait) + 10 for wait in (*own, *given))
            assert all(float(wait) >= shutdown for wait in (*own, *given))
            ages = [str(arg).partition("=")[2] for arg in container["args"] if "connection-age=" in str(arg)]
            longest = max([standalone_triton.CONNECTION_SECONDS, *(float(age) / 1000 for age in ages)])
            assert float(pause[0]) >= 1.1 * longest + 10  # gRPC's jitter, and the time that names are kept


@EVERY
def test_settings_are_those_of_the_suite(kustomization: str) -> None:
    known = {f"DISCGRADE_{name.upper()}" for name in Settings.model_fields}
    manifests = build(kustomization)
    given = {key for one in of_kind(manifests, "ConfigMap") for key in one["data"] if key.startswith("DISCGRADE_")}
    for _, pod in templates(manifests):
        for container in containers(pod):
            given |= {entry["name"] for entry in container.get("env", []) if entry["name"].startswith("DISCGRADE_")}
    assert given <= known


def test_the_settings_are_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    for kustomization in ("overlays/cpu", "overlays/gpu"):
        for one in of_kind(build(kustomization), "ConfigMap"):
            for key, value in one["data"].items():
                if key.startswith("DISCGRADE_"):
                    monkeypatch.setenv(key, value)
        assert Settings().triton_url == "discgrade-triton:8001"


def test_the_nodes_settings_are_accepted(tmp_path: Path) -> None:
    from gateway.dicom_node.settings import load_settings

    (configured,) = (
        one["data"]["node.toml"] for one in of_kind(build("overlays/gpu"), "ConfigMap") if "node.toml" in one["data"]
    )
    (tmp_path / "node.toml").write_text(configured)
    settings = load_settings(tmp_path / "node.toml")
    (node,) = (pod for workload, pod in templates(build("overlays/gpu")) if _component(workload) == "dicom-node")
    (container,) = containers(node)
    assert {port["containerPort"] for port in container["ports"]} == {settings.port, settings.metrics_port}
    mounted = {mount["mountPath"] for mount in container["volumeMounts"]}
    assert str(settings.data_dir) in mounted
    assert str(settings.api_key_file and settings.api_key_file.parent) in mounted
    assert node["spec"]["terminationGracePeriodSeconds"] > settings.stop_seconds + 10


@pytest.mark.parametrize("kustomization", OVERLAYS)
def test_all_that_is_named_is_there(kustomization: str) -> None:
    manifests = build(kustomization)
    names = {(one["kind"], one["metadata"]["name"]) for one in manifests}
    labels = [pod["metadata"]["labels"] for _, pod in templates(manifests)]
    for workload, pod in templates(manifests):
        spec = pod["spec"]
        if workload["kind"] == "StatefulSet":
            assert ("Service", workload["spec"]["serviceName"]) in names
        if "serviceAccountName" in spec:
            assert ("ServiceAccount", spec["serviceAccountName"]) in names
        kept = workload["spec"].get("volumeClaimTemplates", [])
        volumes = {one["name"] for one in spec["volumes"]} | {one["metadata"]["name"] for one in kept}
        for container in containers(pod):
            assert {mount["name"] for mount in container["volumeMounts"]} == volumes
            for source in container.get("envFrom", []):
                if "configMapRef" in source:
                    assert ("ConfigMap", source["configMapRef"]["name"]) in names
        for volume in spec["volumes"]:
            if "configMap" in volume:
                assert ("ConfigMap", volume["configMap"]["name"]) in names
            if "persistentVolumeClaim" in volume:
                assert ("PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"]) in names
    for service in of_kind(manifests, "Service"):
        behind = [
            pod
            for _, pod in templates(manifests)
            if service["spec"]["selector"].items() <= pod["metadata"]["labels"].items()
        ]
        assert len(behind) == 1, service["metadata"]["name"]
        ports = {port["name"] for container in containers(behind[0]) for port in container["ports"]}
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= ports
    for budget in of_kind(manifests, "PodDisruptionBudget"):
        wanted = budget["spec"]["selector"]["matchLabels"].items()
        assert any(wanted <= one.items() for one in labels)
    for monitor in of_kind(manifests, "ServiceMonitor"):
        wanted = monitor["spec"]["selector"]["matchLabels"].items()
        services = [one for one in of_kind(manifests, "Service") if wanted <= one["metadata"].get("labels", {}).items()]
        ports = {port["name"] for one in services for port in one["spec"]["ports"]}
        assert {endpoint["port"] for endpoint in monitor["spec"]["endpoints"]} <= ports
        covered = sum(
            endpoint["port"] in {port["name"] for port in one["spec"]["ports"]}
            for one in services
            for endpoint in monitor["spec"]["endpoints"]
        )
        assert covered == 1, f"{monitor['metadata']['name']}: each Pod is scraped once"
    for scaler in of_kind(manifests, "HorizontalPodAutoscaler", "ScaledObject"):
        target = scaler["spec"]["scaleTargetRef"]
        assert (target["kind"], target["name"]) in names
        (scaled,) = (one for one in of_kind(manifests, target["kind"]) if one["metadata"]["name"] == target["name"])
        assert "replicas" not in scaled["spec"], "applying it again would undo the autoscaler"


def test_what_is_scraped_has_the_names_that_the_rules_expect() -> None:
    manifests = build("overlays/gpu")  # the one with everything
    jobs = set()
    for monitor in of_kind(manifests, "ServiceMonitor"):
        wanted = monitor["spec"]["selector"]["matchLabels"].items()
        for service in of_kind(manifests, "Service"):
            ports = {port["name"] for port in service["spec"]["ports"]}
            if wanted <= service["metadata"]["labels"].items() and monitor["spec"]["endpoints"][0]["port"] in ports:
                jobs.add(service["metadata"]["name"])  # what the operator makes the label job of
    rules = "".join(path.read_text() for path in (K8S / "monitoring" / "rules").glob("*.yaml"))
    expected = set(re.findall(r'job=~"([^"]+)"', rules))
    assert expected
    for pattern in expected:
        assert any(re.fullmatch(pattern, job) for job in jobs), pattern
    for job in jobs:
        assert any(re.fullmatch(pattern, job) for pattern in expected), job


def test_every_dashboard_and_every_rule_is_deployed() -> None:
    manifests = build("overlays/gpu")
    (dashboards,) = (
        one["data"]
        for one in of_kind(manifests, "ConfigMap")
        if one["metadata"].get("labels", {}).get("grafana_dashboard") == "1"
    )
    assert dashboards == {path.name: path.read_text() for path in (K8S / "monitoring" / "dashboards").glob("*.json")}
    assert len(str(dashboards)) < 250_000  # `kubectl apply` keeps a copy in an annotation, of 256 KiB at most
    deployed = [group["name"] for one in of_kind(manifests, "PrometheusRule") for group in one["spec"]["groups"]]
    rules = (K8S / "monitoring" / "rules").glob("*.yaml")
    written = [group["name"] for path in rules for group in yaml.safe_load(path.read_text())["groups"]]
    assert sorted(deployed) == sorted([*written, "discgrade-autoscaling"])


@pytest.mark.parametrize("kustomization", ["overlays/cpu", "overlays/gpu"])
def test_replicas_are_spread_and_not_evicted_together(kustomization: str) -> None:
    manifests = build(kustomization)
    budgets = {
        one["spec"]["selector"]["matchLabels"]["app.kubernetes.io/component"]
        for one in of_kind(manifests, "PodDisruptionBudget")
    }
    assert budgets == {"gateway", "worker", "triton"}
    for workload, pod in templates(manifests):
        if _component(workload) in budgets:
            spread = pod["spec"]["topologySpreadConstraints"]
            assert {one["topologyKey"] for one in spread} == {"topology.kubernetes.io/zone", "kubernetes.io/hostname"}
            for one in spread:
                assert one["labelSelector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()


@EVERY
def test_no_secret_is_written_down(kustomization: str) -> None:
    assert not of_kind(build(kustomization), "Secret")


def test_every_secret_is_documented() -> None:
    used: dict[str, set[str]] = {}
    for kustomization in KUSTOMIZATIONS:
        for reference in _secrets(build(kustomization)):
            used.setdefault(reference[0], set()).add(reference[1])
    rows = dict(re.findall(r"^\| `(discgrade-[a-z-]+)` \| ([^|]+)\|", DOCS.read_text(), re.MULTILINE))
    assert rows.keys() == used.keys()
    for name, keys in used.items():
        assert all(f"`{key}`" in rows[name] for key in keys if key)


def test_a_canary_is_the_same_server_with_other_models() -> None:
    for overlay in ("cpu", "gpu"):
        (stable,) = (one for one in of_kind(build(f"overlays/{overlay}"), "Deployment"))
        (canary,) = of_kind(build(f"overlays/{overlay}/canary"), "Deployment")
        assert canary["metadata"]["name"] == "discgrade-triton-canary"
        tracks = [one["spec"]["selector"]["matchLabels"].pop("discgrade/track") for one in (stable, canary)]
        assert tracks == ["stable", "canary"]  # else each would take the other's Pods for its own
        for one, track in zip((stable, canary), tracks, strict=True):
            assert one["spec"]["template"]["metadata"]["labels"].pop("discgrade/track") == track
        differs = {
            key: (value, canary["spec"]["template"]["spec"][key])
            for key, value in stable["spec"]["template"]["spec"].items()
            if canary["spec"]["template"]["spec"][key] != value
        }
        assert differs.keys() == {"volumes"}
        assert stable["spec"]["template"]["metadata"] == canary["spec"]["template"]["metadata"]
        assert stable["spec"]["selector"] == canary["spec"]["selector"]


def test_the_bundled_networks_take_the_place_of_the_image_volume(tmp_path: Path) -> None:
    site = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [os.path.relpath(K8S / "base" / "triton", tmp_path.resolve())],
        "components": [os.path.relpath(K8S / "components" / "cpu-bundled", tmp_path.resolve())],
    }
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(site))
    ((_, pod),) = templates(build(str(tmp_path.resolve())))
    (container,) = containers(pod)
    assert {volume["name"] for volume in pod["spec"]["volumes"]} == {"shm", "tmp"}
    assert {mount["name"] for mount in container["volumeMounts"]} == {"shm", "tmp"}
    assert [entry["name"] for entry in container["env"]] == ["DISCGRADE_SHUTDOWN_SECONDS"]


def test_jobs_reach_what_they_need() -> None:
    claims = {one["metadata"]["name"] for one in of_kind(build("overlays/gpu"), "PersistentVolumeClaim")}
    for job in JOBS:
        for _, pod in templates(build(job)):
            used = {
                one["persistentVolumeClaim"]["claimName"] for one in pod["spec"]["volumes"] if "emptyDir" not in one
            }
            assert used <= claims


def test_nothing_lies_around_unused() -> None:
    """Every file is part of something that is built, or is documented as what an operator takes himself."""
    referenced = {K8S / "README.md", K8S / "components" / "hpa" / "prometheus-adapter.yaml"}
    for path in K8S.rglob("kustomization.yaml"):
        referenced.add(path)
        for name in re.findall(r"^\s*- (?:path: )?([\w./-]+\.(?:yaml|env|toml|json))$", path.read_text(), re.MULTILINE):
            assert (path.parent / name).is_file()
            referenced.add(path.parent / name)
    ours = {
        path
        for folder in ("base", "components", "overlays", "jobs")
        for path in (K8S / folder).rglob("*")
        if path.is_file()
    }
    patches = set(re.findall(r"path: ([\w.-]+\.yaml)", "".join(path.read_text() for path in referenced)))
    assert {path.name for path in ours - referenced} <= patches


def _component(workload: dict[str, Any]) -> str:
    return str(workload["metadata"]["labels"]["app.kubernetes.io/component"])


def _secrets(manifests: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """Name and key of every secret that is referred to; no key where all of it is taken."""
    found = []
    for _, pod in templates(manifests):
        found += [(one["secret"]["secretName"], "") for one in pod["spec"]["volumes"] if "secret" in one]
        for container in containers(pod):
            found += [(one["secretRef"]["name"], "") for one in container.get("envFrom", []) if "secretRef" in one]
            for entry in container.get("env", []):
                if reference := entry.get("valueFrom", {}).get("secretKeyRef"):
                    found.append((reference["name"], reference["key"]))
    for monitor in of_kind(manifests, "ServiceMonitor"):
        for endpoint in monitor["spec"]["endpoints"]:
            if "authorization" in endpoint:
                found.append(tuple(endpoint["authorization"]["credentials"][key] for key in ("name", "key")))
    return found


def _amount(quantity: str) -> float:
    units = {"m": 1e-3, "": 1.0, "Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30}
    number, unit = re.fullmatch(r"([\d.]+)(\w*)", quantity).groups()  # type: ignore[union-attr]
    return float(number) * units[unit]
