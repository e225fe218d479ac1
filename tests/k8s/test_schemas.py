"""Every manifest against Kubernetes' own schemas, and against those of the operators whose resources are used."""

from __future__ import annotations

from typing import Any

import jsonschema
import kubernetes_validate
import pytest
from cloudcoil.models.keda.v1alpha1 import ScaledObject
from cloudcoil.models.prometheus_operator.v1 import PrometheusRule, ServiceMonitor
from pydantic import BaseModel

from tests.support.manifests import KUSTOMIZATIONS, build

VERSIONS = ("1.31", "1.33", "1.35", "1.37")
CUSTOM: dict[str, type[BaseModel]] = {
    "ScaledObject": ScaledObject,
    "PrometheusRule": PrometheusRule,
    "ServiceMonitor": ServiceMonitor,
}


def _strict(schema: Any) -> Any:
    """A schema that refuses fields it does not name."""
    if isinstance(schema, list):
        return [_strict(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {key: _strict(value) for key, value in schema.items()}
    if isinstance(closed.get("properties"), dict) and "type" in closed:
        closed.setdefault("additionalProperties", False)
    return closed


@pytest.fixture(scope="module")
def validators() -> dict[str, jsonschema.Draft202012Validator]:
    return {
        kind: jsonschema.Draft202012Validator(_strict(model.model_json_schema(by_alias=True)))
        for kind, model in CUSTOM.items()
    }


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("kustomization", KUSTOMIZATIONS)
def test_kubernetes_takes_it(kustomization: str, version: str) -> None:
    native = [manifest for manifest in build(kustomization) if manifest["kind"] not in CUSTOM]
    assert native
    for manifest in native:
        kubernetes_validate.validate(manifest, version, strict=True)


@pytest.mark.parametrize("kustomization", KUSTOMIZATIONS)
def test_the_operators_take_it(kustomization: str, validators: dict[str, jsonschema.Draft202012Validator]) -> None:
    for manifest in build(kustomization):
        if manifest["kind"] in validators:
            assert [error.message for error in validators[manifest["kind"]].iter_errors(manifest)] == []


@pytest.mark.parametrize(
    ("kind", "spec"),
    [
        ("ScaledObject", {"scaleTargetRef": {"name": "a"}, "triggers": [{"type": "cpu"}]}),
        ("ScaledObject", {"scaleTargetRef": {"name": "a"}, "triggers": [], "minReplicas": 1}),
        ("ServiceMonitor", {"selector": {}, "endpoints": [{"intervall": "15s"}]}),
        ("PrometheusRule", {"groups": [{"name": "a", "rules": [{"record": "a"}]}]}),
    ],
)
def test_the_operators_schemas_are_strict(
    kind: str, spec: dict[str, Any], validators: dict[str, jsonschema.Draft202012Validator]
) -> None:
    version = "keda.sh/v1alpha1" if kind == "ScaledObject" else "monitoring.coreos.com/v1"
    manifest = {"apiVersion": version, "kind": kind, "metadata": {"name": "a"}, "spec": spec}
    assert list(validators[kind].iter_errors(manifest))
