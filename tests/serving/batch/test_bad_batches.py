"""What strangers give a job: broken tables, goals out of reach, full disks; told before money is spent."""

from __future__ import annotations

import math
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from probes.errors import UsageError
from router.allocation.spending import ForAccuracy, ForBudget, ForPolicy, Goal
from serving.batch.place import Place
from tests.serving.batch.test_batch import Echo, line, make_pool, rows, run, write_job

FREE = ForPolicy(None)


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """A disk with room for so many bytes a file."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    previous = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, previous)


def refused(path: Path, goal: Goal = FREE, output: Path | None = None) -> str:
    """What a job says that is refused before anything is asked."""
    pool = make_pool()
    echo = Echo(pool)
    with pytest.raises(UsageError) as told:
        run(path, output or path.with_name("out.jsonl"), goal, echo=echo, pool=pool)
    assert echo.asked == []
    place = output or path.with_name("out.jsonl")
    assert place == path or place.is_symlink() or not place.exists()
    return f"{told.value.message} {told.value.hint}"


def parquet(path: Path, **columns: list[Any]) -> Path:
    pyarrow.parquet.write_table(pyarrow.table(columns), path)
    return path


CSV = {
    "no prompt column": (b"question\nwhat\n", "no column 'prompt' (found: question)"),
    "nothing": (b"", "no column 'prompt' (found: none)"),
    "a head only": (b"prompt\n", "has no rows"),
    "latin-1": ("prompt\nschön\n".encode("latin-1"), "is not UTF-8 text"),
    "utf-16": ("prompt\neasy\n".encode("utf-16"), "is not UTF-8 text"),
    "a quote that never ends": (b'prompt\nfine\n"never closed\n', "line 2: not valid CSV"),
}


@pytest.mark.parametrize("name", CSV)
def test_a_broken_csv_is_told(tmp_path: Path, name: str) -> None:
    content, told = CSV[name]
    (tmp_path / "in.csv").write_bytes(content)
    assert told in refused(tmp_path / "in.csv")


def test_a_broken_parquet_is_told(tmp_path: Path) -> None:
    assert "no column 'prompt' (found: q)" in refused(parquet(tmp_path / "none.parquet", q=["a"]))
    assert "row 2: not UTF-8" in refused(parquet(tmp_path / "bytes.parquet", prompt=[b"easy", b"\xff\xfe"]))
    assert "has no rows" in refused(parquet(tmp_path / "empty.parquet", prompt=[]))
    (tmp_path / "text.parquet").write_text("easy")
    assert "not a readable Parquet" in refused(tmp_path / "text.parquet")
    whole = parquet(tmp_path / "rotten.parquet", prompt=[f"easy {i}" for i in range(4000)])
    content = bytearray(whole.read_bytes())
    content[200:4000] = b"\x99" * 3800
    whole.write_bytes(content)
    assert "not a readable Parquet" in refused(whole)


def test_gaps_in_a_table_are_named_row_by_row(tmp_path: Path) -> None:
    path, output = tmp_path / "in.CSV", tmp_path / "out.jsonl"
    path.write_text("custom_id,prompt,max_tokens\na,easy,16.0\nb,,8\nc,  ,\nd,easy,many\ne,easy 1,\n")
    told = refused(path)
    assert "3 lines cannot be run" in told
    assert "line 2: there is no prompt" in told
    assert "line 4: `max_tokens`" in told
    assert run(path, output, FREE, skip_bad=True).answered == 2
    assert [(row["custom_id"], row["line"]) for row in rows(Place(output).errors)] == [
        ("b", 2),
        ("c", 3),
        ("d", 4),
    ]
    gaps = parquet(
        tmp_path / "in.parquet",
        prompt=["easy", None, "easy 2", "easy 3"],
        custom_id=[7.0, 8.0, math.nan, None],
        max_tokens=[16.0, None, math.nan, None],
    )
    run(gaps, tmp_path / "b.jsonl", FREE, skip_bad=True)
    assert [row["custom_id"] for row in rows(tmp_path / "b.jsonl")] == ["7", "line-3", "line-4"]
    (fault,) = rows(Place(tmp_path / "b.jsonl").errors)
    assert (fault["custom_id"], fault["line"]) == ("8", 2)
    numbers = parquet(tmp_path / "nan.parquet", prompt=[1.5, math.nan, None])
    assert "2 lines cannot be run: line 2: there is no prompt" in refused(
        numbers, output=tmp_path / "c.jsonl"
    )


def test_a_long_cell_is_a_question_like_any_other(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text(f'prompt\n"easy {"x" * 200_000}, and\n""so on"""\n')
    assert run(tmp_path / "in.csv", tmp_path / "out.jsonl", FREE).answered == 1


