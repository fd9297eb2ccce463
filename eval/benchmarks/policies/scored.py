"""Outcome sets with a router's predictions for questions that its fit has not seen."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from eval.benchmarks.probes.sets import load, read_minilm
from eval.benchmarks.row import Setting
from eval.harness.contestants import make_forecaster
from eval.outcomes import Outcomes
from probes.encoders.encoder import Activations
from probes.splits import grouped_split
from router.fit.knob import Outcome
from router.policies import CandidateTable

SETS = (
    ("mmlu_pro", None),
    ("zeroeval", "gsm"),
    ("zeroeval", "math-l5"),
    ("zeroeval", "crux"),
    ("routellm", None),
    ("pika_math", None),
    ("llmrouter_ulab", None),
    ("cruxeval", None),
    ("gsm8k_openai", None),
)
"""Folder, and the dataset in it where its datasets have different candidates."""

LAYERS = slice(4, 7)
"""Hidden states of the packaged sentence encoder that the benchmark reads: the last three, mean pooled."""
COVERAGE = 0.9


@dataclass(frozen=True)
class Scored:
    """Questions, predictions for them, and what happened.

    Attributes
    ----------
    name : str
        The set.
    table : CandidateTable
        Predicted success, and mean costs of the questions that the router was fitted on.
    outcome : Outcome
        What happened.
    groups : ndarray of shape (n,)
        Questions of one group count as one.
    reference : int
        The most accurate candidate of the questions that the router was fitted on.
    priced : bool
        Whether the costs are the set's own.
    """

    name: str
    table: CandidateTable
    outcome: Outcome
    groups: np.ndarray[Any, Any]
    reference: int
    priced: bool

    def take(self, rows: np.ndarray[Any, Any]) -> Scored:
        """Some of the questions."""
        table = replace(
            self.table,
            success=self.table.success[rows],
            cost_usd=self.table.cost_usd[rows],
            eligible=self.table.eligible[rows],
        )
        outcome = Outcome(
            *(part[rows] for part in (self.outcome.correct, self.outcome.cost_usd, self.outcome.known))
        )
        return replace(self, table=table, outcome=outcome, groups=self.groups[rows])


def complete(setting: Setting) -> Iterator[tuple[str, Outcomes, Activations | None, bool]]:
    """Every set that is there: name, questions answered by all candidates, activations, whether priced.

    A set without costs is priced by the accuracy of its candidates, so that a policy has something to save.
    """
    for folder, dataset in SETS:
        outcomes = load(setting, folder)
        if outcomes is None:
            continue
        if dataset is not None:
            outcomes = outcomes.take(np.array(outcomes.datasets) == dataset)
            if not len(outcomes):
                continue
        name = dataset if dataset and folder == "zeroeval" else folder
        outcomes = _complete(outcomes)
        priced = bool(np.isfinite(outcomes.cost_usd).all())
        if not priced:
            cost = np.broadcast_to(outcomes.correct.mean(axis=0), outcomes.correct.shape)
            outcomes = replace(outcomes, cost_usd=np.array(cost))
        yield name, replace(outcomes, name=name), _read(setting, outcomes), priced


def scored(setting: Setting) -> Iterator[Scored]:
    """Every set, a probe bank fitted on 40% of its questions, the rest predicted."""
    for name, outcomes, read, priced in complete(setting):
        yield score(name, outcomes, read, priced=priced)


def score(name: str, outcomes: Outcomes, read: Activations | None, *, priced: bool) -> Scored:
    """One set, a probe bank fitted on 40% of its questions, the rest predicted."""
    parts = grouped_split(np.array(outcomes.groups), {"train": 0.4, "rest": 0.6}, 0)
    train, rest = outcomes.take(parts["train"]), outcomes.take(parts["rest"])
    features = np.zeros((len(outcomes), 0), np.float32) if read is None else read.features()
    forecaster = make_forecaster("tfidf" if read is None else "foresight", 0)
    forecaster.fit(train, features[parts["train"]])
    success = forecaster.predict(rest.queries, features[parts["rest"]])
    cost = np.broadcast_to(train.cost_usd.mean(axis=0), success.shape)
    table = CandidateTable(success, cost, rest.candidates)
    best = int(np.lexsort((train.cost_usd.mean(axis=0), -train.correct.mean(axis=0)))[0])
    outcome = Outcome.of(table, rest.correct, rest.cost_usd)
    return Scored(name, table, outcome, np.array(rest.groups), best, priced)


def _complete(outcomes: Outcomes) -> Outcomes:
    coverage = outcomes.answered.mean(axis=0)
    kept = [outcomes.candidates[k] for k in np.flatnonzero(coverage >= COVERAGE * coverage.max())]
    outcomes = outcomes.select(kept)
    return outcomes.take(np.asarray(outcomes.answered.all(axis=1)))


def _read(setting: Setting, outcomes: Outcomes) -> Activations | None:
    read = read_minilm(setting, outcomes)
    return None if read is None else replace(read, values=read.values[:, LAYERS, :1])
