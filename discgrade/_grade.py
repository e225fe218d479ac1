"""The two ways ``discgrade grade`` gets a result: in this process, or from a server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from discgrade.client import Client
from discgrade.dicomweb import Study
from discgrade.errors import NotFound
from discgrade.result import GradingResult

if TYPE_CHECKING:
    from gateway.settings import Settings

__all__ = ["Written", "local", "progress", "remote"]

_FILES = (
    "result.json",
    "segmentation.nii.gz",
    "overlay.png",
    "report.pdf",
    "segmentation.dcm",
    "report.sr.dcm",
    "overlay.dcm",
    "report.pdf.dcm",
)
_STEPS = {
    "fetch": "fetching the study",
    "read": "reading the study",
    "preprocess": "preparing the slices",
    "start": "starting the inference server",
    "inference": "finding and grading the discs",
    "postprocess": "measuring the discs",
    "files": "drawing and writing",
}


@dataclass(frozen=True)
class Written:
    """A result and the files to write: name to contents."""

    result: GradingResult
    artefacts: dict[str, bytes]


def local(study: Study, settings: Settings, console: Console) -> Written:
    """Grade here, with a tritonserver of our own unless the settings name one."""
    from gateway.local import grade_study
    from gateway.made import make_all

    steps = list(_STEPS)
    with progress(console) as bar:
        task = bar.add_task("", total=len(steps))

        def show(step: str) -> None:
            if step in _STEPS:
                bar.update(task, description=_STEPS[step], completed=steps.index(step))

        graded = grade_study(study, settings, show)
        show("files")
        made = make_all(graded.artefacts())
        bar.update(task, description="done", completed=len(steps))
    return Written(graded.result, {name: made[name] for name in _FILES if name in made})


def remote(study: Study, url: str, api_key: str | None, console: Console) -> Written:
    """Let a server grade, and fetch what it made."""
    with progress(console) as bar, Client(url, api_key=api_key) as client:
        task = bar.add_task("sending the study and waiting for its grades", total=None)
        result = client.grade(study)
        bar.update(task, description="fetching its files")
        artefacts = {"result.json": result.model_dump_json(indent=2).encode()}
        fetched = {
            "segmentation.nii.gz": client.segmentation,
            "overlay.png": client.overlay,
            "report.pdf": client.report,
            "segmentation.dcm": client.dicom_segmentation,
            "report.sr.dcm": client.dicom_report,
            "overlay.dcm": client.dicom_overlay,
            "report.pdf.dcm": client.dicom_pdf,
        }
        for name, fetch in fetched.items():
            with suppress(NotFound):  # there are no DICOM objects of a NIfTI study
                artefacts[name] = fetch(result.result_id)
    return Written(result, artefacts)


@contextmanager
def progress(console: Console) -> Iterator[Progress]:
    """What is going on, with a clock; it vanishes at the end."""
    columns = SpinnerColumn(), TextColumn("{task.description}"), BarColumn(bar_width=20), TimeElapsedColumn()
    with Progress(*columns, console=console, transient=True) as progress:
        yield progress
