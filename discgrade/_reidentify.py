"""``discgrade reidentify``."""

from __future__ import annotations

from typing import Annotated

import typer

from discgrade._command import reported, settings_from, suite
from discgrade.errors import InvalidRequest, NotFound

__all__ = ["reidentify"]


def reidentify(
    pseudonym: Annotated[str, typer.Argument(help="A Patient ID, Patient's Name or UID of a result.")],
) -> None:
    """Look up what a pseudonym stands for, in DISCGRADE_DEIDENTIFY_MAPPING_FILE."""
    with reported():
        with suite():
            from gateway.deidentify.mapping import Mapping
        path = settings_from().deidentify_mapping_file
        if path is None:
            raise InvalidRequest("What pseudonyms stand for is kept nowhere.", "Set DISCGRADE_DEIDENTIFY_MAPPING_FILE.")
        found = Mapping(path).find(pseudonym)
        if found is None:
            raise NotFound("This pseudonym is not known here.", "Pseudonyms are known from when the file was named.")
    typer.echo(f"{found[0]}: {found[1]}")
