"""How the files of a study come into a folder: received with the request, or fetched from where it says."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from fastapi import Request

from discgrade.dicomweb import DicomwebReference
from gateway import uploads

if TYPE_CHECKING:
    from gateway.app import Services

__all__ = ["fetched", "read_reference", "received", "write_reference"]

_REFERENCE = "reference.json"


async def received(services: Services, request: Request, folder: Path) -> list[Path]:
    """The files of a request's multipart body; see :func:`gateway.uploads.receive`."""
    return await uploads.receive(request, folder, services.upload_limits, services.workers)


async def fetched(services: Services, reference: DicomwebReference, folder: Path) -> list[Path]:
    """The files of a study at a DICOMweb server; see :meth:`gateway.dicomweb.Dicomweb.fetch`."""
    return await services.dicomweb.fetch(reference, folder, services.upload_limits)


def write_reference(reference: DicomwebReference, folder: Path) -> None:
    """Put a reference into an empty folder, to be kept for a job: UIDs lead to a patient, so no database holds them."""
    (folder / _REFERENCE).write_text(reference.model_dump_json())


def read_reference(files: list[Path]) -> DicomwebReference:
    """The reference in a folder that :func:`write_reference` filled."""
    (path,) = files
    return DicomwebReference.model_validate_json(path.read_bytes())
