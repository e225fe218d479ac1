"""``discgrade dicom-node``: between a PACS and a gateway."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from discgrade._command import reported
from discgrade.errors import InferenceUnavailable, NotFound

if TYPE_CHECKING:
    from gateway.dicom_node.inbox import Inbox
    from gateway.dicom_node.outbox import Outbox
    from gateway.dicom_node.settings import NodeSettings

__all__ = ["node"]

node = typer.Typer(help="Take studies from a PACS by DICOM, have them graded, send the results back.")
Config = Annotated[
    Path, typer.Option(help="The node's TOML file; see docs/integration.md.", envvar="DISCGRADE_NODE_CONFIG")
]
_CONFIG = Path("dicom-node.toml")


@contextmanager
def _packages() -> Iterator[None]:
    try:
        yield
    except ModuleNotFoundError as error:
        raise InferenceUnavailable(
            f"This needs the package {error.name}, which is not installed.", "pip install 'discgrade[dicom-node]'"
        ) from error


@node.callback(invoke_without_command=True)
def main(context: typer.Context, config: Config = _CONFIG) -> None:
    """Run the node: C-ECHO and C-STORE in, jobs to the gateway, SEG, SR and pictures out."""
    with reported():
        with _packages():
            from gateway.dicom_node.settings import load_settings

            context.obj = load_settings(config)
        if context.invoked_subcommand is None:
            with _packages():
                from gateway.dicom_node.node import run
            run(context.obj)


@node.command()
def studies(context: typer.Context) -> None:
    """List studies that are on disk; they are named by keyed hashes."""
    with reported(), _stores(context.obj) as (inbox, _):
        heads = ("study", "revision", "state", "objects", "last object", "sent whole", "problem")
        _show(heads, inbox.listing())


@node.command()
def release(context: typer.Context, study: Annotated[str, typer.Argument(help="As `studies` names it.")]) -> None:
    """Have a study graded that is held, because its sending was cut off."""
    with reported(), _stores(context.obj) as (inbox, _):
        if not inbox.release(study):
            raise NotFound("No study of this name is held.", "List them: discgrade dicom-node studies.")


@node.command()
def outbox(context: typer.Context) -> None:
    """List objects that no destination has taken yet."""
    with reported(), _stores(context.obj) as (_, letters):
        from gateway.dicom_node.outbox import Letter

        heads = ("number", "study", "destination", "object", "state", "attempts", "refusals", "reason", "next attempt")
        _show(
            heads,
            [
                (
                    *(str(item.number), item.study, item.destination, item.name, item.state.value),
                    *(str(item.attempts), str(item.refusals), item.reason or ""),
                    "" if item.state is Letter.DEAD else f"{datetime.fromtimestamp(item.due):%F %T}",
                )
                for item in letters.all(Letter.WAITING, Letter.DEAD)
            ],
        )


@node.command()
def retry(
    context: typer.Context,
    number: Annotated[int | None, typer.Argument(help="As `outbox` numbers it; all when omitted.")] = None,
) -> None:
    """Send objects of the outbox at once, those that were refused for good included."""
    with reported(), _stores(context.obj) as (_, letters):
        count = letters.retry(number)
        if not count and number is not None:
            raise NotFound("The outbox has nothing of this number.", "List it: discgrade dicom-node outbox.")
        typer.echo(f"{count} to be sent.")


def _show(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table that is never cut off, whatever reads it."""
    table = Table(*heads, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*row)
    Console(highlight=False, width=max(len("  ".join(line)) for line in (heads, *rows)) + 80).print(table)


@node.command()
def discard(
    context: typer.Context,
    what: Annotated[str, typer.Argument(help="A held study, or the number of an object that was refused for good.")],
) -> None:
    """Give up a study that is held, or an object that was refused for good."""
    with reported(), _stores(context.obj) as (inbox, letters):
        if not (letters.discard(int(what)) if what.isdecimal() and len(what) < 19 else inbox.discard(what)):
            raise NotFound("No study is held, and no object was refused for good, under this name.")


@contextmanager
def _stores(settings: NodeSettings) -> Iterator[tuple[Inbox, Outbox]]:
    with _packages():
        from gateway.dicom_node.database import Database
        from gateway.dicom_node.inbox import Inbox
        from gateway.dicom_node.outbox import Outbox
    database = Database(settings.data_dir, exclusive=False)
    try:
        yield Inbox(database, settings), Outbox(database)
    finally:
        database.close()
