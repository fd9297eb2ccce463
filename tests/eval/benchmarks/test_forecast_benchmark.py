"""The forecast benchmark's own parts: what is asked was never learnt, public tables are read whole."""

from __future__ import annotations

import gzip
from dataclasses import replace
from pathlib import Path
from random import Random

import numpy as np
import pytest
import torch
from scipy.special import expit

from eval.benchmarks.forecast import contexts, curves, ends
from eval.benchmarks.forecast.checkpoints import Watched
from eval.benchmarks.forecast.material.answers import Exam, kwargs
from eval.benchmarks.forecast.material.courses import Course
from eval.benchmarks.forecast.material.greedy import drawn, greedy
from eval.benchmarks.forecast.material.mixtures import MIXTURES, SMALL, TARGET, TINY, VARIED, run_of
from eval.benchmarks.forecast.material.models import Series, parameters
from eval.benchmarks.row import Setting
from eval.ladder import FOLDER
from eval.ladder.questions import FAMILIES, split_of
from eval.ladder.sequences import target_text
from eval.ladder.sizes import CHECKPOINT_SHARES, SIZES
from eval.tables import Floats
from probes.forecast.rank.proxies import PROXIES


def test_questions_that_are_asked_are_in_no_other_split() -> None:
    asked, taught = Exam.draw(3), Exam.draw(5, split="fit")
    assert {split_of(q.prompt) for q in asked.questions} == {"test"}
    assert {split_of(q.prompt) for q in taught.questions} == {"fit"}
    assert [asked.families.count(name) for name in FAMILIES] == [3] * len(FAMILIES)
    assert asked.questions == Exam.draw(6).questions[: len(asked)], "a smaller exam begins a larger one"


def test_small_runs_cost_what_they_claim() -> None:
    whole = parameters(TARGET) * TARGET.tokens
    assert parameters(TINY) * TINY.tokens <= 1e-3 * whole
    assert parameters(SMALL) * SMALL.tokens <= 1e-2 * whole
    assert len(MIXTURES) >= 8
    assert len(set(VARIED)) == len(VARIED)
    assert {name for name, _ in VARIED} == set(MIXTURES)
    assert list(run_of(Path("x"), "even", TINY).folders) == list(CHECKPOINT_SHARES)
    assert run_of(Path("x"), "even", TINY, seed=1).name == "even-thousandth-1"


@pytest.mark.parametrize("name", list(SIZES))
def test_parameters_are_counted_as_transformers_counts_them(name: str) -> None:
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(FOLDER / "models" / name, local_files_only=True)
    assert parameters(SIZES[name]) == sum(p.numel() for p in model.parameters())


def test_lengths_beyond_the_context_are_beyond_it() -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(FOLDER / "models" / "ladder-s", local_files_only=True)
    for family, shots in contexts.BEYOND.items():
        for number in shots:
            prompts = [contexts.FAMILIES[family](Random(i), 0.5, number).prompt for i in range(20)]
            sizes = [len(ids) for ids in tokenizer(prompts, verbose=False)["input_ids"]]
            assert np.mean(sizes) > contexts.CONTEXT_TOKENS


