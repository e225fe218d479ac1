"""``discgrade batch``."""

from __future__ import annotations

import asyncio
import json
import signal
from collections import Counter
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from discgrade._batch.find import files_below, identify
from discgrade._batch.journal import Journal, State
from discgrade._batch.run import PATIENT, run
from discgrade._batch.tables import FORMATS, write_key, write_table
from discgrade._command import INPUT_PROBLEM, SERVICE_PROBLEM, errors, exit_with
from discgrade.client import AsyncClient
from discgrade.errors import DiscgradeError

__all__ = ["batch"]

_INTERRUPTED = 130
_LINES = 20
"""Lines of progress in all, where there is no terminal."""


def batch(
    folder: Annotated[Path, typer.Argument(help="Studies in any tree of files.", exists=True, file_okay=False)],
    out: Annotated[Path, typer.Option(help="The table to write: .parquet, .csv or .jsonl.")],
    url: Annotated[str, typer.Option(help="The discgrade server.", envvar="DISCGRADE_URL")] = "http://127.0.0.1:8000",
    api_key: Annotated[
        str | None, typer.Option(help="API key or access token.", envvar="DISCGRADE_API_KEY", show_envvar=True)
    ] = None,
    at_once: Annotated[int, typer.Option(help="Most studies sent or waited for at a time.", min=1, max=256)] = 8,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Try again what could not be graded before.")
    ] = False,
) -> None:
    """Grade every study below a folder; run it again to go on after an interruption.

    DICOM files are grouped by study; a zip or a NIfTI file is a study. Studies appear in the table under a keyed hash;
    OUT.key.csv says which files and UIDs they are, and OUT.journal what is done: keep both to yourself.

    Exits with 2 if studies could not be graded, with 1 if discgrade failed or not all were tried.
    """
    _check(out)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    journal_path, key_path = (out.with_name(out.name + end) for end in (".journal", ".key.csv"))
    leave_out = frozenset(path.absolute() for path in (out, key_path, journal_path))
    stopped: DiscgradeError | KeyboardInterrupt | None = None
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with Journal(journal_path, folder) as journal:
            with errors.status("looking for studies"):
                _, other = journal.scan(files_below(folder, leave_out), lambda name: identify(folder, name))
            journal.again(lambda problem: retry_failed or json.loads(problem)["status"] >= 500)
            try:
                with _Shown(journal) as shown:
                    asyncio.run(_run(journal, url, api_key, at_once, shown))
            except (DiscgradeError, KeyboardInterrupt) as error:
                stopped = error
            write_table(out, journal.studies())
            write_key(key_path, journal.studies())
            status = _sum_up(journal, out, other)
    except DiscgradeError as error:
        raise exit_with(error) from error
    if isinstance(stopped, DiscgradeError):
        exit_with(stopped)
        status = SERVICE_PROBLEM
    if stopped is not None:
        errors.print("Stopped. The same command goes on where it was.")
        raise typer.Exit(_INTERRUPTED if isinstance(stopped, KeyboardInterrupt) else status)
    raise typer.Exit(status)


async def _run(journal: Journal, url: str, api_key: str | None, at_once: int, shown: _Shown) -> None:
    async with AsyncClient(url, api_key=api_key, retry=PATIENT) as client:
        await run(journal, client, at_once, shown.tell)


def _check(out: Path) -> None:
    if out.suffix not in FORMATS:
        raise typer.BadParameter(f"--out must end with {', '.join(FORMATS)}")
    if out.suffix == ".parquet" and find_spec("pyarrow") is None:
        raise typer.BadParameter("Parquet needs pyarrow: pip install 'discgrade[parquet]', or choose .csv")


class _Rate(ProgressColumn):
    """Studies per minute."""

    def render(self, task: Task) -> Text:
        return Text("" if task.speed is None else f"{task.speed * 60:.0f}/min")


class _Shown:
    """Progress: a bar on a terminal, a line now and then elsewhere."""

    def __init__(self, journal: Journal) -> None:
        self._total = len(journal.open_studies())
        self._done = self._failed = 0
        self._bar = Progress(
            TextColumn("grading"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            _Rate(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[failed]} failed"),
            console=errors,
            transient=True,
            disable=not errors.is_terminal,
            speed_estimate_period=120,
        )
        self._task = self._bar.add_task("", total=self._total, failed=0)

    def __enter__(self) -> _Shown:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def tell(self, state: State) -> None:
        """Count a study that has ended."""
        self._done += 1
        self._failed += state is State.FAILED
        self._bar.update(self._task, advance=1, failed=self._failed)
        if not errors.is_terminal and self._done * _LINES // self._total > (self._done - 1) * _LINES // self._total:
            errors.print(f"{self._done} of {self._total} studies, {self._failed} failed")


def _sum_up(journal: Journal, out: Path, other: int) -> int:
    """Print what was done; returns the exit status."""
    console = Console(highlight=False)
    counts = journal.counts()
    problems: Counter[tuple[int, str]] = Counter()
    examples: dict[tuple[int, str], str] = {}
    for study in journal.studies():
        if study.problem is not None:
            problem = json.loads(study.problem)
            which = problem["status"], problem["title"]
            problems[which] += 1
            examples.setdefault(which, study.study)
    table = Table("studies", "", "for example", box=None, show_header=bool(problems), header_style="dim")
    table.add_row(str(counts[State.GRADED]), "graded", "")
    for (status, title), count in problems.most_common():
        table.add_row(str(count), f"failed ({status}): {escape(title)}", examples[status, title])
    missing = counts[State.WAITING] + counts[State.SUBMITTED]
    if missing:
        table.add_row(str(missing), "not tried yet", "")
    console.print(table)
    if other:
        console.print(f"{other} other files were passed over: neither DICOM images nor zip nor NIfTI.")
    console.print(f"Table: [bold]{escape(str(out))}[/], key to its studies: {escape(out.name)}.key.csv", soft_wrap=True)
    if missing or any(status >= 500 for status, _ in problems):
        return SERVICE_PROBLEM
    return INPUT_PROBLEM if problems else 0
