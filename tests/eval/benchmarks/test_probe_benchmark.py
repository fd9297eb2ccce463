"""The probes' benchmark: its sets, its verdicts, and honest gaps."""

from __future__ import annotations

import gzip
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from eval.benchmarks.probes import agreement, difficulty, kept, onboarding, reading, separation
from eval.benchmarks.probes.comparison import OURS, compare
from eval.benchmarks.probes.kept import Kept
from eval.benchmarks.probes.sets import load
from eval.benchmarks.probes.speed import scoring, solving
from eval.benchmarks.probes.speed.growth import SWEEPS, Size, growth_picture
from eval.benchmarks.row import Row, Setting
from eval.harness.contestants import make_forecaster
from eval.outcomes import Outcomes
from eval.queries import Queries
from tests.eval.sets import synthetic


def write_set(folder: Path, name: str, extras: list[dict[str, object]], **measures: Any) -> Outcomes:
    """Questions of words whose number decides who can answer."""
    rng = np.random.default_rng(0)
    counts = rng.integers(1, 30, len(extras))
    prompts = [" ".join(rng.choice(["Add 3 and 4.", "Sort 5 1 2."], count)) for count in counts]
    correct = (counts[:, None] + rng.normal(0, 3, (len(extras), 2)) < (10, 20)).astype(float)
    datasets = ["gsm8k" if i % 2 else "mmlu" for i in range(len(extras))]
    queries = Queries.build(prompts, extras=extras, datasets=datasets)
    outcomes = Outcomes.build(queries, ["small", "large"], correct, **measures)
    outcomes.save(folder / name)
    return outcomes


def test_what_is_not_there_is_reported_with_the_way_to_it(tmp_path: Path) -> None:
    setting = Setting(None, tmp_path, quick=True)
    found: list[Row] = [agreement.seed_row(setting), reading.value_row(setting, "ladder-m")]
    for part in (difficulty, onboarding, separation, solving):
        found += part.rows(setting)
    assert all(row.met is None and row.measured.startswith("unmeasured") for row in found)
    on_ladder = [row for row in found if "ladder" in row.what]
    assert on_ladder
    assert all("foresight collect" in row.measured for row in on_ladder)


def test_groups_come_from_the_common_table_and_contaminated_questions_go(tmp_path: Path) -> None:
    write_set(tmp_path, "routellm", [{"contaminated": float(i < 10)} for i in range(40)])
    with gzip.open(tmp_path / "question_groups.csv.gz", "wt") as file:
        file.write(
            "set,query_id,dataset,group\nroutellm,q11,gsm8k,same\nroutellm,q13,gsm8k,same\nother,q15,x,no\n"
        )
    found = load(Setting(tmp_path, tmp_path), "routellm")
    assert found is not None
    assert set(found.datasets) == {"gsm8k"}
    assert len(found) == 15
    named = dict(zip(found.query_ids, found.groups, strict=True))
    assert (named["q11"], named["q13"], named["q15"]) == ("same", "same", "q15")


def test_sizes_are_prices_where_a_set_has_no_costs(tmp_path: Path) -> None:
    write_set(tmp_path, "llmrouter_ulab", [{"split": "train" if i < 30 else "test"} for i in range(40)])
    models = {"small": {"size": "7B"}, "large": {"size": "70B"}}
    (tmp_path / "llmrouter_ulab" / "models.json").write_text(json.dumps(models))
    found = load(Setting(tmp_path, tmp_path), "llmrouter_ulab")
    assert found is not None
    assert len(found) == 30
    np.testing.assert_array_equal(found.cost_usd[0], [7, 70])


def test_the_ladder_is_found_among_what_is_kept_and_judged(tmp_path: Path) -> None:
    cost = np.tile([1.0, 3.0], (150, 1))
    write_set(tmp_path, "ladder", [{"difficulty": i / 150} for i in range(150)], cost_usd=cost)
    first, each, calibrated = separation.ladder_rows(Setting(None, tmp_path, quick=True))
    assert first.met is not None
    for name in ("independent", "knn", "tfidf", "length"):
        assert re.search(rf"{name} [01]\.\d+", first.measured), first.measured
    assert len(re.findall(r"\(tfidf .*?, length .*?\)", each.measured)) == 2
    assert "a perfect forecast" in calibrated.measured


