"""``python -m tests.pacs_demo``: a phantom through a PACS of one's own, as it would go in a hospital.

A real Orthanc, a gateway and a DICOM node are started; dcmtk's ``storescu`` pushes a phantom to Orthanc and to the node
as a scanner would; what then is in Orthanc is listed, and the page shows the result.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import httpx
from pydicom import dcmread
from rich.console import Console
from rich.table import Table

from tests.support.browser import chromium_path, screenshot
from tests.support.orthanc import Orthanc, running_orthanc
from tests.support.pacs import until
from tests.support.processes import Command, free_port
from training.phantom import PhantomSpec, make_phantom, write_dicom

__all__ = ["run"]

_CONFIG = """
port = {port}
metrics_port = {metrics}
gateway_url = "{gateway}"
data_dir = "node"
quiet_seconds = 2
[callers.SCANNER]
[destinations.pacs]
kind = "c-store"
ae_title = "{pacs.aet}"
host = "127.0.0.1"
port = {pacs.dicom_port}
objects = ["segmentation.dcm", "report.sr.dcm", "overlay.dcm", "report.pdf.dcm"]
"""
_OUT = Console(highlight=False)


def run(out: Path) -> None:
    """Push a phantom, wait for its results in Orthanc, list them, and save a picture of the page.

    Args:
        out: Folder of the picture; made if missing.
    """
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="discgrade-pacs-demo-") as name, running_orthanc() as pacs:
        folder = Path(name)
        _OUT.print(f"Orthanc {pacs.aet} answers at port {pacs.dicom_port} and {pacs.dicomweb}")
        files = write_dicom(make_phantom(PhantomSpec(seed=7, grades=(4, 5, 3, 2, 2, 1))), folder / "study")
        gateway = Command("serve", "--port", "0", "--data-dir", str(folder / "gateway"))
        try:
            _through_node(folder, files, gateway.url, pacs)
            _list(pacs, str(dcmread(files[0]).StudyInstanceUID))
            (job,) = httpx.get(f"{gateway.url}/v1/jobs", trust_env=False).json()["jobs"]
            picture = screenshot(gateway.url, job["result_id"], out / "pacs.png")
            _OUT.print(f"The page with this result: [bold]{picture}[/]", soft_wrap=True)
        finally:
            gateway.kill()


def _through_node(folder: Path, files: list[Path], gateway: str, pacs: Orthanc) -> None:
    port, metrics, config = free_port(), free_port(), folder / "dicom-node.toml"
    config.write_text(_CONFIG.format(port=port, metrics=metrics, gateway=gateway, pacs=pacs))
    node = Command("dicom-node", "--config", str(config))
    try:
        until(lambda: node.entries("listening"))
        _OUT.print(f"The node DISCGRADE answers at port {port}; SCANNER sends {len(files)} images to both")
        for title, to in ((pacs.aet, pacs.dicom_port), ("DISCGRADE", port)):
            command = ["storescu", "-aet", "SCANNER", "-aec", title, "127.0.0.1", str(to)]
            subprocess.run([*command, *map(str, files)], check=True)
        until(lambda: node.entries("graded"), seconds=300)
        expected = node.entries("graded")[0]["deliveries"]
        until(lambda: sum(entry["outcome"] == "delivered" for entry in node.entries("delivery")) == expected)
    finally:
        node.stop()


def _list(pacs: Orthanc, study: str) -> None:
    table = Table("series", "modality", "description", "objects", title="What is in the PACS now (QIDO-RS)")
    tags = "00200011", "00080060", "0008103E", "00201209"
    found = pacs.qido(f"studies/{study}/series", includefield=",".join(tags))
    for values in sorted([series.get(tag, {}).get("Value", [""])[0] for tag in tags] for series in found):
        table.add_row(*map(str, values))
    _OUT.print(table)


def _main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.pacs_demo", description="A phantom through a PACS.")
    parser.add_argument("--out", type=Path, default=Path("demo-out"), help="folder of the picture")
    arguments = parser.parse_args()
    missing = [
        package
        for package, there in (
            ("orthanc", shutil.which("Orthanc", path="/usr/sbin:/usr/bin:/usr/local/bin:/usr/local/sbin")),
            ("orthanc-dicomweb", Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so").exists()),
            ("dcmtk", shutil.which("storescu")),
            ("chromium", chromium_path()),
        )
        if not there
    ]
    if missing:
        sys.exit(f"This needs Debian's packages {', '.join(missing)}: apt-get install {' '.join(missing)}")
    run(arguments.out)


if __name__ == "__main__":
    _main()
