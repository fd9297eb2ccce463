"""Reading and writing the project's plain tables, with errors that point at the line.

JSON lines and CSV (either may be gzipped) and Parquet become a `Table`: columns of cells plus the line
that each row stands on, so that whoever checks a value can name file, line, column and the fix.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

import numpy as np

from probes.errors import DataError, MissingExtraError
from probes.files import whole_file

Floats = np.ndarray[Any, np.dtype[np.float64]]

_MISSING = frozenset({"", "nan", "null", "none", "na"})


@dataclass(frozen=True)
class Table:
    """Columns of one file.

    Attributes
    ----------
    path : Path
        Where the table was read.
    columns : dict of str to sequence
        Cells by column name; text for CSV, typed values for Parquet.
    lines : sequence of int
        The line (for Parquet, the row) of each cell, counted from 1.
    """

    path: Path
    columns: dict[str, Sequence[Any]]
    lines: Sequence[int]

    def fail(self, row: int, column: str, problem: str, fix: str) -> DataError:
        """An error about one cell, to be raised by the caller."""
        where = f"{self.path}, line {self.lines[row]}, column '{column}'"
        return DataError(f"{where}: {problem}.", param=column, hint=fix)

    def text(self, column: str) -> list[str]:
        """A required column of non-empty text.

        Raises
        ------
        DataError
            The column is missing or a cell is empty.
        """
        if column not in self.columns:
            found = ", ".join(self.columns) or "none"
            raise DataError(
                f"{self.path}: the column '{column}' is missing (found: {found}).",
                param=column,
                hint=f"Add a column named '{column}' to the header and to every row.",
            )
        cells = ["" if cell is None else str(cell) for cell in self.columns[column]]
        for row, cell in enumerate(cells):
            if not cell.strip():
                raise self.fail(row, column, "the cell is empty", "Fill it in, or leave the row out.")
        return cells

    def numbers(
        self, column: str, *, low: float = 0.0, high: float = float("inf"), required: bool = False
    ) -> Floats:
        """A column of numbers in [low, high]; NaN where an optional cell is empty.

        Raises
        ------
        DataError
            A required column or cell is missing, or a cell is no number in the range.
        """
        if column not in self.columns:
            if required:
                self.text(column)
            return np.full(len(self.lines), np.nan)
        values = np.empty(len(self.lines))
        for row, cell in enumerate(self.columns[column]):
            if cell is None or (isinstance(cell, str) and cell.strip().lower() in _MISSING):
                values[row] = np.nan
                continue
            try:
                values[row] = float(cell)
            except (TypeError, ValueError):
                fix = f"Write a number from {low:g} to {high:g}."
                raise self.fail(row, column, f"{str(cell)[:40]!r} is not a number", fix) from None
        self._check_range(column, values, low, high, required)
        return values

    def _check_range(self, column: str, values: Floats, low: float, high: float, required: bool) -> None:
        if required and np.isnan(values).any():
            row = int(np.flatnonzero(np.isnan(values))[0])
            fix = "Fill it in; where there is none, as when a candidate did not answer, leave the row out."
            raise self.fail(row, column, "the value is missing or NaN", fix)
        outside = ~((values >= low) & (values <= high) & np.isfinite(values)) & ~np.isnan(values)
        if outside.any():
            row = int(np.flatnonzero(outside)[0])
            limits = f"[{low:g}, {high:g}]" if np.isfinite(high) else f"[{low:g}, ∞)"
            fix = f"'{column}' must be a finite number in {limits}."
            raise self.fail(row, column, f"{values[row]:g} is outside {limits}", fix)


def find(folder: Path, stem: str, suffixes: Sequence[str]) -> Path | None:
    """The first existing file ``folder/stem + suffix``, or None."""
    return next((folder / (stem + s) for s in suffixes if (folder / (stem + s)).is_file()), None)


@contextmanager
def reading(path: Path) -> Iterator[IO[str]]:
    """Open a text file, gzipped or not; unreadable content becomes a `DataError`."""
    try:
        opener = gzip.open if path.suffix == ".gz" else open
        with cast(IO[str], opener(path, "rt", encoding="utf-8-sig", newline="")) as handle:
            yield handle
    except UnicodeDecodeError as exc:
        raise DataError(f"{path}: byte {exc.start} is not UTF-8.", hint="Save the file as UTF-8.") from exc
    except (gzip.BadGzipFile, zlib.error, EOFError) as exc:
        raise DataError(f"{path}: damaged gzip file ({exc}).", hint="Write or copy the file again.") from exc
    except OSError as exc:
        reason = exc.strerror or str(exc)
        raise DataError(f"{path}: cannot be read ({reason}).", hint="Check the path.") from exc


def read_json_lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (line number, object) for every non-blank line.

    Raises
    ------
    DataError
        A line is not a JSON object.
    """
    with reading(path) as handle:
        for line, text in enumerate(handle, start=1):
            if not text.strip():
                continue
            try:
                value = json.loads(text)
            except json.JSONDecodeError as exc:
                raise DataError(
                    f"{path}, line {line}: not valid JSON ({exc.msg} at character {exc.pos + 1}).",
                    hint="Each line must be one complete JSON object.",
                ) from exc
            if not isinstance(value, dict):
                raise DataError(
                    f"{path}, line {line}: a JSON object was expected, not {type(value).__name__}.",
                    hint='Write one object a line, as {"query_id": "q1", "prompt": "…"}.',
                )
            yield line, value


