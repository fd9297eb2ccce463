"""Tables as a stream of rows, each with the place where it stands."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from eval.importers.answer import Place
from eval.tables import read_parquet, reading
from probes.errors import DataError

_CELL = 16 * 2**20
"""Longest cell, in characters; the csv module's own limit is shorter than many answers."""


def rows_of(path: Path) -> Iterator[tuple[Place, dict[str, Any]]]:
    """Rows of a CSV file (may be gzipped), one at a time, or of a Parquet file.

    Raises
    ------
    DataError
        A pickle (which could run code), a file of another kind, no header, or a row of another width.
    """
    if path.suffix in {".pkl", ".pickle"}:
        raise DataError(
            f"{path}: a pickle can run code and is not read.",
            hint="Where you trust it: pandas.read_pickle(FILE).to_parquet('table.parquet').",
        )
    if path.suffix == ".parquet":
        table = read_parquet(path)
        names = list(table.columns)
        for i, cells in enumerate(zip(*table.columns.values(), strict=True)):
            yield Place(path, f"row {table.lines[i]}"), dict(zip(names, cells, strict=True))
        return
    yield from _csv(path)


def need(row: dict[str, Any], column: str, place: Place) -> str:
    """A cell that must hold text."""
    value = row.get(column)
    if value is None:
        found = ", ".join(list(row)[:20])
        raise place.fail(
            column, f"missing (found: {found})", f"Name the column with --columns {column}=NAME."
        )
    if not str(value).strip():
        raise place.fail(column, "the cell is empty", "Fill it in, or leave the row out.")
    return str(value)


def _csv(path: Path) -> Iterator[tuple[Place, dict[str, Any]]]:
    before = csv.field_size_limit(_CELL)
    try:
        with reading(path) as handle:
            reader = csv.reader(handle, strict=True)
            header = _header(path, next(reader, []))
            line = reader.line_num
            for cells in reader:
                place, line = Place(path, f"line {line + 1}"), reader.line_num
                if not cells:
                    continue
                if len(cells) != len(header):
                    problem = f"{len(cells)} cells, but the header names {len(header)} columns"
                    raise DataError(f"{place}: {problem}.", hint="Quote cells that hold commas or breaks.")
                yield place, dict(zip(header, cells, strict=True))
    except csv.Error as error:
        raise DataError(f"{path}: not valid CSV ({error}).", hint="Quote cells that hold commas.") from error
    finally:
        csv.field_size_limit(before)


def _header(path: Path, cells: Sequence[str]) -> list[str]:
    header = [name.strip() for name in cells]
    if not header:
        raise DataError(f"{path}: the file is empty.", hint="The first line must name the columns.")
    if repeated := sorted({name for name in header if header.count(name) > 1}):
        raise DataError(f"{path}, line 1: repeated column {repeated}.", hint="Name each column once.")
    return header
