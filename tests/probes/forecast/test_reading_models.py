"""Token statistics and activations of real transformers models, against what transformers itself computes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from probes.errors import ArtefactError, DataError, UsageError
from probes.forecast.checkpoint.callback import ForecastCallback
from probes.forecast.checkpoint.states import DOUBTS, States, read_folder
from probes.forecast.checkpoint.transfer import LADDER, agreement, fit_probe
from probes.forecast.rank import statistics
from probes.forecast.rank.proxies import PROXIES, STATISTICS
from probes.forecast.rank.solutions import Solution
from probes.forecast.rank.teacher import Teacher

ASKED = [
    [{"role": "user", "content": text}] for text in ("what is seven plus five", "the quick fox", "a dog")
]


def reference(logits: torch.Tensor, tokens: torch.Tensor) -> np.ndarray:
    """The ten statistics, straight from the definition."""
    p = torch.softmax(logits.double(), dim=-1)
    own = p.gather(1, tokens[:, None])[:, 0]
    rank = (logits > logits.gather(1, tokens[:, None])).sum(1) + 1
    top = p.amax(1)
    entropy = -(p * p.log()).sum(1) / np.log(logits.shape[1])
    wrong = torch.where(rank == 1, 0.0, top)
    accuracies = [(rank <= k).double() for k in (1, 2, 3, 5)]
    return torch.stack(
        [-own.log(), *accuracies, entropy, rank, 1 / rank, torch.where(rank == 1, 0.0, top - own), wrong], 1
    ).numpy()


@pytest.mark.parametrize("block", [3, 64, 8192])
def test_streaming_over_the_vocabulary_equals_the_definition(
    block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(statistics, "VOCABULARY_AT_ONCE", block)
    monkeypatch.setattr(statistics, "TOKENS_AT_ONCE", 7)
    generator = torch.Generator().manual_seed(0)
    states, head = torch.randn(20, 8, generator=generator), 2 * torch.randn(101, 8, generator=generator)
    tokens = torch.randint(0, 101, (20,), generator=generator)
    tokens[:5] = (states[:5] @ head.T).argmax(1)
    found = statistics.stream(states, head, tokens).table().numpy()
    np.testing.assert_allclose(found, reference(states @ head.T, tokens), atol=2e-5, rtol=1e-4)
    direct = statistics.from_logits(states @ head.T, tokens).table().numpy()
    np.testing.assert_allclose(found, direct, atol=2e-5, rtol=1e-4)
    columns = dict(zip(STATISTICS, found.T, strict=True))
    assert ((columns["rank"] == 1) == (columns["top1"] == 1)).all()
    assert ((columns["margin"] == 0) == (columns["top1"] == 1)).all()


def test_the_uniform_proxy_is_the_models_own_loss_on_the_solutions_end(tiny_llama: Path) -> None:
    teacher = Teacher(tiny_llama)
    assert teacher.streams
    solutions = [Solution(ASKED[0], "seven plus five is twelve"), Solution(ASKED[1], "jumps")]
    scored = teacher.score(solutions, last_tokens=6)
    for solution, row in zip(solutions, scored.values, strict=True):
        prompt = teacher.tokenizer.apply_chat_template(
            list(solution.conversation), add_generation_prompt=True, tokenize=False
        )
        head = teacher.tokenizer(prompt, add_special_tokens=False)["input_ids"]
        ids = head + teacher.tokenizer(solution.text, add_special_tokens=False)["input_ids"]
        labels = torch.tensor([ids])
        labels[:, : max(len(head), len(ids) - 6)] = -100
        with torch.no_grad():
            loss = teacher.model(input_ids=torch.tensor([ids]), labels=labels).loss
        assert row[PROXIES.index("nll/uniform")] == pytest.approx(float(loss), rel=1e-4)
    teacher.streams = False
    np.testing.assert_allclose(
        teacher.score(solutions, last_tokens=6).values, scored.values, rtol=1e-3, atol=1e-5
    )


def test_bytes_make_a_solutions_total_nats_the_same_under_any_tokeniser(tiny_llama: Path) -> None:
    text = "the quick brown fox, é"
    teacher = Teacher(tiny_llama)
    by_token = teacher.score([Solution(ASKED[0], text)]).values[0, 0]
    by_byte = teacher.score([Solution(ASKED[0], text)], by_bytes=True).values[0, 0]
    n_tokens = len(teacher.tokenizer(text, add_special_tokens=False)["input_ids"])
    assert by_byte * len(text.encode()) == pytest.approx(by_token * n_tokens, rel=0.05)


def test_what_cannot_be_scored_is_refused_or_left_out(tiny_llama: Path, tmp_path: Path) -> None:
    teacher = Teacher(tiny_llama)
    long = Solution(ASKED[0], "fox " * 2000, task="long")
    scored = teacher.score([Solution(ASKED[0], "fox", task="short"), long])
    assert list(scored.by_task()) == ["short"]
    with pytest.raises(UsageError, match="None of 1 solutions fits"):
        teacher.score([long])
    with pytest.raises(DataError, match="empty"):
        teacher.score([Solution(ASKED[0], "  ")])
    with pytest.raises(ArtefactError):
        Teacher(tmp_path / "nothing")
    with pytest.raises(ArtefactError, match="holds no causal"):
        Teacher(tmp_path)


def world(n: int, seed: int = 0, width: int = 12) -> tuple[States, np.ndarray, np.ndarray]:
    """States whose last token holds the difficulty, with k of five draws right."""
    rng = np.random.default_rng(seed)
    layers, tail = rng.normal(size=(n, 4, 2, width)), rng.normal(size=(n, 16, width))
    logit = 2.5 * layers[:, -1, 0, 0]
    chance = 1 / (1 + np.exp(-logit))
    rate = rng.binomial(5, chance) / 5
    doubt = rng.normal(size=(n, len(DOUBTS))).astype(np.float32)
    return States(layers.astype(np.float16), tail.astype(np.float16), doubt), rate, chance


def test_the_simplest_probe_that_does_as_well_is_kept_and_transfers_frozen() -> None:
    states, rate, _ = world(400)
    probe = fit_probe(states, rate, trials=np.full(400, 5))
    assert probe.chosen == "last"
    assert [rung.name for rung in probe.rungs] == list(LADDER)
    later, _, chance = world(300, seed=1)
    success = probe.predict(later)
    assert np.corrcoef(success, chance)[0, 1] > 0.97
    drifted = replace(later, layers=(3 * later.layers + 1).astype(np.float16))
    assert spearmanr(probe.predict_later(drifted), chance).statistic > 0.95
    assert agreement(probe.out_of_fold, rate, ["a"] * 400)["auroc_within"] > 0.8


def test_attention_finds_the_token_that_tells() -> None:
    rng = np.random.default_rng(0)
    states, _, _ = world(500)
    tail = rng.normal(size=(500, 16, 12))
    place, sign = rng.integers(0, 16, 500), rng.choice([-1.0, 1.0], 500)
    tail[np.arange(500), place, 0] += 8  # marks the token to read
    tail[np.arange(500), place, 1] += 4 * sign
    marked = replace(states, tail=tail.astype(np.float16))
    probe = fit_probe(marked, (sign > 0).astype(float))
    assert probe.chosen == "attention"
    assert agreement(probe.out_of_fold, sign > 0)["auroc"] > 0.9


def test_doubt_is_told_by_the_models_own_first_word(tiny_llama: Path) -> None:
    teacher, states = Teacher(tiny_llama), read_folder(tiny_llama, ASKED)
    for conversation, row in zip(ASKED, states.doubt, strict=True):
        ids = teacher.tokenizer.apply_chat_template(
            conversation, add_generation_prompt=True, return_tensors="pt", return_dict=False
        )
        with torch.no_grad():
            p = torch.softmax(teacher.model(ids).logits[0, -1].double(), dim=-1).numpy()
        best = np.sort(p)[::-1]
        told = [np.log(ids.shape[1]), np.log(best[0]), np.log(best[0] / best[1]), -(p @ np.log(p))]
        np.testing.assert_allclose(row, [*told, np.log(best[:5].sum())], rtol=1e-3, atol=1e-4)


def test_a_blend_tells_what_no_linear_probe_can() -> None:
    rng = np.random.default_rng(0)
    states, _, _ = world(1500, width=6)
    layers = 0.1 * states.layers
    signs = rng.choice([-1.0, 1.0], (1500, 2))
    layers[:, -1, 0, :2] = 4 * signs  # right where both agree
    right = signs.prod(axis=1) > 0
    several = replace(states, layers=layers.astype(np.float16))
    probe = fit_probe(several, right.astype(float), ladder=["last", "doubt", "blend"])
    assert probe.chosen == "blend"
    assert agreement(probe.out_of_fold, right)["auroc"] > 0.9
    assert max(rung.auroc for rung in probe.rungs if rung.name != "blend") < 0.7


def test_standardised_activations_change_the_order_and_not_the_mean_logit() -> None:
    states, rate, _ = world(300)
    probe = fit_probe(states, rate, ladder=["last"])
    later, _, _ = world(200, seed=1)
    moved = replace(later, layers=(0.5 * later.layers + 0.3).astype(np.float16))
    plain, centred = probe.predict(moved), probe.predict_later(moved)
    logits = [np.log(p / (1 - p)) for p in (plain, centred)]
    assert logits[0].mean() == pytest.approx(logits[1].mean(), abs=1e-6)
    assert logits[1].std() > 1.5 * logits[0].std()
    np.testing.assert_array_equal(probe.predict_later(moved.take(range(50))), plain[:50])  # too few


def test_a_probe_reads_doubt_that_no_direction_of_the_activations_shows() -> None:
    states, _, _ = world(500)
    right = states.doubt[:, 1] > 0
    probe = fit_probe(states, right.astype(float))
    assert probe.chosen == "doubt"
    assert agreement(probe.out_of_fold, right)["auroc"] > 0.9


@pytest.mark.parametrize(
    ("n", "rate", "words"),
    [
        pytest.param(10, None, "too few", id="few"),
        pytest.param(50, 1.0, "nothing to tell apart", id="all right"),
        pytest.param(50, 0.0, "nothing to tell apart", id="all wrong"),
    ],
)
def test_sets_that_teach_nothing_are_refused(n: int, rate: float | None, words: str) -> None:
    states, drawn, _ = world(n)
    with pytest.raises(UsageError, match=words):
        fit_probe(states, drawn if rate is None else np.full(n, rate))


def test_a_probe_refuses_another_models_states() -> None:
    states, rate, _ = world(60)
    probe = fit_probe(states, rate, ladder=["last"])
    with pytest.raises(DataError, match="wide"):
        probe.predict(world(5, width=7)[0])


def test_a_training_loop_logs_the_forecast_of_each_task_and_trains_on(tiny_llama: Path) -> None:
    teacher = Teacher(tiny_llama)
    many = [[{"role": "user", "content": f"{'fox ' * (i % 7)}dog {i}"}] for i in range(40)]
    states = read_folder(tiny_llama, many)
    rate = (np.arange(40) % 7 > 3).astype(float)
    probe = fit_probe(states, rate, ladder=["last"])
    told: list[tuple[int, dict[str, float]]] = []
    tasks = ["short" if i % 7 < 4 else "long" for i in range(40)]
    callback = ForecastCallback(
        probe, teacher.tokenizer, many, tasks=tasks, every=10, log=lambda step, one: told.append((step, one))
    )
    teacher.model.train()
    for step in range(1, 21):
        callback.on_step_end(
            None, SimpleNamespace(global_step=step, log_history=[]), None, model=teacher.model
        )
    assert [step for step, _ in told] == [10, 20]
    assert set(told[0][1]) == {"all", "short", "long"}
    assert told[0][1]["all"] == pytest.approx(float(probe.predict(states).mean()), abs=1e-3)
    assert teacher.model.training
    with pytest.raises(UsageError):
        ForecastCallback(probe, teacher.tokenizer, many, every=0)
