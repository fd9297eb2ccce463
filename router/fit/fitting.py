"""From graded outcomes and activations to a router and a report: four grouped splits, nothing seen twice.

``train`` and ``select`` fit the probes (slices of the scout, strengths and shrinkage are chosen by grouped
folds), ``calibrate`` maps scores to probabilities. The policies' knobs are set, and the rule that serves is
chosen, on ``calibrate`` and, as the folds foresaw them, on the fitting queries: a knob is as uncertain as the
queries that it is set on are few. Guarantees rest on ``calibrate`` alone; ``test`` is only reported.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from probes.encoders.encoder import Activations, Progress, ScoutIdentity
from probes.errors import DataError
from probes.scoring.scorer import Scorer
from probes.splits import grouped_split
from router.configuration.pool import Pool
from router.decisions.cost import expected_cost_usd, scout_cost_usd
from router.fit.comparison import Comparison, compare
from router.fit.guarantee import certify
from router.fit.knob import DROP, Outcome, Setting, set_knob
from router.fit.report import FitReport, candidate_report, oracle_point, routed_report, single_points
from router.fit.slices import choose_slices, is_open
from router.fit.training import Data, Trained, fit_scorer
from router.fitted import Fitted
from router.policies import CandidateTable, CheapestLikely, Policy, Tolerance, Utility
from router.policies.table import Floats, Ints
from router.router import Router

MIN_QUERIES = 40
"""Fewer cannot be split four ways and still say anything."""


def fit_router(
    pool: Pool,
    activations: Activations,
    correct: ArrayLike,
    trials: ArrayLike | None,
    output_tokens: ArrayLike,
    input_tokens: ArrayLike,
    groups: Sequence[str] | ArrayLike,
    datasets: Sequence[str] | ArrayLike,
    *,
    identity: ScoutIdentity,
    cost_usd: ArrayLike | None = None,
    seed: int = 0,
    drop: float = DROP,
    progress: Progress | None = None,
) -> tuple[Router, FitReport]:
    """Fit a router for a pool.

    Parameters
    ----------
    pool : Pool
        K candidates; columns below are in its order.
    activations : Activations
        Of the n prompts.
    correct : array-like of shape (n, K)
        Share of right draws in [0, 1]; NaN where there is no outcome.
    trials : array-like of shape (n, K), optional
        Draws behind each share.
    output_tokens, input_tokens : array-like of shape (n, K)
        Measured lengths; NaN where unknown.
    groups, datasets : sequence of n str
        What splits and bootstraps keep together; what AUROC is averaged over.
    identity : ScoutIdentity
        The scout that read the activations.
    cost_usd : array-like of shape (n, K), optional
        What was really paid; by default the pool's prices times the tokens.
    seed : int
        Of splits and folds.
    drop : float
        Accuracy that the rules may lose against the best single candidate, on queries held out.
    progress : callable, optional
        Told (done, all) after each step.

    Returns
    -------
    Router, FitReport
        The router holds the report in its record. Where the pool leaves the scout's slices open, its identity
        names those that were chosen.

    Raises
    ------
    DataError
        Shapes do not fit, or there are too few queries or outcomes.
    """
    told: Progress = progress or (lambda done, total: None)
    steps = 5
    data = _checked(
        pool, activations, correct, trials, output_tokens, input_tokens, cost_usd, groups, datasets
    )
    split = grouped_split(data.groups, seed=seed)
    told(1, steps)
    rows = np.concatenate([split["train"], split["select"]])
    slices = {}
    if is_open(pool.scout) and activations.values[0, ..., 0].size > 1:
        chosen = choose_slices(activations.take(rows), identity, data.take(rows), seed=seed)
        data = replace(data, features=chosen.narrow(activations).features())
        identity, slices = chosen.identity(identity), {"slices": chosen.record}
    told(2, steps)
    fitting = data.take(rows)
    calibrating, testing = data.take(split["calibrate"]), data.take(split["test"])
    trained = fit_scorer(fitting, calibrating, seed)
    scorer = trained.scorer
    told(3, steps)
    best = int(np.nanmean(fitting.correct, axis=0).argmax())
    settings, compared = _set_knobs(pool, trained, fitting, calibrating, best, drop)
    fitted = _fitted(pool, calibrating, _predictions(pool, scorer, calibrating)[1], best, settings, compared)
    told(4, steps)
    report = _report(pool, scorer, testing, split, fitted, settings, compared, seed)
    record = {
        "splits": _hashes(data.groups, split),
        "seed": seed,
        "selection": trained.record | slices,
        "metrics": report.to_dict(),
    }
    told(steps, steps)
    return Router(pool, scorer, fitted, identity, record=record), report


def _set_knobs(
    pool: Pool, trained: Trained, fitting: Data, calibrating: Data, best: int, drop: float
) -> tuple[dict[str, Setting], Comparison]:
    """Every rule with its knob set, and which of them serves."""
    table, outcome = _predictions(pool, trained.scorer, calibrating)
    wide = _joined(_predictions(pool, trained.scorer, fitting, trained.held_out), (table, outcome))
    settings = {policy.rule: set_knob(policy, *wide, best, drop=drop) for policy in _knobbed(pool)}
    floor = certify(pool.names[best], table, outcome, groups=calibrating.groups)
    settings[floor.policy.rule] = floor
    tokens = np.concatenate([fitting.prompt_tokens, calibrating.prompt_tokens])
    scout_usd = scout_cost_usd(pool.scout.price_usd_per_mtok, tokens)
    return settings, compare(settings, *wide, best, scout_usd)


def _knobbed(pool: Pool) -> list[Policy]:
    """The rules that have a knob; other numbers of theirs as the pool sets them."""
    latency = pool.policy.latency_usd_per_s or 0.0
    return [CheapestLikely(), Tolerance(), Utility(1.0, latency)]


def _predictions(
    pool: Pool, scorer: Scorer, data: Data, success: Floats | None = None
) -> tuple[CandidateTable, Outcome]:
    """What the router would have believed about queries, and what happened; `success` instead of its own."""
    scores = scorer.score(data.features)
    lengths = np.asarray(scores.output_tokens, dtype=np.float64)
    cost = expected_cost_usd(pool.prices, data.prompt_tokens, lengths)
    believed = scores.success if success is None else success
    table = CandidateTable(np.asarray(believed, dtype=np.float64), cost, pool.names)
    return table, Outcome.of(table, data.correct, data.cost_usd)


def _joined(*parts: tuple[CandidateTable, Outcome]) -> tuple[CandidateTable, Outcome]:
    """Several splits as one."""
    tables, outcomes = zip(*parts, strict=True)
    table = CandidateTable(
        np.concatenate([table.success for table in tables]),
        np.concatenate([table.cost_usd for table in tables]),
        tables[0].names,
    )
    columns = ("correct", "cost_usd", "known")
    return table, Outcome(*(np.concatenate([getattr(each, name) for each in outcomes]) for name in columns))


def _fitted(
    pool: Pool,
    data: Data,
    outcome: Outcome,
    best: int,
    settings: Mapping[str, Setting],
    compared: Comparison,
) -> Fitted:
    accuracy, _ = outcome.singles
    lengths = np.nanmean(data.output_tokens, axis=0)
    return Fitted(
        candidates=pool.names,
        success=dict(zip(pool.names, accuracy.tolist(), strict=True)),
        output_tokens=dict(zip(pool.names, lengths.tolist(), strict=True)),
        safe_candidate=pool.names[best],
        knobs={rule: dict(vars(setting.policy)) for rule, setting in settings.items()},
        static=compared.static,
        rule=compared.chosen,
    )


def _report(
    pool: Pool,
    scorer: Scorer,
    data: Data,
    split: Mapping[str, Ints],
    fitted: Fitted,
    settings: Mapping[str, Setting],
    compared: Comparison,
    seed: int,
) -> FitReport:
    table, outcome = _predictions(pool, scorer, data)
    scout = scout_cost_usd(pool.scout.price_usd_per_mtok, data.prompt_tokens)
    best = pool.index(fitted.safe_candidate)
    singles = single_points(table, outcome)
    return FitReport(
        queries={name: len(rows) for name, rows in split.items()},
        candidates={
            name: candidate_report(
                table.success[:, k], data.correct[:, k], data.datasets, fitted.success[name]
            )
            for k, name in enumerate(pool.names)
        },
        singles=singles,
        cheapest=min(singles, key=lambda name: singles[name].cost_usd),
        best=fitted.safe_candidate,
        oracle=oracle_point(table, outcome),
        scout_cost_usd=float(scout.mean()),
        routed={
            rule: routed_report(
                setting, table, outcome, best, scout, data.groups, static=rule in fitted.static, seed=seed
            )
            for rule, setting in settings.items()
        },
        rule=compared.chosen,
        compared=compared.rules,
    )


def _checked(
    pool: Pool,
    activations: Activations,
    correct: ArrayLike,
    trials: ArrayLike | None,
    output_tokens: ArrayLike,
    input_tokens: ArrayLike,
    cost_usd: ArrayLike | None,
    groups: Any,
    datasets: Any,
) -> Data:
    shape = (len(activations), len(pool.names))
    if shape[0] < MIN_QUERIES:
        raise DataError(f"{shape[0]} queries are too few; {MIN_QUERIES} is the least.", param="outcomes")
    right = _matrix("correct", correct, shape)
    told = right[~np.isnan(right)]
    if ((told < 0) | (told > 1)).any():
        raise DataError("correct must lie in [0, 1].", param="correct")
    prompt = activations.n_tokens.astype(np.float64)
    inputs = _matrix("input_tokens", input_tokens, shape)
    inputs = np.where(np.isnan(inputs), prompt[:, None], inputs)
    outputs = _matrix("output_tokens", output_tokens, shape)
    for name, table in (("correct", right), ("output_tokens", outputs)):
        for k in np.flatnonzero(np.isnan(table).all(axis=0)):
            raise DataError(f"There is no {name} of {pool.names[k]!r}.", param=name)
    paid = expected_cost_usd(pool.prices, inputs, outputs)
    if cost_usd is not None:
        given = _matrix("cost_usd", cost_usd, shape)
        paid = np.where(np.isnan(given), paid, given)
    draws = np.where(np.isnan(right), 0.0, 1.0) if trials is None else _matrix("samples", trials, shape)
    labels = [np.asarray(label, dtype=str) for label in (groups, datasets)]
    for name, label in zip(("groups", "datasets"), labels, strict=True):
        if label.shape != shape[:1]:
            raise DataError(f"{name} has shape {label.shape}, not {shape[:1]}.", param=name)
    return Data(activations.features(), prompt, right, draws, outputs, paid, *labels)


def _matrix(name: str, values: ArrayLike, shape: tuple[int, int]) -> Floats:
    matrix = np.asarray(values, dtype=np.float64)
    if matrix.shape != shape:
        raise DataError(f"{name} has shape {matrix.shape}; queries × candidates is {shape}.", param=name)
    return matrix


def _hashes(groups: np.ndarray[Any, Any], split: Mapping[str, Ints]) -> dict[str, dict[str, Any]]:
    """Size and content of each split, so that a leak can be found later."""
    named = {name: "\n".join(sorted(set(groups[rows].tolist()))) for name, rows in split.items()}
    return {
        name: {"queries": len(split[name]), "sha256": hashlib.sha256(text.encode()).hexdigest()}
        for name, text in named.items()
    }
