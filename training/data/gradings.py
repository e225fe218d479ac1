"""The data sets' two tables: what radiologists graded, and how the series were acquired."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from discgrade.errors import UnreadableFile
from training.data.series import Acquisition

__all__ = ["FINDINGS", "Grading", "read_acquisitions", "read_gradings", "read_rows"]

FINDINGS = (
    "modic",
    "upper_endplate",
    "lower_endplate",
    "spondylolisthesis",
    "herniation",
    "narrowing",
    "bulging",
)
"""What is graded beside the Pfirrmann grade, each present or not; Modic: any of the three types."""

_COLUMNS = {
    "patient": ("patient",),
    "disc": ("ivd_label",),
    "pfirrmann": ("pfirrmann", "pfirrman_grade", "pfirrmann_grade"),
    "modic": ("modic",),
    "upper_endplate": ("upper_endplate", "up_endplate"),
    "lower_endplate": ("lower_endplate", "low_endplate"),
    "spondylolisthesis": ("spondylolisthesis",),
    "herniation": ("disc_herniation",),
    "narrowing": ("disc_narrowing",),
    "bulging": ("disc_bulging",),
}
"""Names of each column, in lower case with underscores: of spider2d, and of the release of SPIDER."""


@dataclass(frozen=True)
class Grading:
    """What was graded of one disc.

    Attributes:
        pfirrmann: 1 to 5, or None.
        findings: By name of :data:`FINDINGS`, for those that were graded.
    """

    pfirrmann: int | None
    findings: dict[str, bool]


def read_rows(path: Path) -> list[dict[str, str]]:
    """Read a table; names of columns come in lower case with underscores, cells stripped.

    Raises:
        UnreadableFile: It cannot be read.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UnreadableFile(f"{path.name} of the data set cannot be read.", "Check the folder.") from error
    lines = text.splitlines()
    delimiter = ";" if lines and lines[0].count(";") > lines[0].count(",") else ","
    reader = csv.reader(lines, delimiter=delimiter)
    names = [name.strip().lower().replace(" ", "_") for name in next(reader, [])]
    return [dict(zip(names, (cell.strip() for cell in row), strict=False)) for row in reader if any(row)]


def read_gradings(path: Path) -> dict[str, dict[int, Grading]]:
    """Gradings by patient and disc, counted from the bottom (1 = L5/S1).

    A disc numbered 0 lies below L5/S1 (between sacral segments) and is left out, as are rows without a number.

    Raises:
        UnreadableFile: The table cannot be read, or lacks patient, disc or Pfirrmann grade.
    """
    rows = read_rows(path)
    known = set(rows[0]) if rows else set()
    column = {field: next((name for name in names if name in known), None) for field, names in _COLUMNS.items()}
    patient, disc, grade = column["patient"], column["disc"], column["pfirrmann"]
    if patient is None or disc is None or grade is None:
        missing = ", ".join(field for field in ("patient", "disc", "pfirrmann") if column[field] is None)
        raise UnreadableFile(f"{path.name} of the data set has no column for {missing}.", "See docs/training.md.")
    gradings: dict[str, dict[int, Grading]] = {}
    for row in rows:
        number = _whole(row.get(disc, ""))
        pfirrmann = _whole(row.get(grade, ""))
        if number is None or number < 1:
            continue
        findings = dict(_findings(row, column))
        kept = pfirrmann if pfirrmann is not None and 1 <= pfirrmann <= 5 else None
        name = _whole(row.get(patient, ""))
        gradings.setdefault(row[patient] if name is None else str(name), {})[number] = Grading(kept, findings)
    return gradings


def _findings(row: dict[str, str], column: dict[str, str | None]) -> Iterator[tuple[str, bool]]:
    for finding in FINDINGS:
        value = _whole(row.get(column[finding] or "", ""))
        if value is not None:
            yield finding, value > 0


def read_acquisitions(path: Path) -> dict[str, tuple[Acquisition, dict[str, str]]]:
    """How each series was made, and its row, by the name of the series.

    Raises:
        UnreadableFile: The table cannot be read.
    """
    return {row["new_file_name"]: (_acquisition(row), row) for row in read_rows(path) if row.get("new_file_name")}


def _acquisition(row: dict[str, str]) -> Acquisition:
    # One maker signs with its name of then and of now.
    maker = {"SIEMENS": "Siemens"}.get(row.get("manufacturer", ""), row.get("manufacturer", "").split(" ")[0])
    model = row.get("manufacturermodelname", "").replace("_", " ")
    try:
        strength = f"{float(row.get('magneticfieldstrength', '')):g} T"
    except ValueError:
        strength = ""
    return Acquisition(row.get("sex", ""), f"{maker} {model}".strip(), strength)


def _whole(cell: str) -> int | None:
    try:
        return int(float(cell))
    except (ValueError, OverflowError):
        return None
