"""The suite under a small load: studies over HTTP and gRPC, jobs, and what is refused."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from discgrade.client import Client
from discgrade.errors import DiscgradeError
from discgrade.grpc_client import GrpcClient
from tests.support.processes import Command, free_port
from training.phantom import PhantomSpec, make_phantom, write_dicom, write_nifti

__all__ = ["Suite", "push", "running_suite", "under_load"]

_SMALL: dict[str, Any] = {"matrix": (256, 256), "pixel_mm": 1.0}
_NODE = """
port = {dicom}
metrics_port = {metrics}
gateway_url = "http://127.0.0.1:{gateway}"
data_dir = "{folder}"
quiet_seconds = 0.5
min_free_bytes = 0
[callers.SCANNER]
destinations = ["pacs"]
[destinations.pacs]
kind = "c-store"
ae_title = "PACS"
host = "127.0.0.1"
port = {away}
first_retry_seconds = 1
"""
_AWAY = {"dicomweb": {"server": "away", "study_uid": "1.2.3"}}


@dataclass(frozen=True)
class Suite:
    """Where everything is.

    Attributes:
        url: Of the gateway.
        grpc: Its gRPC target.
        dicom_port: Of the node.
        targets: Job to host:port and path of its metrics.
    """

    url: str
    grpc: str
    dicom_port: int
    targets: dict[str, tuple[str, str]]


@contextmanager
def running_suite(folder: Path) -> Iterator[Suite]:
    """A gateway with worker and tritonserver, a DICOMweb server and an archive that are away, and a node before them.

    The node gets its first study before the gateway is there.
    """
    http, grpc, dicom, metrics = free_port(), free_port(), free_port(), free_port()
    (folder / "servers.toml").write_text(f'[away]\nurl = "http://127.0.0.1:{free_port()}/dicom-web"\n')
    settings = {"gateway": http, "dicom": dicom, "metrics": metrics, "away": free_port(), "folder": folder / "node"}
    (folder / "node.toml").write_text(_NODE.format(**settings))
    environment = {
        "DISCGRADE_DATA_DIR": str(folder / "gateway"),
        "DISCGRADE_DICOMWEB_FILE": str(folder / "servers.toml"),
    }
    address = f"127.0.0.1:{http}"
    targets = {
        "discgrade-gateway": (address, "/metrics"),
        "discgrade-triton": (address, "/metrics/triton"),
        "discgrade-node": (f"127.0.0.1:{metrics}", "/metrics"),
    }
    commands = [Command("dicom-node", "--config", str(folder / "node.toml"))]
    try:
        _await_metric(f"http://127.0.0.1:{metrics}/metrics", "discgrade_node_instances_total")
        push(dicom, write_dicom(make_phantom(PhantomSpec(slices=3, **_SMALL)), folder / "first"))
        _await_metric(f"http://127.0.0.1:{metrics}/metrics", "discgrade_node_gateway_failures_total")
        commands.append(Command("serve", "--port", str(http), "--grpc-port", str(grpc), environment=environment))
        yield Suite(commands[1].url, f"127.0.0.1:{grpc}", dicom, targets)
    finally:
        for command in reversed(commands):
            command.stop()


def push(port: int, files: list[Path]) -> None:
    """Send files to a node as a scanner does."""
    command = ["storescu", "-aet", "SCANNER", "-aec", "DISCGRADE", "127.0.0.1", str(port), *map(str, files)]
    subprocess.run(command, check=True, capture_output=True, timeout=120)


def _await_metric(page: str, name: str) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            if f"\n{name}{{" in httpx.get(page, trust_env=False).text:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.1)
    raise AssertionError(f"no {name}")


@contextmanager
def under_load(suite: Suite, folder: Path) -> Iterator[None]:
    """Keep the suite busy as long as the block."""
    folder.mkdir()
    studies = _studies(folder)
    stop = threading.Event()
    failures: list[BaseException] = []

    def run() -> None:
        try:
            with (
                Client(suite.url) as client,
                GrpcClient(suite.grpc) as grpc,
                httpx.Client(base_url=suite.url, timeout=60) as http,
            ):
                while not stop.is_set():
                    push(suite.dicom_port, studies[0])
                    _round(client, grpc, http, studies)
        except BaseException as error:  # told to the caller, who waits for another thread
            failures.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
    if failures:
        raise failures[0]


def _studies(folder: Path) -> list[list[Path]]:
    """A study of each kind: as DICOM, as NIfTI, of one slice."""
    dicom = write_dicom(make_phantom(PhantomSpec(slices=3, **_SMALL)), folder / "dicom")
    (folder / "nifti").mkdir()
    nifti, single = folder / "nifti" / "study.nii.gz", folder / "nifti" / "single.nii.gz"
    write_nifti(make_phantom(PhantomSpec(slices=3, grades=(5, 5, 4, 4, 3), **_SMALL)), nifti)
    write_nifti(make_phantom(PhantomSpec(slices=1, **_SMALL)), single)
    return [dicom, [nifti], [single]]


def _round(client: Client, grpc: GrpcClient, http: httpx.Client, studies: list[list[Path]]) -> None:
    for files in studies:
        result = client.grade(files)
        http.get(f"/v1/results/{result.result_id}/overlay.png").raise_for_status()
    grpc.grade(studies[0])
    job = client.submit(studies[1])
    for refused in ([("files", ("a", b"this is no image"))], [("files", ("b", b"\x89PNG"))]):
        assert http.post("/v1/grade", files=refused).status_code in {415, 422}
    http.get("/v1/results/0123456789abcdef0123456789abcdef")
    assert http.post("/v1/grade", json=_AWAY).status_code == 503
    try:
        client.wait(job.job_id)
    except DiscgradeError as error:
        raise AssertionError(error) from error
    time.sleep(0.1)