def read_csv(path: Path) -> Table:
    """Read a CSV file with a header.

    Raises
    ------
    DataError
        No header, a repeated column, a row of another width, or text that is no CSV.
    """
    rows, lines = [], []
    try:
        with reading(path) as handle:
            reader = csv.reader(handle)
            header = [name.strip() for name in next(reader, [])]
            for row in reader:
                if row:
                    rows.append(row)
                    lines.append(reader.line_num)
    except csv.Error as exc:
        raise DataError(f"{path}: not valid CSV ({exc}).", hint="Quote cells that hold commas.") from exc
    if not header:
        raise DataError(f"{path}: the file is empty.", hint="The first line must name the columns.")
    if repeated := {name for name in header if header.count(name) > 1}:
        raise DataError(f"{path}, line 1: repeated column {sorted(repeated)}.", hint="Name each column once.")
    for row, line in zip(rows, lines, strict=True):
        if len(row) != len(header):
            raise DataError(
                f"{path}, line {line}: {len(row)} cells, but the header names {len(header)} columns.",
                hint="Give every row one cell a column; quote cells that hold commas.",
            )
    columns = list(zip(*rows, strict=True)) if rows else [()] * len(header)
    return Table(path, dict(zip(header, columns, strict=True)), lines)


def read_parquet(path: Path) -> Table:
    """Read a Parquet file (needs the ``eval`` extra).

    Raises
    ------
    DataError
        The file is no Parquet file.
    """
    try:
        import polars
    except ImportError as exc:
        raise MissingExtraError(
            f"{path}: reading Parquet needs polars.", hint='pip install "foresight-router[eval]"'
        ) from exc
    try:
        frame = polars.read_parquet(path)
    except (polars.exceptions.PolarsError, OSError) as exc:
        raise DataError(f"{path}: not a readable Parquet file ({exc}).", hint="Write it again.") from exc
    columns = {name: frame[name].to_list() for name in frame.columns}
    return Table(path, columns, range(1, frame.height + 1))


def write_atomically(path: Path, write: Callable[[IO[str]], None]) -> None:
    """Write a text file (gzipped when its name says so) that is either the old one or complete.

    The content goes to a temporary file in the same folder, is synced, and takes the name last.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as fresh, fresh.open("wb") as raw:
        # No time stamp inside the gzip header: equal content gives equal bytes.
        binary = gzip.GzipFile("", "wb", fileobj=raw, mtime=0) if path.suffix == ".gz" else raw
        text = io.TextIOWrapper(cast(IO[bytes], binary), encoding="utf-8", newline="")
        write(text)
        text.flush()
        text.detach()
        if binary is not raw:
            binary.close()


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write a CSV file atomically."""

    def write(handle: IO[str]) -> None:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)

    write_atomically(path, write)


def write_json_lines(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    """Write JSON lines atomically."""
    write_atomically(
        path, lambda handle: handle.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    )
