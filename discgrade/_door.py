"""``discgrade keys`` and ``discgrade audit``: who may use the server, and who did."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from discgrade._command import errors as _errors
from discgrade._command import reported, settings_from

if TYPE_CHECKING:
    from gateway.door.keys import KeyFile

__all__ = ["audit", "keys"]

keys = typer.Typer(help="Make, list and revoke the API keys of a server.", no_args_is_help=True)
audit = typer.Typer(help="Check the log of who did what.", no_args_is_help=True)

DataDir = Annotated[
    Path | None, typer.Option(help="The server's data folder; by default $DISCGRADE_DATA_DIR, or discgrade-data.")
]
_BROKEN = 1


@keys.command()
def create(
    name: Annotated[str, typer.Option(help="What the key is for, as the audit log shows it: never a person's name.")],
    scope: Annotated[
        list[str], typer.Option(help="What its holder may do: grade, read, jobs, metrics, admin; may be repeated.")
    ],
    rate: Annotated[str | None, typer.Option(help="Calls in a time, such as 60/minute; else the server's.")] = None,
    data_dir: DataDir = None,
) -> None:
    """Make a key and print it: this once, for it is kept only as a hash."""
    with reported():
        file = _key_file(data_dir)
        from gateway.door.principal import Scope

        try:
            scopes = frozenset(Scope(word) for word in scope)
        except ValueError:
            raise typer.BadParameter(f"scopes are {', '.join(Scope)}", param_hint="--scope") from None
        try:
            token = file.create(name, scopes, rate)
        except ValidationError as error:
            wrong = "; ".join(f"{item['loc'][0]}: {item['msg']}" for item in error.errors())
            raise typer.BadParameter(wrong) from None
    _errors.print("Keep this key now; it is not shown again.")
    typer.echo(token)


@keys.command("list")
def list_keys(data_dir: DataDir = None) -> None:
    """Show the keys, without their secrets."""
    with reported():
        found = _key_file(data_dir).all()
    table = Table("Name", "Scopes", "Rate", "Made", "Begins with")
    for key in found:
        made = key.created.strftime("%Y-%m-%d %H:%M UTC")
        table.add_row(key.name, " ".join(sorted(key.scopes)), key.rate or "server's", made, f"dg_{key.id}_")
    Console(highlight=False).print(table)


@keys.command()
def revoke(name: Annotated[str, typer.Argument(help="The key's name.")], data_dir: DataDir = None) -> None:
    """Remove a key; servers that run refuse it from the next call on."""
    with reported():
        _key_file(data_dir).revoke(name)
    _errors.print(f"Revoked: {escape(name)}")


@audit.command()
def verify(
    log: Annotated[Path | None, typer.Argument(help="The log; by default the one of the data folder.")] = None,
    key_file: Annotated[Path | None, typer.Option(help="The key it was written with; by default beside it.")] = None,
    head: Annotated[str | None, typer.Option(help="NUMBER:MAC noted earlier, which the log must still hold.")] = None,
    data_dir: DataDir = None,
) -> None:
    """Check that no line was changed, inserted or removed. Exits with 1, and says where, if one was."""
    with reported():
        settings = settings_from(data_dir=data_dir, audit_log=log, audit_key_file=key_file)
        from gateway.audit import audit_key
        from gateway.audit_verify import verify as check

        path, key_path = settings.audit_files()
        if not path.is_file():
            raise typer.BadParameter("there is no audit log at this path")
        found = check(path, audit_key(key_path, path), head)
    for line in found.torn:
        _errors.print(f"Line {line} was cut off by a crash; nothing that was acknowledged is lost with it.")
    if found.broken is not None:
        _errors.print(f"[bold red]Broken at line {found.broken.line}.[/] {found.broken.reason}")
        raise typer.Exit(_BROKEN)
    _errors.print(f"{found.entries} entries, unbroken. Head:")
    typer.echo(found.head)


def _key_file(data_dir: Path | None) -> KeyFile:
    settings = settings_from(data_dir=data_dir)
    from gateway.door.keys import KeyFile

    return KeyFile(settings.keys_path())
