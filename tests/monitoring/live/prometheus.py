"""A Prometheus of its own on a loopback port."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import yaml

from tests.support.processes import free_port

__all__ = ["Prometheus", "running_prometheus"]

RULES = Path(__file__).parents[3] / "k8s" / "monitoring" / "rules"
_SECONDS = 2
"""Between scrapes, and between evaluations."""


class Prometheus:
    """Asks it questions.

    Args:
        url: Where it listens.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._http = httpx.Client(base_url=f"{url}/api/v1", timeout=30, trust_env=False)

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The instant vector, or scalar as one, of an expression."""
        data = self._get("/query", query=expression)
        result: list[dict[str, Any]] = data["result"] if data["resultType"] == "vector" else [{"value": data["result"]}]
        return result

    def query_range(self, expression: str, seconds: float) -> list[dict[str, Any]]:
        """The series of an expression over the last seconds."""
        now = time.time()
        result: list[dict[str, Any]] = self._get(
            "/query_range", query=expression, start=str(now - seconds), end=str(now), step=str(_SECONDS)
        )["result"]
        return result

    def rules(self) -> list[dict[str, Any]]:
        """Every rule, with how its last evaluation went."""
        return [rule for group in self._get("/rules")["groups"] for rule in group["rules"]]

    def close(self) -> None:
        self._http.close()

    def _get(self, path: str, **params: str) -> dict[str, Any]:
        answer = self._http.get(path, params=params).json()
        assert answer["status"] == "success", (answer, params)
        data: dict[str, Any] = answer["data"]
        return data


@contextmanager
def running_prometheus(folder: Path, jobs: dict[str, tuple[str, str]]) -> Iterator[Prometheus]:
    """A Prometheus with the committed rules.

    Args:
        folder: Empty; for its data.
        jobs: Job to host:port and path.
    """
    scrapes = [
        {"job_name": job, "metrics_path": path, "static_configs": [{"targets": [target]}]}
        for job, (target, path) in jobs.items()
    ]
    interval = f"{_SECONDS}s"
    configuration = {
        "global": {"scrape_interval": interval, "scrape_timeout": interval, "evaluation_interval": interval},
        "rule_files": [str(path) for path in sorted(RULES.glob("*.yaml"))],
        "scrape_configs": scrapes,
    }
    (folder / "prometheus.yml").write_text(yaml.safe_dump(configuration))
    address = f"127.0.0.1:{free_port()}"
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(
            [
                "prometheus",
                f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address={address}",
            ],
            stdout=log,
            stderr=log,
        )
        prometheus = Prometheus(f"http://{address}")
        try:
            _await_ready(process, prometheus, folder / "prometheus.log")
            yield prometheus
        finally:
            prometheus.close()
            process.terminate()
            process.wait(30)


def _await_ready(process: subprocess.Popen[bytes], prometheus: Prometheus, log: Path) -> None:
    deadline = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < deadline:
        try:
            if httpx.get(f"{prometheus.url}/-/ready", trust_env=False).status_code == 200:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.1)
    raise AssertionError(log.read_text())
