"""Ratings move levels and slopes where that surely helps, and only there; the commands that read a ledger."""

from __future__ import annotations

import json
import time
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from probes.errors import DataError, UsageError
from probes.estimators.linear import LinearProbes
from probes.scoring.calibration import Calibrator
from probes.scoring.length import LengthHead
from probes.scoring.novelty import Novelty
from probes.scoring.scorer import Scorer
from router.cli.app import app
from router.decisions.decision import Decision
from router.fitted import Fitted
from router.router import Router
from router.update.recalibration import Rated, recalibrate
from router.version import version_of
from serving.flow.record import Exchange, TokenCount
from serving.ledger.database import Database, ledger_url
from serving.ledger.entries import Decided, Finished
from serving.ledger.entries import Rated as RatedEntry
from serving.ledger.store import Store
from tests.router.worlds import IDENTITY
from tests.serving.routing import pool_of

AT = "2026-01-01T00:00:00+00:00"
F = 4


@pytest.fixture(name="router")
def _router() -> Router:
    """Two candidates whose logits are the features' first two columns."""
    rng = np.random.default_rng(0)
    features = rng.normal(size=(300, F)).astype(np.float32)
    probes = LinearProbes(np.eye(F)[:, :2], np.zeros(2), np.eye(2), np.zeros(2))
    length = LengthHead().fit(features[:200], np.exp(2 + rng.random((200, 2))))
    scorer = Scorer(probes, Calibrator.identity(2), length, Novelty().fit(features[:200], features[200:]))
    pool = pool_of(
        {"b": {"kind": "openai", "url": "http://127.0.0.1:9/v1"}},
        {"small": {"backend": "b"}, "large": {"backend": "b"}},
        policy={"rule": "tolerance", "tolerance": 0.1},
    )
    levels = {"small": 0.5, "large": 0.5}
    return Router(pool, scorer, Fitted(pool.names, levels, levels, "large"), IDENTITY)


def ratings(n: int, level: float, slope: float, seed: int = 0) -> Rated:
    """Ratings of which the truth is sigmoid(level + slope * logit of what was predicted)."""
    rng = np.random.default_rng(seed)
    logit = rng.normal(0.5, 1.2, n)
    truth = 1 / (1 + np.exp(-(level + slope * logit)))
    return Rated(1 / (1 + np.exp(-logit)), (rng.random(n) < truth).astype(float))


def test_a_shift_is_found_and_undone(router: Router) -> None:
    fresh, changes = recalibrate(
        router, {"small": ratings(3000, -1.0, 0.7), "large": ratings(3000, 0.0, 1.0)}, at=AT
    )

    small, large = changes["small"], changes["large"]
    assert (small.adjusted, large.adjusted) == (True, False)
    assert (small.level, small.slope) == pytest.approx((-1.0, 0.7), abs=0.12)
    assert (large.level, large.slope) == (0.0, 1.0)
    assert small.before is not None
    assert small.after is not None
    assert small.after.ece < 0.03 < 0.1 < small.before.ece
    assert small.after.brier < small.before.brier
    features = np.random.default_rng(1).normal(size=(50, F)).astype(np.float32)
    before, after = router.scorer.score(features).success, fresh.scorer.score(features).success
    logit = np.log(before[:, 0] / (1 - before[:, 0]))
    expected = 1 / (1 + np.exp(-(small.level + small.slope * logit)))
    np.testing.assert_allclose(after[:, 0], expected, atol=1e-6)
    np.testing.assert_array_equal(after[:, 1], before[:, 1])


def test_honest_probabilities_are_left_alone(router: Router) -> None:
    adjusted = 0
    for seed in range(20):
        fresh, changes = recalibrate(router, {"small": ratings(60, 0.0, 1.0, seed)}, at=AT)
        adjusted += changes["small"].adjusted
        if not changes["small"].adjusted:
            assert version_of(fresh) == version_of(router)
    assert adjusted <= 6  # a gain of one standard error by chance: about one in six


