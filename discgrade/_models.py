"""``discgrade models``: which release of the networks answers."""

from __future__ import annotations

import math
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from discgrade._command import errors as _errors
from discgrade._command import reported, settings_from, suite

if TYPE_CHECKING:
    from export.lifecycle import Lifecycle, ReleaseState

__all__ = ["models"]

models = typer.Typer(
    help="List the releases of the networks; try one on a share of the studies, promote it, or roll back.",
    no_args_is_help=True,
)

Folder = Annotated[
    Path | None,
    typer.Option(help="The model repository; by default $DISCGRADE_MODELS_DIR, or the installed one."),
]
Urls = Annotated[
    list[str] | None,
    typer.Option(
        "--triton-url",
        help="host:port of a server's gRPC service, or of several behind one name; may be repeated. "
        "By default $DISCGRADE_TRITON_URL.",
    ),
]


def _share(text: str) -> float:
    """A share of the studies: ``5%``."""
    try:
        share = float(text.removesuffix("%")) / 100
    except ValueError:
        share = math.nan
    if not text.endswith("%") or not 0 < share < 1:
        raise typer.BadParameter("give a share between 0% and 100%, such as 5%")
    return share


@models.command("list")
def list_releases(repository: Folder = None, urls: Urls = None) -> None:
    """Show every release, and where it stands."""
    with reported():
        lifecycle = _lifecycle(repository, urls)
        table = Table("release", "members", "exported for", "made", "state")
        for state in lifecycle.states():
            about = state.release.about
            table.add_row(
                str(state.release.number),
                ", ".join(f"{name} {version}" for name, version in state.release.members.items()),
                f"{about.get('engine', '')} {about.get('precision', '')}".strip(),
                str(about.get("created", "")),
                _state(state),
            )
    Console(highlight=False).print(table)


@models.command()
def promote(
    release: Annotated[int, typer.Argument(help="Its number, as in discgrade models list.", min=1)],
    repository: Folder = None,
    urls: Urls = None,
) -> None:
    """Let a release answer on every server; no request fails meanwhile."""
    with reported():
        service = _lifecycle(repository, urls).promote(release)
    _errors.print(f"Release {service.release} answers; discgrade models rollback returns to {service.previous}.")


@models.command()
def canary(
    release: Annotated[int, typer.Argument(help="Its number, as in discgrade models list.", min=1)],
    share: Annotated[
        float, typer.Option(parser=_share, metavar="PERCENT", help="Of the studies that it grades, such as 5%.")
    ],
    repository: Folder = None,
    urls: Urls = None,
) -> None:
    """Let a release grade a share of the studies on every server; the release in service grades the others."""
    with reported():
        service = _lifecycle(repository, urls).canary(release, share)
    _errors.print(
        f"Release {release} grades {100 * share:.3g} % of the studies, release {service.release} the others; "
        f"discgrade models promote {release} lets it grade all, discgrade models rollback ends it."
    )


@models.command()
def rollback(repository: Folder = None, urls: Urls = None) -> None:
    """End a canary; where there is none, let the release before answer again."""
    with reported():
        service = _lifecycle(repository, urls).rollback()
    _errors.print(f"Release {service.release} answers again.")


@models.command()
def new(folder: Annotated[Path, typer.Argument(help="Made; must not exist.")]) -> None:
    """Copy the installed model repository, to add releases to."""
    with reported():
        with suite():
            from export.repository import Repository
        Repository.new(folder)
    _errors.print(f"Written to {escape(str(folder))}. Serve it: DISCGRADE_MODELS_DIR={escape(str(folder))}")


def _lifecycle(folder: Path | None, urls: list[str] | None) -> Lifecycle:
    settings = settings_from()
    with suite():
        import model_repository
        from export.lifecycle import Lifecycle
        from export.repository import Repository
    known = [server for url in urls or [settings.triton_url or ""] for server in _servers(url)]
    if not known:
        _errors.print("No --triton-url: only the repository's files are read and changed.")
    return Lifecycle(Repository(folder or settings.models_dir or model_repository.path()), known)


def _servers(url: str) -> list[str]:
    """Each server behind a name: that of a headless Service stands for all replicas, and all must change."""
    host, _, port = url.rpartition(":")
    try:
        found = socket.getaddrinfo(host, int(port), socket.AF_INET, socket.SOCK_STREAM)
    except (OSError, ValueError):
        return [url] if url else []
    addresses = sorted({str(place[0]) for *_, place in found})
    return [f"{address}:{port}" for address in addresses] if len(addresses) > 1 else [url]


def _state(state: ReleaseState) -> str:
    words = ["in service"] if state.in_service else []
    if state.share:
        words.append(f"canary, {100 * state.share:.3g} % of the studies")
    if state.answering:
        words.append(f"answers at {', '.join(state.answering)}")
    elif state.loaded:
        words.append(f"loaded at {', '.join(state.loaded)}")
    return "; ".join(words)
