"""Fitting chooses which slices of the scout are read, where the pool leaves it open."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from probes.encoders.conversation import Conversation, Tools
from probes.encoders.encoder import Activations, Progress
from probes.errors import ConfigError
from router.configuration.paths import packaged_folder
from router.configuration.settings import Scout
from router.fit.fitting import fit_router
from router.fit.slices import Narrowed, is_open
from router.router import Router
from router.scout import Reading, open_scout, what_to_read, with_scout
from tests.router.pools import make_pool, pool_data
from tests.router.worlds import IDENTITY, StatedDifficulty, chances, difficulty_of

TWICE = replace(IDENTITY, layers=(1, 2, 3), positions=("last", "mean"))


class Repeated(StatedDifficulty):
    """Reads three layers at two positions; layer 3 at ``mean`` knows the difficulty, the others little."""

    def __init__(self) -> None:
        super().__init__(TWICE)

    def encode(
        self,
        conversations: Sequence[Conversation],
        *,
        tools: Tools | None = None,
        progress: Progress | None = None,
    ) -> Activations:
        """Activations of n conversations."""
        once = super().encode(conversations)
        noise = np.random.default_rng(0).normal(size=once.values.shape)
        return Activations(np.concatenate([noise, once.values], axis=2).astype(np.float16), once.n_tokens)


def arguments(encoder: StatedDifficulty, n: int = 600) -> dict[str, Any]:
    """Arguments of `fit_router`."""
    rng = np.random.default_rng(3)
    prompts = [f"question {i}: {difficulty:.3f}" for i, difficulty in enumerate(rng.normal(size=n))]
    activations = encoder.encode([[{"role": "user", "content": prompt}] for prompt in prompts])
    success = chances(np.array([difficulty_of(prompt) for prompt in prompts]))
    return {
        "activations": activations,
        "correct": (rng.random((n, 3)) < success).astype(float),
        "trials": None,
        "output_tokens": np.full((n, 3), 20.0),
        "input_tokens": np.full((n, 3), 9.0),
        "groups": [str(i) for i in range(n)],
        "datasets": ["words"] * n,
        "identity": encoder.identity,
    }


def test_the_router_reads_the_slice_that_knows() -> None:
    encoder = Repeated()
    pool = make_pool(scout={"model": "scout", "layers": "auto", "positions": "auto"})
    router, report = fit_router(pool, **arguments(encoder))

    assert (router.identity.layers, router.identity.positions) == ((3,), ("mean",))
    assert router.scorer.n_features == router.identity.n_features == IDENTITY.width
    assert all(probe.auroc > 0.75 for probe in report.candidates.values())
    options = router.record["selection"]["slices"]["options"]
    assert len(options) == 12
    assert options[0]["excess"] == 0
    assert {"layers": [3], "positions": ["mean"]} in [
        {name: row[name] for name in ("layers", "positions")} for row in options
    ]


def test_a_router_of_chosen_slices_finds_them_again(tmp_path: Path) -> None:
    encoder = Repeated()
    pool = make_pool(scout={"model": "scout", "layers": [1, 2, 3], "positions": ["last", "mean"]})
    router, _ = fit_router(pool, **arguments(encoder))
    router.save(tmp_path / "router")
    narrow = Narrowed(encoder, router.identity)
    again = Router.load(tmp_path / "router", encoder=narrow)

    assert again.pool == pool
    assert again.identity == router.identity
    here = Router(router.pool, router.scorer, router.fitted, router.identity, encoder=narrow)
    easy = "question 1: -2.0"
    assert again.decide(easy).success == pytest.approx(here.decide(easy).success, abs=1e-5)
    assert narrow.encode([[{"role": "user", "content": easy}]]).features().shape == (1, IDENTITY.width)


@pytest.mark.parametrize("scout", [{}, {"layers": [2]}, {"layers": [2], "positions": ["mean"]}])
def test_what_the_pool_fixes_stays(scout: dict[str, Any]) -> None:
    pool = make_pool(scout={"model": "scout", **scout})
    router, _ = fit_router(pool, **arguments(Repeated(), 120))

    assert not is_open(pool.scout)
    assert router.identity == TWICE
    assert "slices" not in router.record["selection"]


def test_auto_is_what_suits_the_model(tiny_llama: Path) -> None:
    def read(**settings: Any) -> Reading:
        return what_to_read(Scout.model_validate({"model": str(tiny_llama), **settings}))

    auto = {"layers": "auto", "positions": "auto"}
    assert read() == (None, ("last",))
    assert read(**auto) == (None, ("last",))
    assert read(positions="auto", layers=[1]) == ((1,), ("last",))
    assert read(**auto, mode="engine") == (None, ("last",))
    minilm = packaged_folder("minilm")
    if minilm is not None:
        assert read(model=str(minilm), **auto) == (tuple(range(7)), ("mean", "first"))
        assert read(model=str(minilm), **auto, kind="value") == (tuple(range(1, 7)), ("mean", "first"))


def test_another_scout_is_read_where_it_suits_that_one(tiny_llama: Path) -> None:
    data = pool_data()["scout"] | {"layers": [7], "positions": ["last-3"]}
    pool = make_pool(scout=data)
    other = with_scout(pool, str(tiny_llama)).scout

    assert with_scout(pool, None) is pool
    assert with_scout(pool, pool.scout.model) is pool
    assert (other.layers, other.positions, other.price_usd_per_mtok) == ("auto", "auto", 0.5)
    assert open_scout(other).identity.positions == ("last",)


def test_a_scout_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    scout = Scout.model_validate({"model": str(tmp_path), "positions": "auto"})
    with pytest.raises(ConfigError, match="cannot be read") as caught:
        open_scout(scout)
    assert caught.value.param == "scout.model"
