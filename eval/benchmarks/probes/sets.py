"""The outcome sets of the benchmark, with groups and prices, and a scout's activations of them."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from eval.benchmarks.row import Setting
from eval.outcomes import Outcomes
from eval.tables import read_csv
from probes.encoders.cache import ActivationCache
from probes.encoders.encoder import Activations, Kind
from probes.errors import DataError

if TYPE_CHECKING:
    from probes.encoders.transformers import TransformersEncoder

QUICK = 300
"""Questions of a set in a quick run."""

MINILM_TOKENS = 256
"""What the packaged sentence encoder was trained on."""

LADDER_HINT = (
    "unmeasured: no outcome set of ladder questions. Make it as eval/ladder/README.md says "
    "(`foresight ladder ask -n 8000 --split fit --seed 1 -o questions.jsonl`, then `foresight collect "
    "eval/ladder/pool.yaml questions.jsonl -o FOLDER/ladder --concurrency 96`) under --data or --work"
)


def load(setting: Setting, name: str) -> Outcomes | None:
    """An outcome set as the benchmark uses it, or None where it is not there.

    Questions that stand in several sets, or twice in one, share a group (``question_groups.csv.gz``).
    """
    folder = ladder_folder(setting) if name == "ladder" else setting.outcome_set(name)
    if folder is None:
        return None
    outcomes = _grouped(Outcomes.load(folder), folder.parent / "question_groups.csv.gz")
    if name == "llmrouter_ulab":
        outcomes = _priced_by_size(_where(outcomes, "split", "train"), folder / "models.json")
    if name == "routellm":
        outcomes = outcomes.take(
            np.array(
                [
                    dataset == "gsm8k" and not extra.get("contaminated")
                    for dataset, extra in zip(outcomes.datasets, outcomes.queries.extras, strict=True)
                ]
            )
        )
    return thinned(outcomes) if setting.quick else outcomes


def ladder_folder(setting: Setting) -> Path | None:
    """Graded answers of the ladder: under --data, or kept under --work."""
    kept = setting.work / "ladder"
    return setting.outcome_set("ladder") or (kept if kept.is_dir() else None)


def thinned(outcomes: Outcomes, n: int = QUICK) -> Outcomes:
    """At most n queries, spread over the set."""
    if len(outcomes) <= n:
        return outcomes
    return outcomes.take(np.sort(np.random.default_rng(0).permutation(len(outcomes))[:n]))


def read_minilm(setting: Setting, outcomes: Outcomes) -> Activations | None:
    """All hidden states of the packaged sentence encoder, at two positions; None where it is missing.

    In bfloat16, which halves the time on many processors.
    """
    from router.configuration.paths import packaged_folder

    folder = packaged_folder("minilm")
    if folder is None:
        return None
    encoder = open_encoder(
        folder, layers=range(7), positions=("mean", "first"), max_tokens=MINILM_TOKENS, dtype="bfloat16"
    )
    return read(setting, encoder, outcomes)


def read_ladder(
    setting: Setting, outcomes: Outcomes, *, size: str = "ladder-m", kind: Kind = "residual"
) -> Activations:
    """Every block of a ladder model at the last prompt token, as the packaged router reads them."""
    from router.configuration.paths import packaged_folder

    folder = packaged_folder(size)
    if folder is None:
        raise DataError(f"The model {size} is not packaged.")
    return read(setting, open_encoder(folder, positions=("last",), kind=kind), outcomes)


def read(setting: Setting, encoder: TransformersEncoder, outcomes: Outcomes) -> Activations:
    """Activations of a set, kept under --work."""
    return ActivationCache(setting.work / "activations").encode(encoder, outcomes.conversations)


def open_encoder(
    folder: Path,
    *,
    layers: range | None = None,
    positions: tuple[str, ...],
    kind: Kind = "residual",
    max_tokens: int | None = None,
    dtype: str = "auto",
) -> TransformersEncoder:
    """A packaged model as a scout; imports torch."""
    from probes.encoders.transformers import TransformersEncoder

    return TransformersEncoder(
        folder,
        layers=layers,
        positions=positions,
        kind=kind,
        max_tokens=max_tokens,
        dtype=dtype,
        token_budget=4096,
    )


def _grouped(outcomes: Outcomes, path: Path) -> Outcomes:
    if not path.is_file():
        return outcomes
    table = read_csv(path)
    rows = zip(table.text("set"), table.text("query_id"), table.text("group"), strict=True)
    known = {query_id: group for name, query_id, group in rows if name == outcomes.name}
    pairs = zip(outcomes.query_ids, outcomes.groups, strict=True)
    groups = tuple(known.get(query_id, group) for query_id, group in pairs)
    return replace(outcomes, queries=replace(outcomes.queries, groups=groups))


def _where(outcomes: Outcomes, name: str, value: str) -> Outcomes:
    return outcomes.take(np.array([extra.get(name, value) == value for extra in outcomes.queries.extras]))


def _priced_by_size(outcomes: Outcomes, path: Path) -> Outcomes:
    """Billions of parameters as the price of an answer, for a set without costs."""
    models = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    sizes = [_billions(str(models.get(name, {}).get("size", ""))) for name in outcomes.candidates]
    middle = float(np.nanmedian(sizes))
    price = np.array([middle if np.isnan(size) else size for size in sizes])
    return replace(outcomes, cost_usd=np.tile(price, (len(outcomes), 1)))


def _billions(size: str) -> float:
    found = re.search(r"([\d.]+)\s*B\b", size, re.IGNORECASE)
    return float(found.group(1)) if found else float("nan")
