"""How many decisions one core makes once the activations are there."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median
from time import process_time

import numpy as np

from eval.benchmarks.gateway.rig.pool import WIDTH, make_router
from eval.benchmarks.row import Row, Setting

CANDIDATES = 16
REACH = 10_000
BATCH = 256


def rows(setting: Setting) -> Iterator[Row]:
    """One at a time, as a gateway does under light load, and in batches."""
    router = make_router(CANDIDATES)
    rng = np.random.default_rng(0)
    n = 200 if setting.quick else 1000
    for size, what in ((1, "one at a time"), (BATCH, f"{BATCH} at a time")):
        features = rng.normal(size=(size, WIDTH)).astype(np.float32)
        tokens = np.full(size, 50)
        rates = []
        for _ in range(20):
            began = process_time()
            for _ in range(max(1, n // size)):
                router.decide_scored(router.scorer.score(features), tokens)
            rates.append(max(1, n // size) * size / (process_time() - began))
        best = max(rates)  # others on the machine slow a round down, and never speed one up
        yield Row(
            f"decisions a second of one core, {CANDIDATES} candidates, activations given, {what}",
            f">= {REACH:,}",
            f"{best:,.0f} ({1e6 / best:.0f} µs each); median of {len(rates)} rounds {median(rates):,.0f}",
            best >= REACH,
        )
