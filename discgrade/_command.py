"""What the commands share: how settings are read, and how errors end a command."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.markup import escape

from discgrade.errors import DiscgradeError, InferenceUnavailable, InputError

if TYPE_CHECKING:
    from gateway.settings import Settings

__all__ = ["INPUT_PROBLEM", "SERVICE_PROBLEM", "errors", "exit_with", "reported", "settings_from", "suite"]

INPUT_PROBLEM = 2
SERVICE_PROBLEM = 1

errors = Console(stderr=True, highlight=False)


_SUITE_ADVICE = "pip install 'discgrade[serve]', or give --url of a discgrade server."


@contextmanager
def suite(advice: str = _SUITE_ADVICE) -> Iterator[None]:
    """Explain what to install where only the client is."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise InferenceUnavailable(f"This needs the package {error.name}, which is not installed.", advice) from error


def settings_from(**given: object) -> Settings:
    """Settings from the environment and from the options that were given."""
    with suite():
        from gateway.settings import Settings

    try:
        return Settings.model_validate({name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        wrong = (f"DISCGRADE_{'_'.join(map(str, item['loc'])).upper()}: {item['msg']}" for item in error.errors())
        raise typer.BadParameter("; ".join(wrong)) from None


@contextmanager
def reported() -> Iterator[None]:
    """End the command with an error's message and exit status."""
    try:
        yield
    except DiscgradeError as error:
        raise exit_with(error) from error


def exit_with(error: DiscgradeError) -> typer.Exit:
    """Say what is wrong and what to do about it."""
    errors.print(f"[bold red]{error.title}.[/] {escape(error.detail)}", soft_wrap=True)
    errors.print(f"[bold]What to do:[/] {escape(error.advice)}", soft_wrap=True)
    return typer.Exit(INPUT_PROBLEM if isinstance(error, InputError) else SERVICE_PROBLEM)
