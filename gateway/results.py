"""Files of kept results, those included that are made when they are first asked for."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from discgrade.errors import NotFound
from gateway.made import MADE
from gateway.storage import IMAGE, RESULT

if TYPE_CHECKING:
    from gateway.app import Services

__all__ = ["load_file"]

_NO_IMAGE = "The result was kept by a version that did not keep the image."


async def load_file(services: Services, result_id: str, name: str) -> bytes:
    """Read a file of a result; what is made of others is made at its first reading and kept, so that it stays as it is.

    Args:
        services: The app's.
        result_id: The result.
        name: One of those in :mod:`gateway.storage`, or of :data:`gateway.made.MADE`.

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
        if name not in MADE:
            raise
    recipe = MADE[name]
    kept = {part: await load_file(services, result_id, part) for part in recipe.of}
    for part in recipe.where_there:
        with suppress(NotFound):
            kept[part] = await workers.disk(store.load, result_id, part)
    made = await workers.compute(recipe.make, kept)
    return {part: await workers.disk(store.add, result_id, part, content) for part, content in made.items()}[name]
