"""A new candidate with few graded answers, or none: each candidate left out of the pool once."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from eval.benchmarks.probes.comparison import SEEDS
from eval.benchmarks.probes.sets import load, read_minilm
from eval.benchmarks.row import Row, Setting
from eval.harness.sample import Sample, prepare
from eval.harness.trial import Split, make_split
from eval.tables import Floats
from probes.estimators.bank import ProbeBank
from probes.estimators.solving.coordinates import Coordinates
from probes.estimators.solving.logistic import sigmoid
from probes.metrics import auroc
from probes.scoring.newcomer.onboarding import add_candidate
from probes.scoring.newcomer.spread import spread_rows

LABELS = (0, 20, 50, 200)
DRAWS = 10
"""Sets of labels for each candidate."""
WHAT = "new candidate on mmlu_pro, each left out of the pool once"
REACH = "0 labels: AUROC within .005 of fully trained; 50 labels: level error ≤ .04"


def rows(setting: Setting) -> Iterator[Row]:
    """AUROC and level error by number of labels."""
    outcomes = load(setting, "mmlu_pro")
    activations = None if outcomes is None else read_minilm(setting, outcomes)
    if outcomes is None or activations is None:
        yield Row(WHAT, REACH, "unmeasured: needs mmlu_pro under --data and the extra text-scout", None)
        return
    sample = prepare(outcomes, activations)
    count = len(sample.outcomes.candidates)
    trained, found = [], []
    for seed in range(1 if setting.quick else SEEDS):
        split = make_split(sample, seed, 0.005)
        left_out = range(seed, count, 10 if setting.quick else SEEDS)
        full, few = left_out_once(sample, split, list(left_out), seed)
        trained += full
        found += few
    errors, fully = np.nanmean(found, axis=0), float(np.mean(trained))
    shown = "; ".join(
        f"{n} labels: AUROC {area:.3f}, level error {level:.3f}"
        for n, (area, level) in zip(LABELS, errors, strict=True)
    )
    measured = f"fully trained {fully:.3f}; {shown}"
    met = bool(errors[0, 0] >= fully - 0.005 and errors[LABELS.index(50), 1] <= 0.04)
    yield Row(WHAT, REACH, measured, met)


def left_out_once(
    sample: Sample, split: Split, columns: list[int], seed: int
) -> tuple[list[float], list[Floats]]:
    """Fully trained AUROC of some candidates, and [labels, (AUROC, level error)] of each as a new one.

    A bank is fitted to the others' outcomes on the training split. The new candidate's labels are of
    questions of the calibration split, spread evenly over how well the others did on them.
    """
    correct, features = sample.outcomes.correct, sample.features
    train, test = features[split.train], features[split.test]
    groups = np.array(sample.outcomes.groups)[split.train]
    coordinates = Coordinates.fit(train, seed=seed)
    whole = ProbeBank(seed=seed).fit(train, correct[split.train], groups=groups, coordinates=coordinates)
    logits = whole.decision_function(test)
    trained = [auroc(logits[:, m], correct[split.test, m]) for m in columns]
    found = []
    for m in columns:
        rest = np.delete(correct, m, axis=1)
        bank = ProbeBank(seed=seed).fit(train, rest[split.train], groups=groups, coordinates=coordinates)
        found.append(_few_labels(bank, sample, split, m, rest))
    return trained, found


def _few_labels(bank: ProbeBank, sample: Sample, split: Split, column: int, rest: Floats) -> Floats:
    """Mean over draws of labels, shape (len(LABELS), 2)."""
    truth = sample.outcomes.correct[split.test, column]
    scores = bank.probes_.scores(sample.features[split.test])
    table = np.empty((len(LABELS), DRAWS, 2))
    for i, n in enumerate(LABELS):
        for draw in range(DRAWS):
            rows = split.calibrate[spread_rows(rest[split.calibrate], min(n, len(split.calibrate)), draw)]
            grown = add_candidate(
                bank.probes_,
                sample.features[rows],
                sample.outcomes.correct[rows, column],
                pool_correct=rest[rows],
                seed=draw,
            ).probes
            logit = scores @ grown.loadings[:, -1] + grown.level[-1]
            table[i, draw] = auroc(logit, truth), abs(sigmoid(logit).mean() - truth.mean())
    return np.asarray(table.mean(axis=1))
