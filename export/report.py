"""The parity report, as JSON and as Markdown."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from export.parity import Parity

__all__ = ["markdown", "write"]


def write(folder: Path, parities: Sequence[Parity], facts: Mapping[str, Any]) -> None:
    """Write ``parity.json`` and ``parity.md``.

    Args:
        folder: Made if it is not there.
        parities: One for each engine and precision.
        facts: What the report opens with: versions, hashes, what was built.
    """
    folder.mkdir(parents=True, exist_ok=True)
    content = {"facts": facts, "parity": [parity.as_json() for parity in parities]}
    (folder / "parity.json").write_text(json.dumps(content, indent=2) + "\n")
    (folder / "parity.md").write_text(markdown(parities, facts))


def markdown(parities: Sequence[Parity], facts: Mapping[str, Any]) -> str:
    """The report for people."""
    first = parities[0]
    lines = [
        "# Parity of exported engines with the trained networks",
        "",
        f"Measured on {first.samples}, {first.discs} discs, and on edge inputs.",
        "The reference is the FP32 network under torch; the limits are in `export/parity.py`.",
        "",
        *(f"- {name}: {value}" for name, value in facts.items()),
        "",
        "| | " + " | ".join(f"{parity.engine}, {parity.precision}" for parity in parities) + " |",
        "| --- |" + " --- |" * len(parities),
    ]
    rows: list[tuple[str, list[str]]] = [
        ("disc Dice, all slices", [f"{p.disc_dice:.5f} (≥ {p.limits.disc_dice})" for p in parities]),
        ("disc Dice, worst slice", [f"{p.slice_dice:.4f} (≥ {p.limits.slice_dice})" for p in parities]),
        ("largest difference of a pixel's disc probability", [f"{p.mask_probability:.3f}" for p in parities]),
        (
            "largest difference of a grade's probability",
            [f"{p.probability:.2g} (≤ {p.limits.probability:g})" for p in parities],
        ),
        ("severities that differ, same crops", [f"{p.severity_flips} of {p.discs}" for p in parities]),
        ("Pfirrmann grades that differ, same crops", [f"{p.pfirrmann_flips} of {p.discs}" for p in parities]),
        ("severities that differ, from end to end", [_chain(p) for p in parities]),
        ("slices with another number of discs", [_counts(p) for p in parities]),
        *(
            (f"edge image “{name}”: pixels that differ", [f"{p.edge_pixels[name]:.3%}" for p in parities])
            for name in first.edge_pixels
        ),
        *(
            (f"edge discs “{name}”: probability", [f"{p.edge_probability[name]:.2g}" for p in parities])
            for name in first.edge_probability
        ),
        ("verdict", ["; ".join(p.failures()) or "within the limits" for p in parities]),
    ]
    lines += [f"| {name} | " + " | ".join(cells) + " |" for name, cells in rows]
    return "\n".join([*lines, ""])


def _chain(parity: Parity) -> str:
    return f"{parity.chain_flips} of {parity.discs} (≤ {parity.limits.flips:.0%})"


def _counts(parity: Parity) -> str:
    return f"{parity.count_changes} of {parity.slices} (≤ {parity.limits.counts:.0%})"
