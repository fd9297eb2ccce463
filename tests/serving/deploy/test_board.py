"""The board and the alerts against the metrics of a gateway that has seen traffic of every kind."""

from __future__ import annotations

import json
import re
from pathlib import Path

import aiohttp
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from serving.settings import LedgerSettings
from tests.serving.conftest import behind
from tests.serving.upstream import answers

DEPLOY = Path(__file__).parents[3] / "serving" / "deploy"
FUNCTIONS = {
    "sum",
    "min",
    "max",
    "avg",
    "count",
    "rate",
    "increase",
    "histogram_quantile",
    "clamp_min",
    "time",
}
WORDS = {
    "by",
    "without",
    "and",
    "or",
    "unless",
    "on",
    "ignoring",
    "group_left",
    "group_right",
    "bool",
    "offset",
}
MATCHER = re.compile(r'\s*(\w+)\s*(=~|!~|!=|=)\s*"((?:[^"\\]|\\.)*)"\s*')


def expressions() -> list[str]:
    """Every question of the board and of the alerts."""
    board = json.loads((DEPLOY / "grafana/board.json").read_text())
    alerts = yaml.safe_load((DEPLOY / "prometheus/alerts.yaml").read_text())
    drawn = [target["expr"] for panel in board["panels"] for target in panel.get("targets", ())]
    return drawn + [rule["expr"] for group in alerts["groups"] for rule in group["rules"]]


def selectors(expression: str) -> list[tuple[str, dict[str, str]]]:
    """Metrics of an expression, with the labels that it matches."""
    found = []
    for name, labels in re.findall(r"\b(foresight_\w+)(?:\{([^}]*)\})?", expression):
        matched = {key: value for key, _, value in MATCHER.findall(labels)}
        assert not MATCHER.sub("", labels).replace(",", "").strip(), labels
        found.append((name, matched))
    return found


@pytest.mark.parametrize("expression", expressions())
def test_an_expression_is_promql_as_far_as_it_can_be_told(expression: str) -> None:
    bare = re.sub(r'"(?:[^"\\]|\\.)*"', '""', expression)
    stack = []
    for sign in bare:
        if sign in "([{":
            stack.append({"(": ")", "[": "]", "{": "}"}[sign])
        elif sign in ")]}":
            assert stack.pop() == sign
    assert not stack
    ranges = re.findall(r"\[([^\]]*)\]", bare)
    assert all(re.fullmatch(r"\d+[smhd]|\$__rate_interval|\$__range", one) for one in ranges)
    outside = re.sub(r"\{[^}]*\}|\[[^\]]*\]|\b(?:by|without|on|ignoring)\s*\([^)]*\)", " ", bare)
    names = set(re.findall(r"[A-Za-z_]\w*", outside))
    assert names - FUNCTIONS - WORDS == {name for name, _ in selectors(expression)}
    for call in re.findall(r"\b(?:rate|increase)\(([^()]*)\)", bare):
        assert call.endswith("]"), "a rate is of a range"


async def test_what_is_asked_is_what_a_busy_gateway_tells(tmp_path: Path) -> None:
    ledger = LedgerSettings(url="ledger.db", flush_s=0.01)
    async with (
        behind(answers(500), answers(), ledger=ledger, folder=tmp_path, retries=0) as (url, *_),
        aiohttp.ClientSession() as http,
    ):
        for words in ("easy", "hard", "strange", "explode"):
            body = {"model": "auto", "messages": [{"role": "user", "content": words}]}
            async with http.post(f"{url}/chat/completions", json=body) as answer:
                assert answer.status == 200
        root = url.removesuffix("/v1")
        async with http.get(f"{root}/ready") as answer:
            assert answer.status == 200
        async with http.get(f"{root}/metrics") as answer:
            text = await answer.text()
    labels: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels.setdefault(sample.name, set()).update({*sample.labels, "instance", "job"})
    for expression in expressions():
        asked = selectors(expression)
        assert asked
        for name, matched in asked:
            assert name in labels, f"no gateway tells {name}"
            assert set(matched) <= labels[name]
        told = set().union(*(labels[name] for name, _ in asked))
        for group in re.findall(r"\b(?:by|without|on)\s*\(([^)]*)\)", expression):
            assert {label.strip() for label in group.split(",")} <= told
