"""The autoscalers' decisions on measured load: what tritonserver said under it, asked of a real Prometheus."""

from __future__ import annotations

import gzip
import itertools
import math
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from typing import Any

import httpx
import pytest
import yaml

from tests.k8s.record_overload import PHASES, RECORDING
from tests.support.manifests import K8S, build, of_kind

STEP = 15.0
MEAN_OF_MEANS = "avg(delta(nv_inference_queue_duration_us[1m]) / (1 + delta(nv_inference_request_success[1m]))) / 1e6"
"""The rule of NVIDIA's example, which is not ours."""


class Autoscaler:
    """How Kubernetes scales by a metric of type Value: the algorithm of its documentation, with ``behavior``.

    Args:
        minimum: Least replicas.
        maximum: Most replicas.
        target: Of the metric.
        behavior: ``scaleUp`` and ``scaleDown`` of an autoscaling/v2 HorizontalPodAutoscaler.
    """

    def __init__(self, minimum: int, maximum: int, target: float, behavior: dict[str, Any]) -> None:
        self._bounds, self._target, self._behavior = (minimum, maximum), target, behavior
        self._history: list[tuple[float, int]] = []
        self._wanted: list[tuple[float, int]] = []
        self.replicas: int = minimum

    def decide(self, now: float, value: float) -> int:
        ratio = value / self._target
        wanted = self.replicas if abs(ratio - 1) <= 0.1 else math.ceil(self.replicas * ratio)
        self._wanted.append((now, min(max(wanted, self._bounds[0]), self._bounds[1])))
        self._history.append((now, self.replicas))
        least = min(self._recent(now, "scaleUp"))
        most = max(self._recent(now, "scaleDown"))
        if least > self.replicas:
            self.replicas = min(least, self._allowed(now, "scaleUp"))
        elif most < self.replicas:
            self.replicas = max(most, self._allowed(now, "scaleDown"))
        return self.replicas

    def _recent(self, now: float, way: str) -> list[int]:
        window = float(self._behavior[way]["stabilizationWindowSeconds"])
        return [wanted for when, wanted in self._wanted if now - when <= window]

    def _allowed(self, now: float, way: str) -> int:
        (policy,) = self._behavior[way]["policies"]
        before = next(replicas for when, replicas in self._history if now - when <= policy["periodSeconds"])
        value = float(policy["value"])
        change = value if policy["type"] == "Pods" else before * value / 100
        return math.ceil(before + change) if way == "scaleUp" else math.floor(before - change)


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A Prometheus whose past is the recording."""
    for program in ("prometheus", "promtool"):
        if shutil.which(program) is None:
            pytest.skip(f"the program {program} is not installed")
    folder = tmp_path_factory.mktemp("prometheus")
    (folder / "recording").write_bytes(gzip.decompress(RECORDING.read_bytes()))
    subprocess.run(
        ["promtool", "tsdb", "create-blocks-from", "openmetrics", "recording", "data"], cwd=folder, check=True
    )
    (folder / "prometheus.yml").write_text("{}")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [
            "prometheus",
            "--config.file=prometheus.yml",
            "--storage.tsdb.path=data",
            "--storage.tsdb.retention.time=100y",
            f"--web.listen-address=127.0.0.1:{port}",
            "--log.level=error",
        ],
        cwd=folder,
    )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
            deadline = time.monotonic() + 60
            while not _ready(client):
                assert process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.1)
            yield client
    finally:
        process.terminate()
        process.wait()


def _ready(client: httpx.Client) -> bool:
    try:
        return client.get("/-/ready").status_code == 200
    except httpx.TransportError:
        return False


def _times() -> list[float]:
    lines = gzip.decompress(RECORDING.read_bytes()).decode().splitlines()
    return sorted({float(line.rpartition(" ")[2]) for line in lines if not line.startswith("#")})


@pytest.fixture(scope="module")
def phases() -> dict[str, tuple[float, float]]:
    """Begin and end of what was done to the server while it was recorded."""
    begin, spans = _times()[0], {}
    for name, _, seconds in PHASES:
        spans[name] = (begin, begin + seconds)
        begin += seconds  # each lasted somewhat longer: until its last study was graded
    return spans


def _rules() -> list[dict[str, Any]]:
    (rules,) = (
        one for one in of_kind(build("overlays/cpu"), "PrometheusRule") if "autoscaling" in one["metadata"]["name"]
    )
    return [rule for group in rules["spec"]["groups"] for rule in group["rules"]]


def _recorded(name: str) -> str:
    (expression,) = (rule["expr"] for rule in _rules() if rule["record"] == name)
    return str(expression)


def _ask(prometheus: httpx.Client, query: str, labels: dict[str, str]) -> list[tuple[float, float]]:
    times = _times()
    answer = prometheus.get(
        "/api/v1/query_range", params={"query": query, "start": times[0] + STEP, "end": times[-1], "step": STEP}
    ).json()
    assert answer["status"] == "success", answer
    (series,) = answer["data"]["result"]
    assert series["metric"] == labels
    return [(when, float(value)) for when, value in series["values"]]


@pytest.fixture(scope="module")
def waits(prometheus: httpx.Client) -> list[tuple[float, float]]:
    """Time and value of the signal as our rule records it."""
    return _ask(prometheus, _recorded("discgrade:triton_queue_seconds"), {"namespace": "discgrade"})


def _within(samples: Sequence[tuple[float, float]], span: tuple[float, float], settle: float) -> list[float]:
    return [value for when, value in samples if span[0] + settle <= when < span[1]]


def test_the_signal_is_there_at_every_moment(waits: list[tuple[float, float]]) -> None:
    assert [when for when, _ in waits] == [waits[0][0] + STEP * number for number in range(len(waits))]
    assert all(math.isfinite(value) and value >= 0 for _, value in waits)


def test_the_signal_tells_overload_from_load(
    waits: list[tuple[float, float]], phases: dict[str, tuple[float, float]]
) -> None:
    assert max(_within(waits, phases["idle"], 0)) == 0
    assert max(_within(waits, phases["light"], 0)) < 0.02
    assert min(_within(waits, phases["overload"], 60)) > 0.2


def test_the_mean_of_means_hides_overload(
    prometheus: httpx.Client, waits: list[tuple[float, float]], phases: dict[str, tuple[float, float]]
) -> None:
    ours = _within(waits, phases["overload"], 60)
    theirs = _within(_ask(prometheus, MEAN_OF_MEANS, {}), phases["overload"], 60)
    assert sum(theirs) / len(theirs) < 0.8 * sum(ours) / len(ours)


def _spec(kind: str, name: str, overlay: str) -> dict[str, Any]:
    (found,) = (one for one in of_kind(build(overlay), kind) if one["metadata"]["name"] == name)
    spec: dict[str, Any] = found["spec"]
    return spec


def _autoscalers() -> dict[str, Autoscaler]:
    hpa = _spec("HorizontalPodAutoscaler", "discgrade-triton", "overlays/cpu")
    (metric,) = hpa["metrics"]
    assert metric["external"]["target"]["type"] == "Value"
    keda = _spec("ScaledObject", "discgrade-triton", "overlays/gpu")
    (trigger,) = keda["triggers"]
    assert trigger["metricType"] == "Value"
    return {
        "hpa": Autoscaler(
            hpa["minReplicas"], hpa["maxReplicas"], float(metric["external"]["target"]["value"]), hpa["behavior"]
        ),
        "keda": Autoscaler(
            keda["minReplicaCount"],
            keda["maxReplicaCount"],
            float(trigger["metadata"]["threshold"]),
            keda["advanced"]["horizontalPodAutoscalerConfig"]["behavior"],
        ),
    }


@pytest.mark.parametrize("kind", ["hpa", "keda"])
def test_decisions_on_the_recorded_load(
    kind: str, waits: list[tuple[float, float]], phases: dict[str, tuple[float, float]]
) -> None:
    autoscaler = _autoscalers()[kind]
    decisions = [(when, autoscaler.decide(when, value)) for when, value in waits]
    least = decisions[0][1]
    assert least == 2
    assert set(_within(decisions, phases["idle"], 0)) == {least}
    assert set(_within(decisions, phases["light"], 0)) == {least}
    overload = _within(decisions, phases["overload"], 0)
    assert overload == sorted(overload)  # up, and not down again meanwhile
    assert overload[-1] >= 4
    first_up = next(when for when, replicas in decisions if replicas > least)
    assert first_up - phases["overload"][0] <= 90
    highest = decisions[-1][1]
    assert highest >= overload[-1] - 1  # an overload that ended a minute ago may come again
    end = waits[-1][0]
    later = [autoscaler.decide(end + STEP * number, waits[-1][1]) for number in range(1, 160)]
    assert later == sorted(later, reverse=True)
    assert later[-1] == least
    assert all(before - after <= 1 for before, after in itertools.pairwise(later))


@pytest.mark.parametrize("target", ["discgrade-triton", "discgrade-worker", "discgrade-gateway"])
def test_both_ways_of_scaling_say_the_same(target: str) -> None:
    hpa = _spec("HorizontalPodAutoscaler", target, "overlays/cpu")
    keda = _spec("ScaledObject", target, "overlays/gpu")
    assert hpa["scaleTargetRef"] == keda["scaleTargetRef"]
    assert (hpa["minReplicas"], hpa["maxReplicas"]) == (keda["minReplicaCount"], keda["maxReplicaCount"])
    for way, rules in keda["advanced"]["horizontalPodAutoscalerConfig"]["behavior"].items():
        assert {key: value for key, value in hpa["behavior"][way].items() if key != "selectPolicy"} == rules


def test_the_adapter_serves_what_the_autoscalers_ask_for() -> None:
    adapter = yaml.safe_load((K8S / "components" / "hpa" / "prometheus-adapter.yaml").read_text())
    recorded = {rule["record"] for rule in _rules()}
    served = {}
    for rule in adapter["rules"]["external"]:
        assert rule["seriesQuery"].split('"')[1] in recorded
        served[rule["name"]["as"]] = rule["seriesQuery"].split('"')[1]
    asked = {
        metric["external"]["metric"]["name"]
        for one in of_kind(build("overlays/cpu"), "HorizontalPodAutoscaler")
        for metric in one["spec"]["metrics"]
        if metric["type"] == "External"
    }
    assert asked == served.keys()
    queries = {
        trigger["metadata"]["query"]
        for one in of_kind(build("overlays/gpu"), "ScaledObject")
        for trigger in one["spec"]["triggers"]
        if trigger["type"] == "prometheus"
    }
    assert queries == {f'max({name}{{namespace="discgrade"}})' for name in served.values()}
