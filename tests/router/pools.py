"""Pools for this folder's tests."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import yaml

from router.configuration.pool import Pool


def pool_data() -> dict[str, Any]:
    """Three candidates of two models; `m` and `m:think` share a model and a backend."""

    def candidate(name: str, model: str, backend: str, price: float, **more: Any) -> dict[str, Any]:
        prices = {"usd_per_mtok_in": price, "usd_per_mtok_out": 2 * price}
        base = {"name": name, "model": model, "backend": backend, "price": prices, "context_tokens": 512}
        return base | more

    think = {"chat_template_kwargs": {"enable_thinking": True}, "temperature": 0.6}
    return copy.deepcopy(
        {
            "candidates": [
                candidate("s", "small", "near", 1.0),
                candidate("m", "middle", "far", 10.0, context_tokens=4096, capabilities=["tools", "n"]),
                candidate("m:think", "middle", "far", 10.0, context_tokens=4096, decoding=think),
            ],
            "backends": {
                "near": {"kind": "local", "model_path": "scout"},
                "far": {"kind": "openai", "url": "http://127.0.0.1:9/v1", "api_key_env": "FAR_KEY"},
            },
            "scout": {"model": "scout", "price_usd_per_mtok": 0.5},
            "policies": {"careful": {"rule": "tolerance", "tolerance": 0.01}},
        }
    )


def make_pool(**changes: Any) -> Pool:
    """The pool above, with other values at its top level."""
    return Pool.parse(pool_data() | changes, folder=Path("/pools"))


def write_pool(folder: Path, data: dict[str, Any] | None = None) -> Path:
    """A pool file whose scout has at least a config.json."""
    (folder / "scout").mkdir(exist_ok=True)
    (folder / "scout" / "config.json").write_text("{}")
    path = folder / "pool.yaml"
    path.write_text(yaml.safe_dump(data or pool_data(), sort_keys=False))
    return path
