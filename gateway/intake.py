"""How the files of a study come into a folder: received with the request, or fetched from where it says.

Every way in passes here, so that it is de-identified where the operator wants that, before anything of it is kept.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from fastapi import Request

from discgrade.dicomweb import DicomwebReference
from gateway import uploads

if TYPE_CHECKING:
    from gateway.app import Services
    from gateway.deidentify import Deidentifier

__all__ = ["deidentified", "fetched", "read_reference", "received", "write_reference"]

_REFERENCE = "reference.json"


async def received(services: Services, request: Request, folder: Path) -> list[Path]:
    """The files of a request's multipart body; see :func:`gateway.uploads.receive`."""
    files = await uploads.receive(request, folder, services.upload_limits, services.workers)
    return await deidentified(services, files, folder)


async def fetched(services: Services, reference: DicomwebReference, folder: Path) -> list[Path]:
    """The files of a study at a DICOMweb server; see :meth:`gateway.dicomweb.Dicomweb.fetch`."""
    files = await services.dicomweb.fetch(reference, folder, services.upload_limits)
    return await deidentified(services, files, folder)


async def deidentified(services: Services, files: list[Path], folder: Path) -> list[Path]:
    """Put de-identified files in the place of what came in, where the operator wants that.

    Args:
        services: The app's.
        files: All that is in the folder.
        folder: Afterwards holds their successors alone; what is needed for the while is put beside it.

    Raises:
        discgrade.errors.InputError: They cannot be read, so not de-identified either.
    """
    if services.deidentifier is None:
        return files
    return await services.workers.compute(_replace, services.deidentifier, files, folder)


def _replace(deidentifier: Deidentifier, files: list[Path], folder: Path) -> list[Path]:
    came, workdir = folder.with_name(f"{folder.name}-came"), folder.with_name(f"{folder.name}-opened")
    try:
        folder.rename(came)
        folder.mkdir()
        workdir.mkdir()
        return deidentifier.study([came / path.name for path in files], folder, workdir)
    finally:
        for left in (came, workdir):
            shutil.rmtree(left, ignore_errors=True)


def write_reference(reference: DicomwebReference, folder: Path) -> None:
    """Put a reference into an empty folder, to be kept for a job: UIDs lead to a patient, so no database holds them."""
    (folder / _REFERENCE).write_text(reference.model_dump_json())


def read_reference(files: list[Path]) -> DicomwebReference:
    """The reference in a folder that :func:`write_reference` filled."""
    (path,) = files
    return DicomwebReference.model_validate_json(path.read_bytes())
