"""Formats by the names that the command line uses."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from eval.importers.answer import Answer, Options, Source
from eval.importers.graded_csv import read_graded_csv
from eval.importers.inspect_log import read_inspect_log
from eval.importers.lm_eval import read_lm_eval
from eval.importers.wide_table import read_routellm, read_routerbench
from probes.errors import DataError, UsageError

Reader = Callable[[Source, Options], Iterator[Answer]]

KINDS: dict[str, tuple[Reader, tuple[str, ...]]] = {
    "lm-eval": (read_lm_eval, ("samples_*.jsonl", "samples_*.jsonl.gz")),
    "inspect": (read_inspect_log, ("*.eval", "*.json")),
    "routerbench": (read_routerbench, ("*.csv", "*.csv.gz", "*.parquet")),
    "routellm": (read_routellm, ("*.csv", "*.csv.gz")),
    "csv": (read_graded_csv, ("*.csv", "*.csv.gz")),
}
"""A reader, and the files of a folder that it reads."""


def import_answers(kind: str, sources: Sequence[Source], options: Options | None = None) -> Iterator[Answer]:
    """Read the answers of all files, folders included, one after the other.

    Raises
    ------
    UsageError
        No such kind.
    DataError
        A path that is not there, a folder without such files, or a file that is not of this kind.
    """
    if kind not in KINDS:
        raise UsageError(f"There is no kind {kind!r}.", param="KIND", hint=f"One of: {', '.join(KINDS)}.")
    reader, patterns = KINDS[kind]
    files = [file for source in sources for file in _files(source, patterns)]
    return _all(reader, files, options or Options())


def _all(reader: Reader, files: Iterable[Source], options: Options) -> Iterator[Answer]:
    for file in files:
        yield from reader(file, options)


def _files(source: Source, patterns: Sequence[str]) -> list[Source]:
    if source.path.is_file():
        return [source]
    if not source.path.is_dir():
        raise DataError(f"{source.path} does not exist.", hint="Give files or folders.")
    found = sorted({path for pattern in patterns for path in source.path.rglob(pattern) if path.is_file()})
    if not found:
        names = " or ".join(patterns)
        raise DataError(f"{source.path} holds no {names}.", hint="Give the folder that holds the logs.")
    return [Source(Path(path), source.candidate) for path in found]
