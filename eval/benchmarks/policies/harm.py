"""Do no harm: the router that an evaluation recommends is never below what needs no router."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from eval.benchmarks.policies.scored import complete
from eval.benchmarks.row import Row, Setting
from eval.harness import EvaluationResult, evaluate
from eval.metrics.frontier import accuracy_at_cost
from eval.outcomes import Outcomes
from probes.encoders.encoder import Activations

ROUTERS = ("foresight", "independent", "knn", "tfidf")


def rows(setting: Setting) -> Iterator[Row]:
    """One row a set, then one of its candidates at equal prices and one without headroom."""
    for name, outcomes, read, _ in complete(setting):
        yield _row(setting, name, outcomes, read)
        if name == "llmrouter_ulab":
            flat = replace(outcomes, cost_usd=np.ones_like(outcomes.cost_usd))
            yield _row(setting, f"{name} at equal prices", flat, read)
            yield _row(setting, f"{name} without headroom", _nested(outcomes), read)


def _row(setting: Setting, name: str, outcomes: Outcomes, read: Activations | None) -> Row:
    routers = ROUTERS if read is not None else ("tfidf",)
    few = 2 if setting.quick else 5
    result = evaluate(outcomes, scout=read, routers=routers, seeds=few, draws=300)
    below, verdict = shortfall(result)
    return Row(
        f"do no harm, {name}: the default against the singles' hull at its cost",
        "not below by more than the interval",
        verdict,
        below <= 0,
    )


def shortfall(result: EvaluationResult) -> tuple[float, str]:
    """How far even the upper end of the default's accuracy lies below the hull at its cost, and in words."""
    if result.default not in result.routers:
        return 0.0, f"default {result.default}: the best single candidate, on the hull"
    router = result.routers[result.default]
    hull = float(accuracy_at_cost(result.hull, router.cost))
    upper = result.best_single.accuracy + router.accuracy_gap_ci.high
    words = (
        f"default {result.default}: accuracy {router.accuracy:.3f} at {router.cost_ratio:.2f} of the best "
        f"single's cost, the hull there {hull:.3f} (upper end of the interval {upper:.3f})"
    )
    return hull - upper, words


def _nested(outcomes: Outcomes) -> Outcomes:
    """Candidates of which none is right where the best is wrong: an oracle gains nothing in accuracy."""
    best = int(outcomes.correct.mean(axis=0).argmax())
    return replace(outcomes, correct=np.minimum(outcomes.correct, outcomes.correct[:, [best]]))