def test_a_new_version_is_another_fit(router: Router, tmp_path: Path) -> None:
    fresh, _ = recalibrate(router, {"small": ratings(500, -2.0, 1.0)}, at=AT)

    assert version_of(fresh) != version_of(router)
    fresh.save(tmp_path / "router")
    loaded = Router.load(tmp_path / "router")
    assert version_of(loaded) == version_of(fresh)
    assert loaded.record["recalibrated"][0]["at"] == AT
    again, _ = recalibrate(loaded, {"small": ratings(500, -2.0, 1.0)}, at="later")
    assert [entry["at"] for entry in again.record["recalibrated"]] == [AT, "later"]


def test_too_few_labels_are_refused(router: Router) -> None:
    with pytest.raises(UsageError, match="the most that a candidate has is 29; it needs 30"):
        recalibrate(router, {"small": ratings(29, 0.0, 1.0)}, at=AT)
    with pytest.raises(UsageError, match="too few"):
        recalibrate(router, {}, at=AT)
    _, changes = recalibrate(router, {"small": ratings(29, -3, 1), "large": ratings(30, -3, 1)}, at=AT)
    assert (changes["small"].adjusted, changes["small"].before) == (False, None)


def test_a_rating_out_of_range_is_refused(router: Router) -> None:
    with pytest.raises(DataError, match="small"):
        recalibrate(router, {"small": Rated(np.full(40, 0.5), np.full(40, 1.5))}, at=AT)


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], prog_name="foresight")


def fill(place: Path, router: Router, rated: Rated, prompts: bool = True, version: str | None = None) -> None:
    """A ledger in which `small` got these ratings."""
    store, entries = Store(Database(ledger_url(str(place), place.parent))), []
    now_s = time.time() - 60
    for i, (p, y) in enumerate(zip(rated.predicted.tolist(), rated.correct.tolist(), strict=True)):
        numbers = {"small": p, "large": 0.5}
        chosen = Decision("small", "because", "tolerance", numbers, numbers, numbers, ("small", "large"))
        prompt = json.dumps([{"role": "user", "content": f"question {i % 40}"}]) if prompts else None
        made: dict[str, Any] = {"router": version or version_of(router), "prompt": prompt}
        tokens = TokenCount(10, 20 + i % 2, exact=True)
        one = Exchange("chat/completions", "r", chosen, "small", "ok", tokens, 1e-5, 0.1, 0.2, ())
        entries += [
            Decided(now_s + i / 100, chosen, 0.001, "r", "chat/completions", None, **made),
            Finished(now_s + i / 100, one, router.pool["large"]),
            RatedEntry(now_s + i / 100, chosen.id, y, None, None, Future()),
        ]
    store.write(entries)
    store.database.close()