def test_what_is_wrong_with_a_line_is_said_of_the_line(tmp_path: Path) -> None:
    path = write_job(tmp_path / "in.jsonl", 5)
    path.write_text(path.read_text() + "{nonsense\n" + line("m", "easy", messages=[]))
    told = refused(path)
    assert "line 6: not valid JSON: Expecting property name enclosed in double quotes at column 2" in told
    assert "line 7: there is no prompt" in told


@pytest.mark.parametrize("own", [False, True])
def test_a_goal_out_of_reach_is_told_in_the_terms_of_the_whole_job(tmp_path: Path, own: bool) -> None:
    path = tmp_path / "in.jsonl"
    named = [line(f"n{i}", "easy", model="large") for i in range(5)]
    path.write_text("\n".join([*named, *([] if own else [line(f"q{i}", "easy") for i in range(5)])]))
    told = refused(path, ForBudget(1e-4))
    assert "the budget is $0.0001." in told
    least = float(told.split("cost $")[1].split(";")[0])
    assert run(path, tmp_path / "enough.jsonl", ForBudget(1.01 * least)).failed == 0
    told = refused(path, ForAccuracy(0.99))
    assert "the floor is 0.99." in told
    reach = float(told.split("reach is ")[1].split(";")[0])
    assert reach == pytest.approx(0.95, abs=1e-3)


@pytest.mark.parametrize("room", [100, 2000])
def test_no_room_for_the_survey_is_told(tmp_path: Path, room: int) -> None:
    path = write_job(tmp_path / "in.jsonl", 100)
    run(write_job(tmp_path / "warm.jsonl", 5), tmp_path / "warm.out.jsonl", FREE)
    with files_of_at_most(room):
        assert "cannot be written: File too large" in refused(path)
    assert run(path, tmp_path / "out.jsonl", FREE).answered == 100


def test_no_room_for_the_copy_of_a_table_is_told(tmp_path: Path) -> None:
    table = parquet(tmp_path / "in.parquet", prompt=[f"easy {i}" for i in range(1000)])
    with files_of_at_most(20_000):
        assert "lines.jsonl cannot be written: File too large" in refused(table)
    assert run(table, tmp_path / "out.jsonl", FREE).answered == 1000


def test_an_output_never_takes_the_place_of_its_input(tmp_path: Path) -> None:
    path = write_job(tmp_path / "in.jsonl", 5)
    before = path.read_bytes()
    assert "is the input itself" in refused(path, output=path)
    (tmp_path / "link.jsonl").symlink_to(path)
    assert "is the input itself" in refused(path, output=tmp_path / "link.jsonl")
    errors = path.rename(tmp_path / "x.errors.jsonl")
    assert "is the input itself" in refused(errors, output=tmp_path / "x.jsonl")
    assert errors.read_bytes() == before


def test_two_gigabytes_without_a_line_are_read_in_little_memory(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    with path.open("wb") as handle:
        handle.truncate(2 << 30)
        handle.seek(0, 2)
        handle.write(b"\n" + line("last", "easy").encode())
    code = (
        "import sys; from pathlib import Path; from serving.batch.reading.lines import LineReader\n"
        "print(*(type(item).__name__ for item in LineReader(Path(sys.argv[1]))))\n"
        "print(*(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    *found, peak_kib = done.stdout.split()
    assert found == ["Fault", "Line"]
    assert int(peak_kib) < 300_000


def test_a_line_that_is_not_read_and_may_not_go_to_the_safe_candidate_stops_no_other(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    alone = {"foresight": {"exclude": ["large"]}}
    path.write_text("\n".join([line("a", "easy"), line("b", "explode", **alone), line("c", "explode")]))
    assert run(path, tmp_path / "out.jsonl", FREE).failed == 0
    served = {
        row["custom_id"]: row["response"]["body"]["choices"][0]["message"]["content"].rpartition(": ")[0]
        for row in rows(tmp_path / "out.jsonl")
    }
    assert served == {"a": "small", "b": "small:think", "c": "large"}
