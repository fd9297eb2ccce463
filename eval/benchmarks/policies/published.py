"""Numbers that others have published, and metrics worked out by hand."""

from __future__ import annotations

import json
from collections.abc import Iterator

import numpy as np

from eval.benchmarks.row import Row, Setting
from eval.metrics.areas import aiq, mdp_auccc, p_auccc
from eval.metrics.curves import Curve, Singles
from eval.metrics.savings import normalised_costs, saving_at_accuracy
from eval.metrics.strength import apgr, cpt

SWEEPS = "paper_a_sweeps.json"
ALWAYS_HIGH = "gpt-oss-20b_high"


def rows(setting: Setting) -> Iterator[Row]:
    """Paper A's own sweeps (arXiv 2602.09924, its repository's notebooks), then the hand-worked cases."""
    path = None if setting.data is None else setting.data / SWEEPS
    if path is None or not path.is_file():
        yield Row("paper A's sweeps", "its own numbers", f"unmeasured: no {SWEEPS} under --data", None)
    else:
        found = json.loads(path.read_text(encoding="utf-8"))
        yield from _paper_a(found)
    yield _by_hand()


def _paper_a(found: dict[str, list[list[float]]]) -> Iterator[Row]:
    singles: dict[str, list[float]] = dict(found["math_single_acc_cost"])  # type: ignore[arg-type]
    target, high = singles[ALWAYS_HIGH]
    utility = Curve.of([(cost, accuracy) for _, accuracy, cost in found["math_utility_lambda_acc_cost"]])
    saving = saving_at_accuracy(utility, target, high)
    yield Row(
        "paper A, MATH, utility sweep: saving at always-high's accuracy .920",
        "50.5% (its '70%' does not follow from its own sweep)",
        f"{saving:.1%}; at 70% saving the same sweep has accuracy "
        f"{utility.accuracy[1 - utility.cost / high >= 0.7].max():.3f}",
        round(saving, 3) == 0.505,
    )
    steps = found["math_cascade_math7b_to_ossmedium_tau_acc_cost"]
    cascade = Curve.of([(cost, accuracy) for _, accuracy, cost in steps])
    references: dict[str, list[float]] = dict(found["math_cascade_refs"])  # type: ignore[arg-type]
    saving = saving_at_accuracy(cascade, *references["always_ossmedium"])
    what = "paper A, MATH, cascade sweep: saving at always-medium's accuracy"
    yield Row(what, "9.8%", f"{saving:.1%}", round(saving, 3) == 0.098)
    usd: dict[str, float] = dict(found["math_tier_cost_usd_train_mean"])  # type: ignore[arg-type]
    costs = np.sort(normalised_costs(np.array(list(usd.values()))))
    reach = np.array([0, 0.0235, 0.2494, 0.368, 1])
    yield Row(
        "paper A, MATH: normalised costs of its five tiers",
        "0, .0235, .2494, .368, 1",
        ", ".join(f"{cost:.4f}" for cost in costs),
        bool(np.abs(costs - reach).max() < 1e-4),
    )


def _by_hand() -> Row:
    two = Singles(np.array([1.0, 3.0]), np.array([0.6, 0.9]))
    straight = Curve.of([(1, 0.6), (3, 0.9)])
    three = Curve.of([(1, 0.6), (2, 0.8), (3, 0.9)])
    cases = {
        "P-AUCCC of c = (1, 3), acc = (.6, .9)": (p_auccc(straight, two), 0.15),
        "MDP-AUCCC of the same": (mdp_auccc(straight, two), 0.0),
        "MDP-AUCCC of a point (1.5, .9)": (mdp_auccc(Curve.of([(1.5, 0.9)]), two), 0.525 / 2 - 0.15),
        "AIQ of (2, .8), (2.5, .7)": (aiq(Curve.of([(2, 0.8), (2.5, 0.7)]), two), 0.75),
        "APGR of (1, .6), (2, .8), (3, .9)": (apgr(three, two), ((0.7 + 0.85) / 2 - 0.6) / 0.3),
        "CPT(50) of the same": (cpt(three, two, 0.5), 0.375),
        "CPT(80) of the same": (cpt(three, two, 0.8), 0.7),
    }
    wrong = [name for name, (found, exact) in cases.items() if abs(found - exact) > 1e-12]
    measured = f"{len(cases) - len(wrong)} of {len(cases)} exact" + (f"; not {wrong}" if wrong else "")
    return Row("APGR, CPT, AIQ, P-AUCCC, MDP: cases worked by hand", "exact", measured, not wrong)
