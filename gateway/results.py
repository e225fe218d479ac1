"""Files of kept results, those included that are made when they are first asked for."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from discgrade.errors import NotFound
from gateway.dicom_out import DICOM_FILES, build_dicom
from gateway.storage import IMAGE, RESULT, SEGMENTATION, SOURCE

if TYPE_CHECKING:
    from gateway.app import Services

__all__ = ["load_file"]

_NO_IMAGE = "The result was kept by a version that did not keep the image."


async def load_file(services: Services, result_id: str, name: str) -> bytes:
    """Read a file of a result; DICOM objects are made at their first reading and kept, so that they stay as they are.

    Args:
        services: The app's.
        result_id: The result.
        name: One of those in :mod:`gateway.storage`, or of :data:`gateway.dicom_out.DICOM_FILES`.

    Raises:
        discgrade.errors.NotFound: No such result, or no such file of it, and why.
    """
    store, workers = services.store, services.workers
    try:
        return await workers.disk(store.load, result_id, name)
    except NotFound:
        if name == IMAGE:
            await workers.disk(store.load, result_id, RESULT)  # raises where there is no result at all
            raise NotFound(_NO_IMAGE, "Grade the study again.") from None
        if name not in DICOM_FILES:
            raise
    kept = {part: await workers.disk(store.load, result_id, part) for part in (RESULT, SEGMENTATION)}
    with suppress(NotFound):  # a NIfTI study, or a result of an earlier version
        kept[SOURCE] = await workers.disk(store.load, result_id, SOURCE)
    made = await workers.compute(build_dicom, kept)
    return {part: await workers.disk(store.add, result_id, part, content) for part, content in made.items()}[name]
