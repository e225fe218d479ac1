"""The network policies let exactly these flows through, and no other."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import pytest

from tests.support.manifests import build, of_kind, selects, templates

DNS = ("UDP", 53)


@dataclass(frozen=True)
class End:
    """One end of a flow: a Pod of ours, a Pod in another namespace, or an address."""

    name: str
    labels: dict[str, str] = field(default_factory=dict, hash=False)
    namespace: dict[str, str] | None = field(default=None, hash=False)
    address: str | None = None

    @property
    def ours(self) -> bool:
        return self.namespace is None and self.address is None


OTHERS = (
    End("client", namespace={"discgrade/clients": "true"}),
    End("monitoring", namespace={"discgrade/monitoring": "true"}),
    End("dns", {"k8s-app": "kube-dns"}, {"kubernetes.io/metadata.name": "kube-system"}),
    End("neighbour", namespace={"kubernetes.io/metadata.name": "default"}),
    End("internet", address="93.184.216.34"),
    End("hospital", address="10.1.2.3"),
    End("metadata service", address="169.254.169.254"),
)
PORTS = (*(("TCP", port) for port in (53, 80, 443, 5432, 8000, 8001, 8002, 11112, 11113, 50051)), DNS)
COMMON = {
    ("client", "gateway", 8000),
    ("client", "gateway", 50051),
    ("gateway", "triton", 8001),
    ("worker", "triton", 8001),
    ("promote", "triton", 8001),
    ("monitoring", "gateway", 8000),
    ("monitoring", "worker", 8000),
    ("monitoring", "triton", 8002),
    ("gateway", "internet", 443),
    ("worker", "internet", 443),
    ("gateway", "hospital", 443),
    ("worker", "hospital", 443),
}
EXPECTED = {
    "overlays/cpu": COMMON | {("gateway", "postgres", 5432), ("worker", "postgres", 5432)},
    "overlays/gpu": COMMON
    | {
        ("gateway", "hospital", 5432),
        ("worker", "hospital", 5432),
        ("hospital", "dicom-node", 11112),
        ("dicom-node", "hospital", 11112),
        ("dicom-node", "gateway", 8000),
        ("monitoring", "dicom-node", 11113),
    },
    "overlays/dev": set(),
}
ASKS_NAMES = {"gateway", "worker", "promote", "dicom-node"}


def _matches(peer: dict[str, Any], end: End) -> bool:
    if "ipBlock" in peer:
        if end.address is None:
            return False
        address = ipaddress.ip_address(end.address)
        block = peer["ipBlock"]
        return address in ipaddress.ip_network(block["cidr"]) and not any(
            address in ipaddress.ip_network(other) for other in block.get("except", [])
        )
    if end.address is not None:
        return False
    if "namespaceSelector" in peer:
        if end.namespace is None or not selects(peer["namespaceSelector"], end.namespace):
            return False
    elif not end.ours:
        return False
    return "podSelector" not in peer or selects(peer["podSelector"], end.labels)


def _lets(policies: list[dict[str, Any]], way: str, pod: End, other: End, port: tuple[str, int]) -> bool:
    """Whether the policies on a Pod let a flow out of it (Egress) or into it (Ingress)."""
    mine = [
        one["spec"]
        for one in policies
        if selects(one["spec"]["podSelector"], pod.labels) and way in one["spec"]["policyTypes"]
    ]
    if not mine:
        return True  # as Kubernetes has it: no policy, no restriction
    peers = "to" if way == "Egress" else "from"
    return any(
        any(_matches(peer, other) for peer in rule[peers])
        and any((entry.get("protocol", "TCP"), entry["port"]) == port for entry in rule["ports"])
        for spec in mine
        for rule in spec.get(way.lower(), [])
    )


@pytest.mark.parametrize("overlay", EXPECTED)
def test_exactly_what_is_needed_gets_through(overlay: str) -> None:
    manifests = build(overlay)
    policies = of_kind(manifests, "NetworkPolicy")
    pods = [pod for _, pod in templates(manifests)]
    if overlay != "overlays/dev":
        pods += [pod for _, pod in templates(build("jobs/promote"))]
    ours = [End(pod["metadata"]["labels"]["app.kubernetes.io/component"], pod["metadata"]["labels"]) for pod in pods]
    through = set()
    for source, target, port in product([*ours, *OTHERS], [*ours, *OTHERS], PORTS):
        if not (source.ours or target.ours) or source == target:
            continue
        out = not source.ours or _lets(policies, "Egress", source, target, port)
        into = not target.ours or _lets(policies, "Ingress", target, source, port)
        if out and into:
            through.add((source.name, target.name, port))
    names = {(source, "dns", port) for source in ASKS_NAMES & {end.name for end in ours} for port in (DNS, ("TCP", 53))}
    if overlay == "overlays/dev":
        names = set()
    assert through == {(source, target, ("TCP", port)) for source, target, port in EXPECTED[overlay]} | names


@pytest.mark.parametrize("overlay", EXPECTED)
def test_all_is_denied_that_is_not_allowed(overlay: str) -> None:
    (deny,) = (
        one["spec"]
        for one in of_kind(build(overlay), "NetworkPolicy")
        if one["metadata"]["name"] == "discgrade-default-deny"
    )
    assert deny == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
