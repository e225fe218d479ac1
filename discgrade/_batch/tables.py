"""Writes what a batch found as a table, and the key that leads from its pseudonyms back to files and UIDs."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from discgrade._batch.journal import State, Study
from discgrade.result import GradingResult, Pfirrmann, Severity

__all__ = ["COLUMNS", "FORMATS", "write_key", "write_table"]

FORMATS = (".csv", ".jsonl", ".parquet")
_ROWS_AT_ONCE = 1000

COLUMNS: dict[str, type] = {
    "study": str,
    "state": str,
    "problem": str,
    "detail": str,
    "level": str,
    "level_confidence": float,
    "severity": str,
    **{f"p_{severity}": float for severity in Severity},
    "pfirrmann": str,
    **{f"p_{grade}": float for grade in Pfirrmann},
    "label": int,
    "centroid_x_mm_lps": float,
    "centroid_y_mm_lps": float,
    "centroid_z_mm_lps": float,
    "area_mm2": float,
    "volume_mm3": float,
    "height_mm": float,
    "format": str,
    "slices": int,
    "spacing_slices_mm": float,
    "spacing_rows_mm": float,
    "spacing_columns_mm": float,
    "warnings": str,
    "models": str,
    "result_id": str,
    "schema_version": str,
}
"""Columns of the tables with a row a disc, and their types; any but the first two may be empty."""

_KEY_COLUMNS = ("study", "path", "kind", "study_instance_uid", "series_instance_uid")


def write_table(path: Path, studies: Iterable[Study]) -> None:
    """Write all studies that have an end; the file appears at once, or stays as it was.

    CSV and Parquet have a row a disc, and a row without a disc for each study that failed; JSON Lines has a line a
    study, with the result as the server answered it. None names a file, a patient or a UID.

    Args:
        path: Its ending decides the format.
        studies: Read one by one.

    Raises:
        ModuleNotFoundError: Parquet needs pyarrow.
    """
    ended = (study for study in studies if study.state in (State.GRADED, State.FAILED))
    if path.suffix == ".parquet":
        _write_parquet(path, ended)
        return
    with _replacing(path) as part, part.open("w", newline="", encoding="utf-8") as file:
        if path.suffix == ".jsonl":
            for study in ended:
                file.write(json.dumps(_line(study)) + "\n")
        else:
            writer = csv.DictWriter(file, list(COLUMNS))
            writer.writeheader()
            for study in ended:
                writer.writerows(_rows(study))


def write_key(path: Path, studies: Iterable[Study]) -> None:
    """Write which file or folder and which UIDs each pseudonym stands for; readable by its owner only."""
    with _replacing(path) as part, _private(part) as file:
        writer = csv.writer(file)
        writer.writerow(_KEY_COLUMNS)
        for study in studies:
            series = None if study.result is None else _result(study).input.chosen_series
            writer.writerow((study.study, study.path, study.kind, study.uid, series))


def _rows(study: Study) -> Iterator[dict[str, Any]]:
    row: dict[str, Any] = {**dict.fromkeys(COLUMNS), "study": study.study, "state": study.state.value}
    if study.problem is not None:
        problem = json.loads(study.problem)
        yield {**row, "problem": problem["type"].rpartition(":")[2], "detail": problem["detail"]}
        return
    result = _result(study)
    between, rows, columns = result.input.spacing_mm
    row |= {
        "format": result.input.format,
        "slices": result.input.slices,
        "spacing_slices_mm": between,
        "spacing_rows_mm": rows,
        "spacing_columns_mm": columns,
        "warnings": " ".join(warning.code for warning in result.warnings),
        "models": " ".join(f"{model.name}:{model.version}" for model in result.models),
        "result_id": result.result_id,
        "schema_version": result.schema_version,
    }
    for disc in result.discs:
        x, y, z = disc.centroid_mm_lps
        yield row | {
            "level": disc.level,
            "level_confidence": disc.level_confidence,
            "severity": disc.severity.value,
            **{f"p_{name}": disc.severity_probabilities.get(name) for name in Severity},
            "pfirrmann": disc.pfirrmann.value,
            **{f"p_{name}": disc.pfirrmann_probabilities.get(name) for name in Pfirrmann},
            "label": disc.label,
            "centroid_x_mm_lps": x,
            "centroid_y_mm_lps": y,
            "centroid_z_mm_lps": z,
            "area_mm2": disc.area_mm2,
            "volume_mm3": disc.volume_mm3,
            "height_mm": disc.height_mm,
        }


def _line(study: Study) -> dict[str, Any]:
    line: dict[str, Any] = {"study": study.study, "state": study.state.value}
    if study.problem is not None:
        return {**line, "problem": json.loads(study.problem)}
    result = _result(study).model_dump(mode="json")
    del result["input"]["chosen_series"]  # it leads back to the patient; the key has it
    return {**line, "result": result}


def _result(study: Study) -> GradingResult:
    return GradingResult.model_validate_json(study.result or "")


def _write_parquet(path: Path, studies: Iterable[Study]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    kinds = {str: pa.string(), float: pa.float64(), int: pa.int32()}
    schema = pa.schema([(name, kinds[kind]) for name, kind in COLUMNS.items()])
    with _replacing(path) as part, pq.ParquetWriter(part, schema) as writer:
        rows: list[dict[str, Any]] = []
        for study in studies:
            rows += _rows(study)
            if len(rows) >= _ROWS_AT_ONCE:
                writer.write_table(pa.Table.from_pylist(rows, schema))
                rows.clear()
        writer.write_table(pa.Table.from_pylist(rows, schema))


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    part = path.with_name(f".{path.name}.part")
    try:
        yield part
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def _private(path: Path) -> IO[str]:
    path.unlink(missing_ok=True)
    return open(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w", newline="", encoding="utf-8")
