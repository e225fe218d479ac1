"""The ``discgrade`` command. Rooms beyond the contract are loaded inside the commands that need them."""

from __future__ import annotations

import signal
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.markup import escape

from discgrade import _dicom_node, _door, _evaluate, _export, _models, _reidentify, _train, _triton, _worker
from discgrade._batch import command as _batch
from discgrade._command import errors as _errors
from discgrade._command import exit_with as _exit
from discgrade._command import settings_from as _settings
from discgrade._command import suite as _suite
from discgrade.dicomweb import DicomwebReference, Study
from discgrade.errors import DiscgradeError, InputError, UnsupportedFormat
from discgrade.result import DISCLAIMER, Pfirrmann

__all__ = ["app"]

app = typer.Typer(
    help=f"Segment, name and grade the lumbar discs of a sagittal T2 MRI. {DISCLAIMER}",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)


class DoorOption(StrEnum):
    """Whether callers need credentials."""

    AUTO = "auto"
    ON = "on"
    OFF = "off"


class PhantomFormat(StrEnum):
    """How a phantom is written."""

    DICOM = "dicom"
    NIFTI = "nifti"


app.add_typer(_door.keys, name="keys")
app.add_typer(_door.audit, name="audit")
app.add_typer(_models.models, name="models")
app.add_typer(_dicom_node.node, name="dicom-node")
app.command()(_batch.batch)
app.command()(_worker.worker)
app.command()(_triton.triton)
app.command()(_export.export)
app.command()(_reidentify.reidentify)
app.add_typer(_train.train, name="train")
app.command()(_evaluate.evaluate)


@app.command()
def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on; 0 takes a free one.", min=0, max=65535)] = 8000,
    grpc_port: Annotated[
        int | None,
        typer.Option(help="Port for gRPC; 0 takes a free one, omitted, there is none.", min=0, max=65535),
    ] = None,
    triton_url: Annotated[
        str | None, typer.Option(help="host:port of a running tritonserver's gRPC service; omitted, one is started.")
    ] = None,
    data_dir: Annotated[Path | None, typer.Option(help="Where uploads are spooled and results kept.")] = None,
    door: Annotated[
        DoorOption | None, typer.Option(help="Whether callers need credentials; auto: on any but a loopback address.")
    ] = None,
    run_worker: Annotated[
        bool | None, typer.Option("--worker/--no-worker", help="Whether jobs are graded in this process, too.")
    ] = None,
) -> None:
    """Serve the HTTP API, and gRPC if it is given a port; DISCGRADE_… environment variables set what options do not."""
    try:
        with _suite():
            from gateway.serve import serve as run_server
        settings = _settings(triton_url=triton_url, data_dir=data_dir, door=door, run_worker=run_worker)
        run_server(settings, host, port, grpc_port)
    except DiscgradeError as error:
        raise _exit(error) from error


@app.command()
def grade(
    path: Annotated[
        Path | None, typer.Argument(help="A folder of DICOM files, a DICOM file, a zip of them, or a NIfTI file.")
    ] = None,
    dicomweb: Annotated[
        str | None, typer.Option(help="In place of files: the configured DICOMweb server that has the study.")
    ] = None,
    study: Annotated[str | None, typer.Option(help="Its Study Instance UID.")] = None,
    series: Annotated[str | None, typer.Option(help="The Series Instance UID; omitted, the series is chosen.")] = None,
    out: Annotated[
        Path, typer.Option(help="Where the result and its files go: JSON, NIfTI, PNG, PDF and DICOM.")
    ] = Path("discgrade-out"),
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON instead of a table.")] = False,
    url: Annotated[str | None, typer.Option(help="Use this discgrade server instead of grading here.")] = None,
    api_key: Annotated[
        str | None, typer.Option(help="That server's API key or access token.", envvar="DISCGRADE_API_KEY")
    ] = None,
) -> None:
    """Grade one study and write its result, label image and picture; of DICOM studies also DICOM SEG and SR.

    Exits with 2 if the study cannot be graded, with 1 if discgrade itself failed.
    """
    from discgrade import _grade, _report

    try:
        wanted = _study(path, dicomweb, study, series)
        graded = _grade.remote(wanted, url, api_key, _errors) if url else _grade.local(wanted, _settings(), _errors)
        out.mkdir(parents=True, exist_ok=True)
        for name, content in graded.artefacts.items():
            (out / name).write_bytes(content)
    except DiscgradeError as error:
        raise _exit(error) from error
    if as_json:
        typer.echo(graded.result.model_dump_json(indent=2))
    else:
        _report.show(Console(highlight=False), graded.result)
        _errors.print(f"Written to {escape(str(out))}: {', '.join(graded.artefacts)}", soft_wrap=True)


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Where the study, its label image and its picture go.")] = Path("demo-out"),
) -> None:
    """Grade a phantom study over HTTP with a server started for it, and show the result."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # the server must not stay behind
    try:
        with _suite():
            from discgrade import _demo
        _demo.run(out, Console(highlight=False), _errors)
    except DiscgradeError as error:
        raise _exit(error) from error


@app.command()
def phantom(
    out: Annotated[Path, typer.Argument(help="A folder; the study's files are put into it.")],
    grades: Annotated[
        str, typer.Option(help="Pfirrmann grades I to V from L5/S1 upward; the last one holds for all above.")
    ] = "IV,III,III,II,II,I",
    format: Annotated[PhantomFormat, typer.Option(help="DICOM files, or one NIfTI file.")] = PhantomFormat.DICOM,
    seed: Annotated[int, typer.Option(help="Another number gives another spine.", min=0)] = 0,
) -> None:
    """Make a synthetic lumbar study, to try discgrade without a patient's."""
    try:
        with _suite():
            from training.phantom import PhantomSpec, make_phantom, write_dicom, write_nifti
    except DiscgradeError as error:
        raise _exit(error) from error
    roman = {grade.value: number for number, grade in enumerate(Pfirrmann, start=1)}
    try:
        numbers = tuple(roman[grade.strip().upper()] for grade in grades.split(","))
    except KeyError:
        raise typer.BadParameter("grades are I, II, III, IV or V, separated by commas") from None
    study = make_phantom(PhantomSpec(seed=seed, grades=numbers))
    out.mkdir(parents=True, exist_ok=True)
    if format is PhantomFormat.DICOM:
        write_dicom(study, out)
    else:
        write_nifti(study, out / "phantom.nii.gz")
    _errors.print(f"Written to {escape(str(out))}: {', '.join(study.levels)} from the lowest disc up.", soft_wrap=True)


def _study(path: Path | None, server: str | None, study: str | None, series: str | None) -> Study:
    """The study that the options of ``grade`` name."""
    if path is not None and server is study is series is None:
        return _files(path)
    if path is not None or server is None or study is None:
        raise typer.BadParameter("give a path, or --dicomweb and --study")
    try:
        return DicomwebReference(server=server, study_uid=study, series_uid=series)
    except ValidationError:
        raise typer.BadParameter("the server's name or a UID is malformed") from None


def _files(path: Path) -> list[Path]:
    """The regular files at a path, in a fixed order; hidden ones are left out."""
    if path.is_dir():
        found = sorted(item for item in path.rglob("*") if item.is_file() and not item.name.startswith("."))
        if not found:
            raise UnsupportedFormat("The folder holds no files.")
        return found
    if not path.is_file():
        raise InputError("There is no file or folder at this path.", "Check the path.")
    return [path]