def test_the_command_rewrites_the_artefact_once(router: Router, tmp_path: Path) -> None:
    router.save(tmp_path / "router")
    fill(tmp_path / "ledger.db", Router.load(tmp_path / "router"), ratings(400, -1.5, 1.0))
    command = ["recalibrate", tmp_path / "router", "--ledger", tmp_path / "ledger.db"]

    told = invoke(*command, "--dry-run", "--json")
    assert (told.exit_code, json.loads(told.stdout)["router"]) == (0, None)
    assert "recalibrated" not in Router.load(tmp_path / "router").record
    told = invoke(*command, "--json")
    report = json.loads(told.stdout)
    assert report["adjusted"] == ["small"]
    assert report["candidates"]["small"]["level"] == pytest.approx(-1.5, abs=0.4)
    assert Router.load(tmp_path / "router").record["recalibrated"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ledger.db", "router"]
    again = invoke(*command)  # the ratings belong to the old fit
    assert again.exit_code == 2
    assert "predicted by another fit" in again.stderr


def test_the_command_shows_a_table_and_says_what_is_missing(router: Router, tmp_path: Path) -> None:
    router.save(tmp_path / "router")
    command = ["recalibrate", tmp_path / "router", "--ledger", tmp_path / "ledger.db"]
    assert "There is no ledger" in invoke(*command).stderr
    fill(tmp_path / "ledger.db", Router.load(tmp_path / "router"), ratings(20, -1.5, 1.0))
    told = invoke(*command)
    assert (told.exit_code, "too few rated answers" in told.stderr) == (2, True)
    fill(tmp_path / "ledger.db", Router.load(tmp_path / "router"), ratings(100, -2.5, 1.0))
    shown = invoke(*command)
    assert shown.exit_code == 0
    assert "small" in shown.stdout
    assert "too few labels" in shown.stdout  # large


class TestLedgerCommands:
    def test_rated_answers_become_an_outcome_set(self, router: Router, tmp_path: Path) -> None:
        from eval.outcomes import Outcomes

        rated = ratings(100, 0.0, 1.0)
        fill(tmp_path / "ledger.db", router, rated)
        told = invoke("ledger", "export", tmp_path / "ledger.db", "-o", tmp_path / "out", "--json")
        assert told.exit_code == 0, told.stderr
        assert json.loads(told.stdout)["ratings"] == 100
        outcomes = Outcomes.load(tmp_path / "out")
        assert (len(outcomes), outcomes.candidates) == (40, ("small",))
        assert outcomes.conversations[0][0]["content"] == "question 0"
        assert outcomes.correct[0, 0] == pytest.approx(rated.correct[[0, 40, 80]].mean())
        assert outcomes.samples[:, 0].tolist() == [3.0] * 20 + [2.0] * 20
        assert outcomes.output_tokens[1, 0] == 21
        again = invoke("ledger", "export", tmp_path / "ledger.db", "-o", tmp_path / "out")
        assert (again.exit_code, "not empty" in again.stderr) == (2, True)

    def test_without_prompts_there_is_nothing_to_export(self, router: Router, tmp_path: Path) -> None:
        fill(tmp_path / "ledger.db", router, ratings(3, 0.0, 1.0), prompts=False)
        told = invoke("ledger", "export", tmp_path / "ledger.db", "-o", tmp_path / "out")
        assert told.exit_code == 2
        assert "3 rated answers, but no prompts" in told.stderr
        assert not (tmp_path / "out").exists()

    def test_old_decisions_are_pruned_and_the_rest_is_shown(self, router: Router, tmp_path: Path) -> None:
        fill(tmp_path / "ledger.db", router, ratings(30, 0.0, 1.0))
        shown = invoke("ledger", "show", tmp_path / "ledger.db")
        assert "Saved" in shown.stdout, shown.stderr
        totals = json.loads(invoke("ledger", "show", tmp_path / "ledger.db", "--json").stdout)["totals"]
        assert (totals["requests"], totals["rated"]) == (30, 30)
        told = invoke("ledger", "prune", tmp_path / "ledger.db", "--keep-days", "1", "--json")
        assert json.loads(told.stdout) == {"removed": 0}
        told = invoke("ledger", "prune", tmp_path / "ledger.db", "--keep-days", "0", "--json")
        assert json.loads(told.stdout) == {"removed": 30}


class TestKeyCommands:
    def test_a_key_is_shown_once_listed_and_revoked(self, tmp_path: Path) -> None:
        from serving.keys.file import parse_keys, read_keys
        from serving.keys.key import Lock

        file = tmp_path / "keys.yaml"
        told = invoke("keys", "create", "team", "--file", file, "--usd-per-day", "5", "--candidate", "small")
        assert told.exit_code == 0, told.stderr
        secret = told.stdout.strip()
        assert secret not in file.read_text()
        opened = Lock(read_keys(file).keys).open(secret)
        assert opened is not None
        assert (opened.usd_per_day, opened.candidates) == (5.0, ("small",))
        assert invoke("keys", "create", "team", "--file", file).exit_code == 2
        listed = invoke("keys", "list", "--file", file, "--json").stdout
        assert json.loads(listed)["keys"][0]["id"] == "team"
        assert opened.sha256 not in listed
        name, _, line = invoke("keys", "env", "--file", file).stdout.partition("=")
        assert (name, parse_keys(line, "the line")) == ("FORESIGHT_KEYS", read_keys(file))
        assert line.count("\n") == 1
        assert invoke("keys", "env", "--file", tmp_path / "none.yaml").exit_code == 2
        assert invoke("keys", "revoke", "team", "--file", file).exit_code == 0
        assert read_keys(file).keys == ()
        assert invoke("keys", "revoke", "team", "--file", file).exit_code == 2

    def test_a_bad_limit_writes_nothing(self, tmp_path: Path) -> None:
        told = invoke("keys", "create", "team", "--file", tmp_path / "keys.yaml", "--usd-per-day", "-1")
        assert (told.exit_code, "usd_per_day" in told.stderr) == (2, True)
        assert list(tmp_path.iterdir()) == []
