"""Code that a model wrote: run only when allowed, within limits, and gone afterwards."""

from __future__ import annotations

import subprocess
import time

import pytest

from eval.grading.graders import RUN_CODE, grade
from eval.grading.sandbox import Limits, isolates, run_python
from probes.errors import UsageError

TESTS = "assert double(2) == 4\nassert double(-1) == -2"


@pytest.fixture
def allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(RUN_CODE, "1")


def test_code_is_not_run_unless_it_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(RUN_CODE, raising=False)
    with pytest.raises(UsageError, match="not been allowed"):
        grade("code", "def double(x): return 2 * x", TESTS)


@pytest.mark.usefixtures("allowed")
@pytest.mark.parametrize(
    ("answer", "score"),
    [
        ("Here it is:\n```python\ndef double(x):\n    return 2 * x\n```\nDone.", 1),
        ("```python\ndef double(x): return 0\n```\nNo:\n```\ndef double(x): return x + x\n```", 1),
        ("def double(x): return 2 * x", 1),
        ("```python\ndef double(x):\n    return x ** 2\n```", 0),
        ("```python\nraise SystemExit(0)\n```", 0),
        ("```python\nimport os\nos._exit(0)\n```", 0),
        ("I cannot do that.", 0),
    ],
)
def test_an_answer_is_right_when_every_assertion_passes(answer: str, score: float) -> None:
    assert grade("code", answer, TESTS) == score


@pytest.mark.usefixtures("allowed")
def test_a_reference_that_is_no_program_is_refused() -> None:
    with pytest.raises(UsageError, match="needs a Python program"):
        grade("code", "x = 1", "the answer is 4")


def test_time_memory_and_output_are_limited() -> None:
    began = time.monotonic()
    assert run_python("while True: pass", Limits(seconds=1)).code != 0
    assert run_python("import time; time.sleep(60)", Limits(seconds=1)).code is None
    assert time.monotonic() - began < 30
    assert "MemoryError" in run_python("x = bytearray(2**30)", Limits(memory_bytes=2**28)).output
    loud = run_python("while True: print('x' * 1000)", Limits(seconds=5, output_bytes=10_000))
    assert loud.code != 0
    assert len(loud.output) <= 10_000


def test_the_program_sees_neither_environment_nor_our_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_OF_OURS", "hush")
    ran = run_python("import os; print(sorted(os.environ), os.listdir('.'))")
    assert ran.code == 0
    assert "SECRET_OF_OURS" not in ran.output
    assert "program.py" in ran.output


def test_children_end_with_the_program() -> None:
    sleeper = "import subprocess; print(subprocess.Popen(['sleep', '54321']).pid, flush=True)"
    assert run_python(sleeper).code == 0
    deadline = time.monotonic() + 10
    while (alive := sleeping()) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not alive


def sleeping() -> bool:
    listed = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    return "sleep 54321" in listed


def test_there_is_no_network_where_the_system_can_take_it_away() -> None:
    if not isolates():
        pytest.skip("this system gives no namespaces")
    ran = run_python("import socket; socket.create_connection(('127.0.0.1', 1), timeout=2)")
    assert ran.code != 0
    assert "unreachable" in ran.output
