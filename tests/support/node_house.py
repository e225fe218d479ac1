"""A node between a gateway whose grader knows the truth, and an archive."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateway.app import create_app
from gateway.jobs.worker import Worker
from gateway.settings import Settings
from tests.support.pacs import Archive, RunningNode, node_settings, running_node
from tests.support.server import running_server
from tests.support.truth import TruthGrader
from training.phantom import Phantom

__all__ = ["House", "serving"]


@contextmanager
def serving(folder: Path, port: int, grader: TruthGrader, **settings: Any) -> Iterator[None]:
    chosen = Settings.model_validate({"data_dir": folder, "cpu_workers": 1, **settings})
    app = create_app(chosen, lambda: grader, beside=lambda services: Worker(services, chosen))
    with running_server(app, port=port):
        yield


@dataclass
class House:
    """A gateway that may be away, an archive, and where the node keeps what it has."""

    folder: Path
    phantom: Phantom
    archive: Archive
    port: int
    grader: TruthGrader

    @contextmanager
    def gateway(self, **settings: Any) -> Iterator[None]:
        with serving(self.folder / "gateway", self.port, self.grader, **settings):
            yield

    @contextmanager
    def node(self, **settings: Any) -> Iterator[RunningNode]:
        destination = {"kind": "c-store", "ae_title": "ARCHIVE", "host": "127.0.0.1", "port": self.archive.port}
        given = {
            "gateway_url": f"http://127.0.0.1:{self.port}",
            "destinations": {"pacs": {**destination, "first_retry_seconds": 0.1, "refusals": 2}},
        }
        with running_node(node_settings(self.folder / "node", **{**given, **settings})) as node:
            yield node

    def classes(self) -> list[str]:
        return sorted(item.SOPClassUID.name for item in self.archive.stored)
