"""A graded study as a table."""

from __future__ import annotations

from collections.abc import Mapping

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from discgrade._figures import whole
from discgrade.result import Disc, GradingResult, Pfirrmann, Severity

__all__ = ["show"]

_STYLES = {Severity.MILD: "cyan", Severity.MODERATE: "yellow", Severity.SEVERE: "bold red"}


def show(console: Console, result: GradingResult, phantom: Mapping[str, Pfirrmann] | None = None) -> None:
    """Print a result: what was read, one row a disc from top to bottom, warnings, and the disclaimer.

    Args:
        console: Where to print.
        result: What to print.
        phantom: Of a phantom, the grade that the disc of each level was made with.
    """
    source = result.input
    step, rows, columns = source.spacing_mm
    slices = "1 slice" if source.slices == 1 else f"{source.slices} slices, {step:g} mm apart"
    console.print(f"[bold]{source.format}[/], {slices}, pixels {rows:g} × {columns:g} mm", soft_wrap=True)
    console.print(escape(source.chosen_because), style="dim", soft_wrap=True)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("Level")
    table.add_column("sure", justify="right")
    table.add_column("Severity")
    table.add_column("Pfirrmann")
    if phantom is not None:
        table.add_column("made\nas")
    for name in ("height\nmm", "area\nmm²", "volume\nmm³"):
        table.add_column(name, justify="right")
    for disc in result.discs:
        table.add_row(*_row(disc, phantom))
    console.print()
    console.print(table)
    console.print()
    if phantom is not None:
        truth = "'made as' is the Pfirrmann grade each disc was drawn with."
        console.print(f"[bold]A phantom, not a patient:[/] {truth}", soft_wrap=True)
    for warning in result.warnings:
        console.print(f"[yellow]Note:[/] {escape(warning.message)}", soft_wrap=True)
    seconds = result.timings_ms["total"] / 1000
    console.print(f"Graded in {seconds:.1f} s. [bold]{escape(result.disclaimer)}[/]", soft_wrap=True)


def _row(disc: Disc, phantom: Mapping[str, Pfirrmann] | None) -> tuple[str, ...]:
    style = _STYLES[disc.severity]
    made_as = () if phantom is None else (phantom[disc.level].value if disc.level in phantom else "–",)
    return (
        f"[bold]{escape(disc.level)}[/]",
        _percent(disc.level_confidence),
        f"[{style}]{disc.severity.value}[/] {_percent(disc.severity_probabilities[disc.severity])}",
        f"[{style}]{disc.pfirrmann.value}[/] {_percent(disc.pfirrmann_probabilities[disc.pfirrmann])}",
        *made_as,
        f"{disc.height_mm:.1f}",
        f"{whole(disc.area_mm2)}",
        "–" if disc.volume_mm3 is None else f"{whole(disc.volume_mm3)}",
    )


def _percent(share: float) -> str:
    return f"{whole(100 * share)}%"
