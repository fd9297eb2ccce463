"""A pool over one upstream, with a router fitted to noise: what is measured is the way, not the choice."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import yaml

from eval.benchmarks.probes.speed.scoring import make_scorer
from probes.encoders.encoder import ScoutIdentity
from router.configuration.pool import Pool
from router.fitted import Fitted
from router.router import Router

WIDTH = 256


def make_router(candidates: int, width: int = WIDTH) -> Router:
    """A router of so many candidates, fitted to noise."""
    names = tuple(f"m{k}" for k in range(candidates))
    pool = Pool.parse(description(names, "http://127.0.0.1:9/v1"), folder=Path.cwd())
    scorer = make_scorer(width, candidates, np.random.default_rng(0))
    fitted = Fitted(
        candidates=names,
        success=dict.fromkeys(names, 0.5),
        output_tokens=dict.fromkeys(names, 50.0),
        safe_candidate=names[-1],
        knobs={"cheapest-likely": {"min_success": 0.5}},
    )
    identity = ScoutIdentity(
        model="noise",
        revision="0" * 64,
        template_hash="0" * 64,
        kind="residual",
        layers=(1,),
        positions=("last",),
        width=width,
    )
    return Router(pool, scorer, fitted, identity)


def description(names: tuple[str, ...], url: str) -> dict[str, object]:
    """A pool file's content: every candidate at one URL."""
    price = {"usd_per_mtok_in": 1.0, "usd_per_mtok_out": 2.0}
    shared = {"model": "m", "backend": "up", "price": price, "context_tokens": 8192}
    return {
        "candidates": [{"name": name, **shared} for name in names],
        "backends": {"up": {"kind": "openai", "url": url}},
        "scout": {"model": "ladder-s"},
        "policy": {"rule": "cheapest-likely", "min_success": 0.5},
    }


def write_pool(folder: Path, upstream: str, serve: Mapping[str, object] | None = None) -> tuple[Path, Path]:
    """Write the pool file and the router below a folder; gives their paths."""
    router = make_router(2)
    router.save(folder / "router")
    content = description(router.pool.names, f"{upstream}/v1") | {"serve": dict(serve or {})}
    path = folder / "pool.yaml"
    path.write_text(yaml.safe_dump(content))
    return path, folder / "router"
