"""``discgrade demo``: a phantom study through a real server, as a user would send it."""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from discgrade import _picture, _report
from discgrade._grade import progress
from discgrade._process import serving
from discgrade.result import Pfirrmann
from training.phantom import Phantom, PhantomSpec, make_phantom, write_dicom, write_zip

__all__ = ["run"]

_SPEC = PhantomSpec(seed=7, grades=(4, 5, 3, 2, 2, 1))


def run(out: Path, console: Console, progress_console: Console) -> None:
    """Start a server, grade a phantom study over HTTP, show what came back, stop the server.

    Args:
        out: Made if missing; the study (zip), the label image and the picture go there.
        console: Where the result is shown.
        progress_console: Where it is said what is going on.

    Raises:
        discgrade.errors.DiscgradeError: The server did not start, or did not grade.
    """
    out.mkdir(parents=True, exist_ok=True)
    study, picture = out / "phantom.zip", out / "overlay.png"
    with (
        tempfile.TemporaryDirectory(prefix="discgrade-demo-") as folder,
        progress(progress_console) as bar,
        serving(Path(folder)) as server,
    ):
        task = bar.add_task("making a phantom study", total=4)
        phantom = make_phantom(_SPEC)
        write_zip(write_dicom(phantom, Path(folder) / "study"), study)
        bar.update(task, description="starting the server and its tritonserver", advance=1)
        with server.client() as client:
            bar.update(task, description="grading over HTTP", advance=1)
            result = client.grade([study])
            bar.update(task, description="fetching the label image and the picture", advance=1)
            (out / "segmentation.nii.gz").write_bytes(client.segmentation(result.result_id))
            overlay = client.overlay(result.result_id)
            picture.write_bytes(overlay)
        bar.update(task, description="stopping the server", advance=1)
    _report.show(console, result, _truth(phantom))
    console.print()
    if _picture.show(console, overlay, result):
        console.print()
    console.print(f"Picture: [bold]{escape(str(picture))}[/], label image and study beside it\n", soft_wrap=True)
    _show_next_steps(console, study)


def _truth(phantom: Phantom) -> dict[str, Pfirrmann]:
    grades = list(Pfirrmann)
    return {level: grades[grade - 1] for level, grade in zip(phantom.levels, phantom.grades, strict=True)}


def _show_next_steps(console: Console, study: Path) -> None:
    command = sys.argv[0] if Path(sys.argv[0]).name == "discgrade" and not _on_path() else "discgrade"
    for what, line in (
        ("Grade a study of yours (a folder or zip of DICOM, or a NIfTI file):", f"{command} grade STUDY"),
        ("Serve; the API is described at http://127.0.0.1:8000/docs:", f"{command} serve"),
        ("Send it a study, from another terminal:", f"curl -F files=@{study} http://127.0.0.1:8000/v1/grade"),
    ):
        console.print(f"{what}\n  [bold]{escape(line)}[/]", soft_wrap=True)


def _on_path() -> bool:
    found = shutil.which("discgrade")
    return found is not None and Path(found).samefile(sys.argv[0])