def test_a_lead_over_a_router_that_knows_nothing_is_certain_and_over_oneself_is_none(tmp_path: Path) -> None:
    world = synthetic(500)
    setting = Setting(None, tmp_path, quick=True)
    found = compare(setting, world.outcomes, world.activations, (OURS, "length"))
    mean, edges = found.gain("length", within=False)
    assert mean > 0.2
    assert edges.low > 0.1
    same = replace(found, trials={OURS: found.trials[OURS], "again": found.trials[OURS]})
    assert same.gain("again", within=True) == (0.0, (0.0, 0.0))


def test_a_kept_forecast_is_the_same_and_another_question_is_another_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = synthetic(120)
    features, train = world.activations.features(), world.outcomes.take(np.arange(80))
    tests = world.outcomes.queries.take(np.arange(80, 120))

    def forecast(seed: int = 0) -> np.ndarray[Any, Any]:
        return Kept("independent", seed, 1, tmp_path).fit(train, features[:80]).predict(tests, features[80:])

    expected = make_forecaster("independent", 0).fit(train, features[:80]).predict(tests, features[80:])
    np.testing.assert_array_equal(forecast(), expected)
    monkeypatch.setattr(kept, "make_forecaster", lambda *_: pytest.fail("fitted again"))
    np.testing.assert_array_equal(forecast(), expected)
    with pytest.raises(pytest.fail.Exception, match="fitted again"):
        forecast(seed=1)
    monkeypatch.setattr(kept, "source_hash", lambda: "another version")
    with pytest.raises(pytest.fail.Exception, match="fitted again"):
        forecast()


def test_a_candidate_left_out_is_known_from_its_labels() -> None:
    from eval.harness.sample import prepare
    from eval.harness.trial import make_split

    world = synthetic(900)
    names = ["a", "b", "c", "d", "e", "f"]
    correct = np.hstack([world.outcomes.correct, world.outcomes.correct[:, ::-1]])
    cost = np.ones_like(correct)
    outcomes = Outcomes.build(world.outcomes.queries, names, correct, cost_usd=cost)
    sample = prepare(outcomes, world.activations)
    trained, few = onboarding.left_out_once(sample, make_split(sample, 0, 0.0), [1], 0)
    none, some = few[0][0], few[0][-1]
    assert trained[0] > 0.85
    assert none[0] > trained[0] - 0.05
    assert some[1] < max(0.05, none[1])


def test_a_scorer_is_timed_with_all_its_parts() -> None:
    scorer = scoring.make_scorer(24, 3, np.random.default_rng(0))
    assert scorer.probes.waves is not None
    table = scorer.score(np.random.default_rng(1).normal(size=(40, 24)).astype(np.float32))
    assert table.success.shape == (40, 3)
    assert np.isfinite(table.novelty).all()


def test_memory_is_measured_in_a_process_of_its_own() -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(3000, 700)).astype(np.float32)
    ratio = solving.peak_memory(features, rng.random((3000, 2)), np.arange(3000))
    assert 1 < ratio < 20


@pytest.mark.parametrize("field", ["n", "width", "candidates"])
def test_operations_grow_linearly_where_one_side_is_large(field: str) -> None:
    size = Size(200_000, 20_000, 200)
    doubled = replace(size, **{field: 2 * getattr(size, field)})
    growth = doubled.operations() / size.operations()
    assert 1 < growth <= (4 if field == "candidates" else 2.0001)


def test_the_growth_picture_has_a_point_for_each_size() -> None:
    seconds = {name: [float(i + 1) for i in range(len(sizes))] for name, sizes in SWEEPS.items()}
    drawing = ElementTree.fromstring(growth_picture(seconds))
    circles = [item for item in drawing.iter() if item.tag.endswith("circle")]
    assert len(circles) == sum(len(sizes) for sizes in SWEEPS.values())