def test_many_greedy_answers_are_those_of_transformers_one_by_one() -> None:
    """With experts' answers as drafts, where they are cut, and where a draft is the answer."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = FOLDER / "models" / "ladder-s"
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    model = AutoModelForCausalLM.from_pretrained(folder, local_files_only=True, dtype=torch.float32).eval()
    exam, most = Exam.draw(2), 40
    texts = tokenizer.apply_chat_template(
        exam.conversations(), tokenize=False, add_generation_prompt=True, **kwargs("think")
    )
    prompts = tokenizer(texts, add_special_tokens=False)["input_ids"]
    expert = [target_text(question, think=True) for question in exam.questions]
    expected = []
    for ids in prompts:
        found = model.generate(
            input_ids=torch.tensor([ids]), max_new_tokens=most, do_sample=False, pad_token_id=0
        )
        answer = found[0, len(ids) :].tolist()
        expected.append(answer[:-1] if answer[-1] == 1 else answer)
    drafts = tokenizer(expert, add_special_tokens=False)["input_ids"]
    assert greedy(model, prompts, most, end=1) == expected
    assert greedy(model, prompts, most, end=1, drafts=drafts) == expected
    assert greedy(model, prompts, most, end=1, drafts=[[*one, 1] for one in expected]) == expected
    cold = drawn(model, prompts, most, end=1, temperature=1e-4, seed=0)
    assert np.mean([a == b for a, b in zip(cold, expected, strict=True)]) > 0.9
    warm = drawn(model, prompts, most, end=1, temperature=2.0, seed=0)
    assert warm != expected
    assert warm == drawn(model, prompts, most, end=1, temperature=2.0, seed=0)


def growing(end: float, t: Floats) -> Floats:
    return end - 0.05 * (t / t.max()) ** -0.3 + 0.05


def write_olmo(path: Path) -> None:
    """Three sizes, two runs each; a column that no run has filled."""
    rows = ["run,_step,eval/downstream/a_val_x,eval/downstream/b_val_x,eval/downstream/c_val_x"]
    for i, size in enumerate(("190M", "370M", "1B")):
        for length, steps in (("1xC", 2000), ("5xC", 10000)):
            t = np.linspace(steps / 80, steps, 80)
            values = growing(0.4 + 0.05 * i + (0.03 if steps > 2000 else 0), t)
            rows += [
                f"{size}-{length},{step},{v},{v + 0.02},"
                for step, v in zip(t.tolist(), values.tolist(), strict=True)
            ]
    path.parent.mkdir(parents=True)
    with gzip.open(path, "wt") as handle:
        handle.write("\n".join(rows) + "\n")


def test_public_runs_are_read_whole_and_foreseen_from_other_sizes(tmp_path: Path) -> None:
    write_olmo(tmp_path / "checkpoints" / "olmo_ladder.csv.gz")
    runs = curves.olmo(tmp_path / "checkpoints" / "olmo_ladder.csv.gz")
    assert [len(run.steps) for run in runs] == [80] * 6
    assert runs[0].values[-1] == pytest.approx(0.41)
    assert runs[-1].compute == 1e9 * 10000
    row = curves._public(Setting(tmp_path, tmp_path), "olmo_ladder", curves.olmo, "made-up runs")
    assert row.met, row.measured
    assert curves._public(Setting(None, tmp_path), "olmo_ladder", curves.olmo, "none").met is None


def test_a_frozen_probe_is_judged_within_families_on_other_checkpoints() -> None:
    correct = np.array([[0, 1, 0, 1], [1, 1, 0, 1]], dtype=float)
    forecast = np.full((2, 2, 4), np.nan)
    forecast[0] = [[0.1, 0.2, 0.8, 0.9], [0.1, 0.2, 0.8, 0.9]]
    watched = Watched(
        Series("x", {}, 1, 1),
        "direct",
        (0.1, 1.0),
        forecast,
        correct,
        np.array(["a", "a", "b", "b"]),
        np.arange(4.0),
    )
    assert watched.sources == [0]
    assert watched.area(0, 0) == 1.0
    assert watched.area(0, 1) == 1.0, "only family b has right and wrong answers"
    assert watched.area_of_difficulty(0) == 0.0, "the later question, the harder one, is the right one"


def grown(level: float, size: float = 1.0) -> Course:
    """A run asked at its end only, of which proxies and text say the same."""
    shares = np.array([0.01, 0.02, 0.03, 0.04, 0.05, 0.1, 0.3, 1.0])
    score = level - 0.4 * (shares**-0.3 - 1)
    proxies = np.tile(np.exp(score)[:, None], (1, len(PROXIES)))
    accuracy = np.where(shares == 1, expit(score), np.nan)
    return Course(shares, proxies, np.exp(-score), (1e4 * size, 1e6), accuracy)


def test_an_end_is_foreseen_from_runs_that_got_there_by_numbers_that_rise_and_fall() -> None:
    runs = [grown(level) for level in (-2.5, -2.0, -1.7, -1.5, -1.3, -1.1, -0.9, -0.5)]
    new = grown(-1.2)
    for gauge in (ends.together(runs), ends.alone(runs, lambda run: -np.log(run.text_nats))):
        assert ends.foresee(new, runs, gauge) == pytest.approx(new.end, abs=0.02)


def test_a_straight_line_needs_nothing_but_what_is_known_early() -> None:
    runs = [grown(np.log(size) - 2, size) for size in (1, 1.5, 2, 3, 4, 5)]
    new = grown(np.log(2.5) - 2, 2.5)
    unknown = replace(new, accuracy=np.full_like(new.accuracy, np.nan))
    for numbers in ends._STRAIGHT.values():
        assert ends._straight(unknown, runs, numbers) == pytest.approx(new.end, abs=0.03)
