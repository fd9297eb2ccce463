"""What scoring costs: one query at a gateway, a million in a batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from time import perf_counter

import numpy as np

from eval.benchmarks.row import Row, Setting
from probes.estimators.bank import ProbeBank
from probes.estimators.blend import Blend
from probes.estimators.outcomes import as_targets
from probes.estimators.solving.coordinates import Coordinates
from probes.estimators.solving.logistic import sigmoid
from probes.estimators.waves import Waves
from probes.scoring.calibration import Calibrator
from probes.scoring.length import LengthHead
from probes.scoring.novelty import Novelty
from probes.scoring.scorer import Scorer

WIDTH, CANDIDATES = 4096, 16
TRAINING = 600
CALLS = 5000
BLOCK = 10_000


def rows(setting: Setting) -> Iterator[Row]:
    """One query, then a million."""
    rng = np.random.default_rng(0)
    scorer = make_scorer(WIDTH, CANDIDATES, rng)
    query = rng.normal(size=WIDTH).astype(np.float32)
    scorer.score(query)
    low, median, high = 1e6 * np.percentile(
        [_seconds(lambda: scorer.score(query)) for _ in range(CALLS)], (10, 50, 90)
    )
    what = f"score one query, {CANDIDATES} candidates, width {WIDTH:,}"
    yield Row(
        what,
        "< 50 µs",
        f"median {median:.1f} µs (10th to 90th percentile {low:.1f} to {high:.1f}; "
        f"{_units(scorer)}, matrix of {scorer.weights()['matrix'].shape[1]} columns)",
        bool(median < 50),
    )
    yield _million_row(scorer, rng, 2 if setting.quick else 100)


def _million_row(scorer: Scorer, rng: np.random.Generator, blocks: int) -> Row:
    """Blocks of the same queries again and again: what is timed is arithmetic, not a disk."""
    queries = rng.normal(size=(BLOCK, WIDTH)).astype(np.float32)
    columns = scorer.weights()["matrix"].shape[1]
    matrix = rng.normal(size=(WIDTH, columns)).astype(np.float32)
    scorer.score(queries[:512])
    ours = bare = 0.0
    for _ in range(blocks):  # by turns, so that a busy machine slows both
        bare += _seconds(lambda: queries @ matrix)
        ours += _seconds(lambda: scorer.score(queries))
    measured = (
        f"{ours / bare:.2f} times ({ours:.1f} s for {blocks * BLOCK:,} queries, the product [{WIDTH:,}, "
        f"{columns}] alone {bare:.1f} s)"
    )
    return Row(
        "score 10⁶ queries, everything included",
        "≤ 1.5 times the bare matrix product",
        measured,
        ours <= 1.5 * bare,
    )


def _units(scorer: Scorer) -> str:
    counts = [len(to_scores) for _, to_scores in scorer.probes.added]
    return " and ".join(
        f"{count} {kind}" for count, kind in zip(counts, ("waves", "learnt units"), strict=True)
    )


def make_scorer(width: int, candidates: int, rng: np.random.Generator) -> Scorer:
    """A scorer with all its parts, fitted to random activations; waves and trunk whether they help or not."""
    features = rng.normal(size=(TRAINING, width)).astype(np.float32)
    logits = 2 * features[:, :1] + 0.3 * features[:, 1 : 1 + candidates]
    correct = (rng.random(logits.shape) < sigmoid(logits)).astype(float)
    tokens = np.exp(rng.normal(5, 1, logits.shape))
    coordinates = Coordinates.fit(features)
    bank = ProbeBank(n_waves=0, trunk=False).fit(features, correct, coordinates=coordinates)
    waves = Waves.along(coordinates, ProbeBank().n_waves)
    z, fold = coordinates.transform(features), np.zeros(len(features), dtype=np.intp)
    probes, held = bank.probes_, bank.held_out_
    probes = Blend.fit(coordinates, z, probes, held, as_targets(correct, None, len(features)), fold).probes
    on_waves = 0.01 * rng.normal(size=(waves.count, len(probes.offsets)))
    bank.probes_ = replace(probes, waves=waves, on_waves=on_waves)
    return Scorer.assemble(
        bank,
        calibrator=Calibrator.fit(bank.held_out_, correct, kinds=("platt",)),
        length=LengthHead().fit(features, tokens, coordinates=coordinates),
        novelty=Novelty().fit(features, features[::2], coordinates=coordinates),
    )


def _seconds(call: Callable[[], object]) -> float:
    start = perf_counter()
    call()
    return perf_counter() - start
