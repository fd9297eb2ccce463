"""Whose difficulty: what is in the activations is read out, what is not is not."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.special import expit
from typer.testing import CliRunner

from eval.difficulty import _ceiling, table, whose_difficulty
from eval.outcomes import Outcomes
from eval.queries import Queries
from probes.encoders.encoder import Activations
from probes.errors import DataError
from router.cli.app import app


def world(n: int = 700, draws: int = 1) -> tuple[Outcomes, Activations]:
    """People's difficulty in one direction; `solid` goes with it, `odd` with another direction altogether."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, 6)).astype(np.float32)
    human = x[:, 0] + 0.1 * rng.normal(size=n)
    logits = np.column_stack([-3 * x[:, 0], 3 * x[:, 1], -3 * x[:, 0] + 2 * x[:, 1]])
    correct = rng.binomial(draws, expit(logits)) / draws
    queries = Queries.build(
        [f"q{i}" for i in range(n)], extras=[{"level": float(h), "note": "n"} for h in human]
    )
    samples = np.full(correct.shape, float(draws))
    outcomes = Outcomes.build(queries, ["solid", "odd", "solid:think"], correct, samples=samples)
    return outcomes, Activations(x[:, None, None, :].astype(np.float16), np.full(n, 5))


def test_both_difficulties_are_told_apart() -> None:
    found = whose_difficulty(*world(), "level")
    solid, odd, think = found.candidates
    assert found.human > 0.95
    assert solid.human_correlation < -0.5
    assert abs(odd.human_correlation) < 0.12
    assert solid.auroc == pytest.approx(solid.human_auroc, abs=0.02)
    assert odd.auroc > 0.9
    assert odd.human_auroc == pytest.approx(0.5, abs=0.08)
    assert found.thinking[0].direct == "solid"
    assert found.thinking[0].human_correlation == pytest.approx(
        think.human_correlation - solid.human_correlation
    )


def test_labels_without_meaning_are_not_read_out() -> None:
    outcomes, activations = world()
    order = np.random.default_rng(1).permutation(len(outcomes))
    found = whose_difficulty(outcomes, activations.take(order), "level")
    assert abs(found.human) < 0.12
    assert all(abs(one.auroc - 0.5) < 0.08 for one in found.candidates)


def test_the_ceiling_is_the_correlation_of_rates_with_their_expectation() -> None:
    rng = np.random.default_rng(0)
    truth = rng.beta(2, 2, 20_000)
    rate = rng.binomial(5, truth) / 5
    assert _ceiling(rate, np.full(20_000, 5.0)) == pytest.approx(np.corrcoef(truth, rate)[0, 1], abs=0.01)
    assert np.isnan(_ceiling(rate, np.ones(20_000)))


def test_queries_without_the_field_and_missing_outcomes_are_left_out() -> None:
    outcomes, activations = world()
    extras = tuple({} if i % 7 == 0 else extra for i, extra in enumerate(outcomes.queries.extras))
    correct = outcomes.correct.copy()
    correct[::5, 1] = np.nan
    gappy = replace(outcomes, queries=replace(outcomes.queries, extras=extras), correct=correct)
    found = whose_difficulty(gappy, activations, "level")
    assert found.queries == 600
    assert found.candidates[1].auroc > 0.9
    json.dumps(found.to_json(), allow_nan=False)
    assert table(found).row_count == 3


def test_a_field_that_is_no_difficulty_is_refused_with_the_fields_that_there_are() -> None:
    for column in ("note", "unknown"):
        with pytest.raises(DataError, match=column) as caught:
            whose_difficulty(*world(60), column)
        assert "level" in str(caught.value.hint)


def test_the_command_reports_it_beside_the_comparison(tiny_llama: Path, tmp_path: Path) -> None:
    world()[0].take(np.arange(120)).save(tmp_path / "set")
    options = ["--seeds", "1", "--routers", "length", "--difficulty", "level", "--json", "-"]
    done = CliRunner().invoke(app, ["evaluate", str(tmp_path / "set"), "--scout", str(tiny_llama), *options])
    assert done.exit_code == 0, done.stderr
    found = json.loads(done.stdout)["difficulty"]
    assert found["queries"] == 120
    assert [one["name"] for one in found["candidates"]] == ["solid", "odd", "solid:think"]
    refused = CliRunner().invoke(app, ["evaluate", str(tmp_path / "set"), "--difficulty", "level"])
    assert refused.exit_code == 2
    assert "--scout minilm" in refused.stderr
