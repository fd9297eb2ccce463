"""The command line: help, exit codes and errors that say what to do."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from router.cli.app import app
from router.configuration.pool import Pool
from router.configuration.settings import (
    Decoding,
    Latency,
    LocalBackend,
    OpenAIBackend,
    PolicySettings,
    Price,
    Scout,
    VllmBackend,
)
from tests.router.pools import pool_data, write_pool

Run = Callable[..., tuple[int, str, str]]
COMMANDS = ["init", "collect", "fit", "evaluate", "route", "serve", "ladder train", "ladder ask"]


@pytest.fixture(name="run")
def _run(monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("TERM", "dumb")

    def run(*arguments: object) -> tuple[int, str, str]:
        result = CliRunner().invoke(app, [str(argument) for argument in arguments], prog_name="foresight")
        return result.exit_code, result.stdout, result.stderr

    return run


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(run: Run, command: str) -> None:
    code, text, _ = run(*command.split(), "--help")

    assert code == 0
    assert f"Example: foresight {command}" in re.sub(r"\s+", " ", text)


def test_init_writes_a_pool_file_that_loads_and_explains_every_field(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "pool.yaml"
    code, out, err = run("init", path)
    assert (code, out) == (0, "")
    assert str(path) in err
    text = path.read_text()
    pool = Pool.parse(yaml.safe_load(text), folder=tmp_path)
    assert len(pool.candidates) == 2
    for settings in (
        Decoding,
        Latency,
        LocalBackend,
        OpenAIBackend,
        PolicySettings,
        Price,
        Scout,
        VllmBackend,
    ):
        for field in settings.model_fields:
            assert re.search(rf"\b{field}\b", text), f"{settings.__name__}.{field} is not explained"


def test_init_replaces_nothing_unasked(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "pool.yaml"
    path.write_text("mine")

    code, _, err = run("init", path)
    assert (code, path.read_text()) == (2, "mine")
    assert "--force" in err
    assert run("init", path, "--force", "--json")[1] == json.dumps({"pool": str(path)}, indent=2) + "\n"
    assert path.read_text() != "mine"


@pytest.mark.parametrize(
    ("arguments", "words", "hint"),
    [
        pytest.param(["serve", "none.yaml"], "There is no file none.yaml.", "foresight init", id="no pool"),
        pytest.param(
            ["serve", "typo.yaml"], "polcy: there is no such field", "Did you mean policy?", id="typo"
        ),
        pytest.param(["serve", "pool.yaml"], "names no fitted router", "foresight fit", id="no router"),
        pytest.param(
            ["serve", "pool.yaml", "--router", "empty"],
            "empty is no router",
            "foresight fit",
            id="no artefact",
        ),
        pytest.param(
            ["route", "none", "hello"], "none is no router", "foresight fit", id="route without router"
        ),
        pytest.param(["fit", "pool.yaml", "none", "-o", "r"], "none", None, id="no outcomes"),
        pytest.param(
            ["collect", "pool.yaml", "none.jsonl", "-o", "o"], "none.jsonl", None, id="no questions"
        ),
        pytest.param(
            ["ladder", "train", "-o", "m", "--size", "ladder-xl"], "no size 'ladder-xl'", None, id="size"
        ),
    ],
)
def test_a_mistake_is_one_clear_line_and_exit_code_2(
    run: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    words: str,
    hint: str | None,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    write_pool(tmp_path, pool_data() | {"polcy": {}}).rename(tmp_path / "typo.yaml")
    write_pool(tmp_path)
    before = sorted(tmp_path.rglob("*"))

    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    first, *rest = err.strip().splitlines()
    assert first.startswith("error: ")
    assert words in first
    assert len(rest) <= 1
    assert "Traceback" not in err
    assert hint is None or hint in rest[0]
    assert sorted(tmp_path.rglob("*")) == before


def test_unknown_options_are_usage_errors(run: Run) -> None:
    assert run("route", "--nonsense")[0] == 2
    assert run("nonsense")[0] == 2


def test_unexpected_errors_are_one_line_unless_debugging(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def explode(*_: object, **__: object) -> None:
        raise ZeroDivisionError("boom")

    monkeypatch.setattr("router.configuration.pool.Pool.load", explode)
    code, _, err = run("serve", "pool.yaml")
    assert code == 1
    assert err.startswith("error: Unexpected ZeroDivisionError: boom")
    monkeypatch.setenv("FORESIGHT_DEBUG", "1")
    with pytest.raises(ZeroDivisionError):
        CliRunner().invoke(app, ["serve", "pool.yaml"], catch_exceptions=False)


def test_questions_of_the_ladder_are_drawn_from_a_seed(run: Run, tmp_path: Path) -> None:
    one, two = tmp_path / "one.jsonl", tmp_path / "two.jsonl"
    for path in (one, two):
        code, out, _ = run("ladder", "ask", "-n", 5, "--seed", 3, "-o", path, "--json")
        assert code == 0
        assert json.loads(out)["n"] == 5
    assert one.read_text() == two.read_text()
    assert len(one.read_text().splitlines()) == 5
