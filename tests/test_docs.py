"""Every code block of the README runs, and every figure in it comes from the committed figures."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest
import yaml

from router.configuration.settings import PolicySettings
from router.policies import policy_from
from serving.vllm.process import free_port

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
FIGURES = ROOT / "docs" / "figures.json"
BIN = Path(sys.executable).parent
LIMIT_S = 300


def blocks(language: str, text: str = README) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def commands(text: str = README) -> list[list[str]]:
    """A page's shell lines, continued lines joined, comments dropped."""
    lines = "\n".join(blocks("sh", text)).replace("\\\n", " ").splitlines()
    return [words for line in lines if (words := shlex.split(line, comments=True))]


def run(words: list[str], folder: Path) -> str:
    environment = {**os.environ, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", "OMP_NUM_THREADS": "2"}
    done = subprocess.run(
        words, cwd=folder, env=environment, capture_output=True, text=True, timeout=LIMIT_S, check=False
    )
    assert done.returncode == 0, f"{shlex.join(words)}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def test_the_readme_shows_only_commands_that_a_test_runs() -> None:
    told = {" ".join(words[:2]) for words in commands()}
    assert told == {
        "make demo",
        "make test",
        "foresight init",
        "foresight collect",
        "foresight fit",
        "foresight serve",
        "foresight route",
        "foresight evaluate",
        "foresight batch",
        "curl http://127.0.0.1:8000/v1/chat/completions",
    }


def test_the_page_of_the_ladder_names_real_commands_and_options() -> None:
    page = (ROOT / "eval" / "ladder" / "README.md").read_text(encoding="utf-8")
    targets = (ROOT / "Makefile").read_text(encoding="utf-8")
    for words in commands(page):
        if words[0] == "make":
            assert f"\n{words[1]}:" in targets
            continue
        depth = 3 if words[1] == "ladder" else 2
        told = run([*words[:depth], "--help"], ROOT)
        assert all(word in told for word in words[depth:] if word.startswith("-")), words


def test_python_blocks_run_as_they_stand() -> None:
    for block in blocks("python"):
        assert "ladder-" in run([sys.executable, "-c", block], ROOT)


@pytest.mark.slow
def test_the_page_of_the_policies_runs() -> None:
    page = (ROOT / "docs" / "policies.md").read_text(encoding="utf-8")
    first, *others = blocks("python", page)
    lines = run([sys.executable, "-c", first], ROOT).splitlines()
    assert len(lines) == 4
    assert all("['small', 'large']" in line for line in lines)
    for block in others:
        run([sys.executable, "-c", block], ROOT)
    for block in blocks("yaml", page):
        told = yaml.safe_load(block)
        for settings in [told["policy"]] if "policy" in told else told["policies"].values():
            policy_from(PolicySettings.model_validate(settings))
    (judge,) = commands(page)
    told = run([*judge[:3], "--help"], ROOT)
    assert all(word in told for word in judge if word.startswith("--"))


@pytest.mark.slow
def test_the_page_of_the_evaluation_runs(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "evaluate.md").read_text(encoding="utf-8")
    rows = [
        f"Question {i}?,{model},{grade},{cost}"
        for i in range(60)
        for model, grade, cost in (("s", i % 2, 0.1), ("l", 1, 1))
    ]
    (tmp_path / "answers.csv").write_text("\n".join(["question,model,score,cost", *rows]) + "\n")
    renamed = ["text,model,passed,cost", *rows]
    evaluated, pictured, imported, again, *ours = commands(page)
    assert evaluated in commands(README)
    told = run(["foresight", "evaluate", "--help"], ROOT)
    for words in (pictured, *ours):
        assert words[:2] == ["foresight", "evaluate"]
        assert all(word in told for word in words if word.startswith("--"))
    for name in re.findall(r"report-[a-z-]+\.png", page):
        assert (ROOT / "docs" / name).read_bytes().startswith(b"\x89PNG")
    run(evaluated, tmp_path)
    assert "<svg" in (tmp_path / "report.html").read_text(encoding="utf-8")
    (tmp_path / "answers.csv").write_text("\n".join(renamed) + "\n")
    run(imported, tmp_path)
    run(again, tmp_path)


def test_one_decision_is_explained_without_generating() -> None:
    (route,) = (words for words in commands() if words[:2] == ["foresight", "route"])
    shown = run(route, ROOT)
    assert "ladder-l:think" in shown


@pytest.mark.vllm
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_pool_of_ones_own_from_init_to_curl(tmp_path: Path) -> None:
    """The README's commands and its curl, in order, on real vLLM servers."""
    told = {words[1]: words for words in commands() if words[0] == "foresight"}
    (curl,) = (words for words in commands() if words[0] == "curl")
    run(["foresight", "ladder", "ask", "-n", "240", "--split", "fit", "-o", "questions.jsonl"], tmp_path)
    for command in ("init", "collect", "fit"):
        run(told[command], tmp_path)
    (tmp_path / "questions.csv").write_text("prompt\nWhat is 17 plus 25?\nWhat is 3 times 4?\n")
    plan, batch = (words for words in commands() if words[:2] == ["foresight", "batch"])
    assert "ladder-s" in run(plan, tmp_path)
    run(batch, tmp_path)
    answers = [json.loads(line) for line in (tmp_path / "answers.jsonl").read_text().splitlines()]
    assert [answer["response"]["status_code"] for answer in answers] == [200, 200]
    port = free_port()
    with serving([*told["serve"], "--port", str(port)], port, tmp_path):
        reply = json.loads(run([*curl, "--silent", curl_url(curl, port)], tmp_path))
    assert reply["choices"][0]["message"]["content"].strip()
    assert reply["foresight"]["served_by"] in {"ladder-s", "ladder-l:think"}


def curl_url(curl: list[str], port: int) -> str:
    """Takes the README's address out of the command and gives it back with the test's port."""
    address = curl.pop(1)
    return address.replace(":8000", f":{port}")


@contextmanager
def serving(words: list[str], port: int, folder: Path) -> Iterator[None]:
    environment = {**os.environ, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}
    with subprocess.Popen(words, cwd=folder, env=environment) as process:
        try:
            await_ready(f"http://127.0.0.1:{port}/ready", process)
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)
    assert process.returncode == 0


def await_ready(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + LIMIT_S
    while time.monotonic() < deadline:
        assert process.poll() is None, "the gateway has ended"
        try:
            with urlopen(url, timeout=5) as answer:
                states = [b["state"] for b in json.load(answer)["backends"].values()]
                if all(state == "up" for state in states):
                    return
        except (URLError, ConnectionError, TimeoutError):
            pass
        time.sleep(0.5)
    raise TimeoutError(url)


def test_the_readme_states_the_committed_figures() -> None:
    figures = json.loads(FIGURES.read_text())
    told = README.split("<!-- figures -->")[1].split("<!-- /figures -->")[0]
    assert f"{figures['questions']:,} held-out questions" in told
    for way in ("routed", "cheapest", "best", "oracle"):
        low, high = figures["intervals"]["accuracy"][way]
        assert f"{figures['accuracy'][way]:.1%} ({low:.1%} to {high:.1%})" in told
    low, high = figures["intervals"]["cost_ratio"]
    assert f"{figures['cost_ratio']:.0%} ({low:.0%} to {high:.0%})" in told
