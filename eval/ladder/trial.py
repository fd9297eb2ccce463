"""A router put to the test over HTTP, every candidate's own answer beside the routed one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from eval.grading.graders import exact
from eval.ladder.questions import Question
from eval.metrics.bootstrap import GroupedBootstrap, interval
from eval.metrics.curves import oracle_choices
from probes.errors import BackendError
from router.configuration.pool import Pool

Floats = np.ndarray[Any, np.dtype[np.float64]]
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Trial:
    """What n questions and K candidates gave.

    Attributes
    ----------
    questions : tuple of Question
        The n questions.
    candidates : tuple of str
        The K candidates, in the pool's order.
    success, expected_cost_usd : ndarray of shape (n, K)
        What the router expected of each candidate.
    correct, cost_usd : ndarray of shape (n, K)
        How each candidate did when asked by name.
    chosen : tuple of str
        Who answered the routed request.
    routed_correct, routed_cost_usd : ndarray of shape (n,)
        How that answer did; its cost holds the scout's.
    scout_cost_usd : ndarray of shape (n,)
        The scout's share.
    answers : tuple of str
        The routed answers as they came.
    """

    questions: tuple[Question, ...]
    candidates: tuple[str, ...]
    success: Floats
    expected_cost_usd: Floats
    correct: Floats
    cost_usd: Floats
    chosen: tuple[str, ...]
    routed_correct: Floats
    routed_cost_usd: Floats
    scout_cost_usd: Floats
    answers: tuple[str, ...]

    @property
    def cheapest(self) -> int:
        """Position of the candidate whose answers cost least on average."""
        return int(self.cost_usd.mean(axis=0).argmin())

    def columns(self, best: str) -> tuple[Floats, Floats]:
        """Correctness and cost of each way to answer, both [n, 4], in the order of `WAYS`.

        `best` is the candidate that was most accurate where the router was fitted, not here.
        """
        rows = np.arange(len(self.questions))
        top = self.candidates.index(best)
        hindsight = oracle_choices(self.correct, self.cost_usd)
        correct = [self.routed_correct, self.correct[:, self.cheapest], self.correct[:, top]]
        cost = [self.routed_cost_usd, self.cost_usd[:, self.cheapest], self.cost_usd[:, top]]
        return (
            np.column_stack([*correct, self.correct[rows, hindsight]]),
            np.column_stack([*cost, self.cost_usd[rows, hindsight]]),
        )


WAYS = ("routed", "cheapest", "best", "oracle")
"""The ways to answer that a trial compares, in the order of `Trial.columns`."""


def summary(trial: Trial, best: str) -> dict[str, Any]:
    """Totals of a trial, with 95% intervals of a paired bootstrap over questions.

    Returns
    -------
    dict
        ``accuracy`` and ``cost_usd`` by way to answer, ``served_by``, and ``intervals`` of every accuracy, of
        the routed accuracy minus the best candidate's, and of the routed cost over its cost.
    """
    correct, cost = trial.columns(best)
    means = GroupedBootstrap([q.id for q in trial.questions]).means(np.column_stack([correct, cost]))
    accuracy, spent = means[:, :4], means[:, 4:]
    spread = {way: list(interval(accuracy[:, i])) for i, way in enumerate(WAYS)}
    return {
        "questions": len(trial.questions),
        "accuracy": dict(zip(WAYS, correct.mean(axis=0).tolist(), strict=True)),
        "cost_usd": dict(zip(WAYS, cost.sum(axis=0).tolist(), strict=True)),
        "served_by": {name: trial.chosen.count(name) for name in trial.candidates},
        "best": best,
        "cheapest": trial.candidates[trial.cheapest],
        "candidates": {
            name: {
                "accuracy": float(trial.correct[:, k].mean()),
                "cost_usd": float(trial.cost_usd[:, k].sum()),
            }
            for k, name in enumerate(trial.candidates)
        },
        "cost_ratio": float(cost[:, 0].sum() / cost[:, 2].sum()),
        "scout_share": float(trial.scout_cost_usd.sum() / cost[:, 0].sum()),
        "intervals": {
            "accuracy": spread,
            "accuracy_gap": list(interval(accuracy[:, 0] - accuracy[:, 2])),
            "cost_ratio": list(interval(spent[:, 0] / spent[:, 2])),
        },
    }


async def run_trial(
    url: str,
    pool: Pool,
    questions: Sequence[Question],
    *,
    concurrency: int = 16,
    progress: Progress = lambda done, total: None,
) -> Trial:
    """Send every question as ``auto`` and to each candidate by name, with the official client.

    Parameters
    ----------
    url : str
        Base URL of a running gateway, ending in ``/v1``.
    pool : Pool
        Its pool: names and prices.
    questions : sequence of Question
        What to ask.
    concurrency : int
        Requests in flight.
    progress : callable
        Told (done, all) after every answer.

    Raises
    ------
    BackendError
        A request failed for good.
    """
    from openai import AsyncOpenAI, OpenAIError

    models = ["auto", *pool.names]
    total, done = len(models) * len(questions), 0
    slots = asyncio.Semaphore(concurrency)

    async def ask(client: AsyncOpenAI, model: str, question: Question) -> dict[str, Any]:
        nonlocal done
        async with slots:
            completion = await client.chat.completions.create(
                model=model,
                messages=[{"role": "user", "content": question.prompt}],
                extra_body={"foresight": {"explain": model == "auto"}},
            )
        done += 1
        progress(done, total)
        return completion.to_dict()

    try:
        async with AsyncOpenAI(base_url=url, api_key="none") as client:
            bodies = await asyncio.gather(*(ask(client, m, q) for m in models for q in questions))
    except OpenAIError as error:
        raise BackendError(f"The gateway did not answer: {error}") from error
    by_model = [bodies[i : i + len(questions)] for i in range(0, total, len(questions))]
    return _tabulate(pool, tuple(questions), by_model[0], by_model[1:])


def _tabulate(
    pool: Pool,
    questions: tuple[Question, ...],
    routed: Sequence[dict[str, Any]],
    singles: Sequence[Sequence[dict[str, Any]]],
) -> Trial:
    told = [body["foresight"] for body in routed]
    scout = np.array([decision["scout_cost_usd"] for decision in told])
    chosen = tuple(decision["served_by"] for decision in told)
    answered = np.array([_cost_usd(pool, name, body) for name, body in zip(chosen, routed, strict=True)])
    return Trial(
        questions=questions,
        candidates=pool.names,
        success=_by_candidate(pool, told, "success"),
        expected_cost_usd=_by_candidate(pool, told, "expected_cost_usd"),
        correct=np.column_stack([_right(questions, bodies) for bodies in singles]),
        cost_usd=np.column_stack(
            [
                [_cost_usd(pool, name, b) for b in bodies]
                for name, bodies in zip(pool.names, singles, strict=True)
            ]
        ),
        chosen=chosen,
        routed_correct=_right(questions, routed),
        routed_cost_usd=answered + scout,
        scout_cost_usd=scout,
        answers=tuple(_text(body) for body in routed),
    )


def _by_candidate(pool: Pool, told: Sequence[Mapping[str, Any]], field: str) -> Floats:
    return np.array([[decision[field].get(name, np.nan) for name in pool.names] for decision in told])


def _right(questions: Sequence[Question], bodies: Sequence[dict[str, Any]]) -> Floats:
    return np.array([exact(_text(body), q.answer) for q, body in zip(questions, bodies, strict=True)])


def _text(body: Mapping[str, Any]) -> str:
    return body["choices"][0]["message"].get("content") or ""


def _cost_usd(pool: Pool, name: str, body: Mapping[str, Any]) -> float:
    price, usage = pool[name].price, body["usage"]
    spent = (
        usage["prompt_tokens"] * price.usd_per_mtok_in + usage["completion_tokens"] * price.usd_per_mtok_out
    )
    return float(spent / 1e6)
