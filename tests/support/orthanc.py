"""A real Orthanc (Debian's ``orthanc`` and ``orthanc-dicomweb``) of one's own: C-STORE, C-FIND and DICOMweb."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.processes import free_port

__all__ = ["Orthanc", "running_orthanc"]

_PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
_SECONDS = 60.0


class Orthanc:
    """A server with a folder of its own; what is stored lasts from one start to the next.

    Attributes:
        aet: Its AE title.
        dicom_port: Where it takes associations, on 127.0.0.1.
        url: Of its REST API.
        dicomweb: Root of its DICOMweb services.
        auth: User and password of both, or None.
    """

    def __init__(
        self,
        program: str,
        folder: Path,
        *,
        users: Mapping[str, str] | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        self.aet = "ORTHANC"
        self.dicom_port, http_port = free_port(), free_port()
        self.url = f"http://127.0.0.1:{http_port}"
        self.dicomweb = f"{self.url}/dicom-web"
        self.auth = next(iter(users.items())) if users else None
        self._program = program
        self._configuration = folder / "orthanc.json"
        self._log = folder / "log"
        self._process: subprocess.Popen[bytes] | None = None
        self._configuration.write_text(
            json.dumps(
                {
                    "Name": "tests",
                    "StorageDirectory": str(folder / "storage"),
                    "IndexDirectory": str(folder / "storage"),
                    "Plugins": [str(_PLUGIN)],
                    "HttpPort": http_port,
                    "RemoteAccessAllowed": True,  # loopback counts as remote once there are users
                    "AuthenticationEnabled": users is not None,
                    "RegisteredUsers": dict(users or {}),
                    "DicomAet": self.aet,
                    "DicomPort": self.dicom_port,
                    "DicomModalities": {},
                    "DicomAlwaysAllowStore": True,
                    "DicomAlwaysAllowFind": True,
                    "UnknownSopClassAccepted": True,
                    "StableAge": 1,
                    "ConcurrentJobs": 1,
                    "DicomWeb": {"Enable": True, "Root": "/dicom-web/", "EnableWado": False},
                    **(options or {}),
                }
            )
        )

    def start(self) -> None:
        """Start it, or start it again; it answers when this returns."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [self._program, str(self._configuration)], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        deadline = time.monotonic() + _SECONDS
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                httpx.get(f"{self.url}/system", auth=self.auth).raise_for_status()
            except httpx.TransportError:
                time.sleep(0.05)
            else:
                return
        self.kill()
        raise AssertionError(self._log.read_text())

    def stop(self) -> None:
        """End it with SIGTERM."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Kill it with SIGKILL, if it still runs."""
        self._end(signal.SIGKILL)

    def _end(self, how: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(30)
            self._process = None

    def store(self, part10: bytes) -> None:
        """Put one DICOM file into it, through its REST API."""
        httpx.post(f"{self.url}/instances", content=part10, auth=self.auth, timeout=30).raise_for_status()

    def qido(self, path: str, **parameters: str) -> list[dict[str, Any]]:
        """Search by QIDO-RS; ``path`` such as ``studies`` or ``studies/1.2.3/series``."""
        answer = httpx.get(f"{self.dicomweb}/{path}", params=parameters, auth=self.auth, timeout=30).raise_for_status()
        found: list[dict[str, Any]] = answer.json()
        return found


@contextmanager
def running_orthanc(
    *, users: Mapping[str, str] | None = None, options: Mapping[str, Any] | None = None
) -> Iterator[Orthanc]:
    """Start a server, and remove it with all it stored; skips the test where Orthanc is not installed.

    Args:
        users: Passwords of the users that its HTTP side asks for; open when omitted.
        options: More of Orthanc's configuration, such as ``DicomModalities``.
    """
    program = shutil.which("Orthanc", path="/usr/sbin:/usr/bin:/usr/local/bin:/usr/local/sbin")
    if program is None or not _PLUGIN.exists():
        pytest.skip("Debian's packages orthanc and orthanc-dicomweb are not installed")
    with tempfile.TemporaryDirectory(prefix="discgrade-orthanc-") as folder:
        server = Orthanc(program, Path(folder), users=users, options=options)
        server.start()
        try:
            yield server
        finally:
            server.kill()
