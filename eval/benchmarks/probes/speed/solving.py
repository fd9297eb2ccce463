"""What fitting costs, in time and memory, against scikit-learn's cross-validated logistic regression."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from time import process_time
from typing import Any

import numpy as np

from eval.baselines.base import Features
from eval.benchmarks.probes.sets import load, read_minilm
from eval.benchmarks.row import Row, Setting
from eval.harness.sample import prepare
from eval.harness.trial import make_split
from eval.tables import Floats
from probes.estimators.bank import ProbeBank
from probes.metrics import auroc
from probes.splits import grouped_folds

STRENGTHS = (3e-4, 1e-3, 3e-3, 1e-2, 3e-2)
PENALTIES = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2)
"""Of scikit-learn's C, around what is best for these features."""
N_FOLDS = 5
EVERY = 9
"""scikit-learn is timed on every ninth candidate: all 28 of them take an hour."""
WHAT = "fit on mmlu_pro features, 28 candidates, 5 strengths, 5 folds, shrinkage included"
REACH = (
    "≥ 30 times faster than LogisticRegressionCV per candidate, AUROC within .003; peak memory ≤ 2 × features"
)


def rows(setting: Setting) -> Iterator[Row]:
    """Processor time and AUROC of both in the same run, then the bank's memory in a process of its own."""
    outcomes = load(setting, "mmlu_pro")
    activations = None if outcomes is None else read_minilm(setting, outcomes)
    if outcomes is None or activations is None:
        yield Row(WHAT, REACH, "unmeasured: needs mmlu_pro under --data and the extra text-scout", None)
        return
    sample = prepare(outcomes, activations)
    split = make_split(sample, 0, 0.005)
    features, correct = sample.features, sample.outcomes.correct
    groups = np.array(sample.outcomes.groups)[split.train]
    train, test = features[split.train], features[split.test]
    start = process_time()
    bank = ProbeBank(strengths=STRENGTHS, n_folds=N_FOLDS).fit(train, correct[split.train], groups=groups)
    bank_s = (process_time() - start) / correct.shape[1]
    forecast = bank.decision_function(test)
    ours, theirs, seconds = [], [], []
    for m in range(0, correct.shape[1], EVERY):
        start = process_time()
        scores = cross_validated(train, correct[split.train, m], groups, test)
        seconds.append(process_time() - start)
        theirs.append(auroc(scores, correct[split.test, m]))
        ours.append(auroc(forecast[:, m], correct[split.test, m]))
    times = float(np.mean(seconds)) / bank_s
    gain = float(np.mean(ours) - np.mean(theirs))
    memory = peak_memory(train, correct[split.train], groups)
    measured = (
        f"{times:.0f} times ({bank_s:.2f} s against {np.mean(seconds):.0f} s of processor time a candidate, "
        f"{len(seconds)} candidates timed); AUROC {np.mean(ours):.4f} against {np.mean(theirs):.4f}; "
        f"peak {memory:.2f} × features ({len(train):,} × {train.shape[1]:,})"
    )
    yield Row(WHAT, REACH, measured, times >= 30 and gain >= -0.003 and memory <= 2)


def cross_validated(train: Features, correct: Floats, groups: np.ndarray[Any, Any], test: Features) -> Floats:
    """Logits of scikit-learn's LogisticRegressionCV on standardised features, on the same folds."""
    from sklearn.linear_model import LogisticRegressionCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    fold = grouped_folds(groups, N_FOLDS, 0)
    folds = [(np.flatnonzero(fold != k), np.flatnonzero(fold == k)) for k in range(N_FOLDS)]
    model = make_pipeline(
        StandardScaler(),
        LogisticRegressionCV(
            Cs=PENALTIES,
            l1_ratios=(0,),
            cv=folds,
            scoring="neg_log_loss",
            max_iter=1000,
            use_legacy_attributes=False,
        ),
    )
    return np.asarray(model.fit(train, correct).decision_function(test), dtype=np.float64)


def peak_memory(features: Features, correct: Floats, groups: np.ndarray[Any, Any]) -> float:
    """Most memory that a fit holds, the features included, over the features' own size."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        np.save(folder / "features.npy", features)
        np.save(folder / "correct.npy", correct)
        np.save(folder / "groups.npy", groups)
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            return float(pool.apply(_fit_alone, (folder,)))


def _fit_alone(folder: Path) -> float:
    rng = np.random.default_rng(0)
    ProbeBank().fit(rng.normal(size=(60, 8)), rng.random((60, 2)))  # what is imported counts for nothing
    features = np.load(folder / "features.npy")
    correct, groups = np.load(folder / "correct.npy"), np.load(folder / "groups.npy")
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # forget the highest mark so far
    before = _memory_bytes("VmRSS")
    ProbeBank(strengths=STRENGTHS, n_folds=N_FOLDS).fit(features, correct, groups=groups)
    return 1 + (_memory_bytes("VmHWM") - before) / float(features.nbytes)


def _memory_bytes(field: str) -> int:
    """A line of Linux's account of this process."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(f"{field}:"))
