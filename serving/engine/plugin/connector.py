"""vLLM's side of the in-engine probe: a KV connector that moves no cache and reads one token of it.

The scheduler's half finds the steps that complete a prompt; the worker's half reads that prompt's
activations out of the paged cache, multiplies them by the scorer's matrix and sends a few dozen numbers
out, before the first token is sampled. Requests without `kv_transfer_params: {"probe_id": ...}` cost
nothing.

On a GPU the gather, the product and the copy to pinned memory are put on the stream and an event behind
them is awaited by the sending thread: the engine itself never waits. Runner V1 calls `wait_for_save` after
the forward pass; runner V2 calls `finish_forward` there and `wait_for_save` only after sampling. Run were:
vLLM 0.32 on a CPU, runner V1, one rank. Not run, for want of a GPU: the GPU path, runner V2; of several ranks
only the arithmetic of their shares is tested.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from vllm.distributed.kv_transfer.kv_connector.v1.base import (
    KVConnectorBase_V1,
    KVConnectorMetadata,
    KVConnectorRole,
    SupportsHMA,
)

from serving.engine.plugin.outlet import CURRENT
from serving.engine.plugin.reader import Reader, StateReader, ValueReader
from serving.engine.plugin.tracker import Ready, Tracker
from serving.engine.plugin.weights import Shard
from serving.engine.plugin.worker import Ranks, Worker


@dataclass
class Step(KVConnectorMetadata):  # type: ignore[misc]  # vLLM is Any to mypy
    """What one step's workers are told; equal for all ranks, so that they change weights together."""

    ready: Sequence[Ready] = ()
    weights: str | None = None


class ProbeConnector(KVConnectorBase_V1, SupportsHMA):  # type: ignore[misc]
    """Both halves; vLLM makes one object for the scheduler and one for each worker.

    Its extra configuration: `folder` (private), `kind` (value or residual), `layers`, `positions`.
    """

    def __init__(self, vllm_config: Any, role: KVConnectorRole, kv_cache_config: Any) -> None:
        super().__init__(vllm_config=vllm_config, role=role, kv_cache_config=kv_cache_config)
        setting = self._kv_transfer_config.get_from_extra_config
        self._folder = Path(setting("folder", ""))
        self._kind: str = setting("kind", "value")
        self._layers: list[int] = setting("layers", [])
        self._positions: list[str] = setting("positions", ["last"])
        self._groups = kv_cache_config.kv_cache_groups
        _refuse_unsupported(vllm_config.parallel_config, self._groups, self._positions)
        self._half: _Scheduler | Worker | None = None
        if role == KVConnectorRole.SCHEDULER:
            sizes = [group.kv_cache_spec.block_size for group in self._groups]
            self._half = _Scheduler(Tracker(sizes, self._positions), self._folder)

    @property
    def requires_kv_delivery(self) -> bool:
        """Nothing is handed on, so that nothing must be computed again after a preemption."""
        return False

    # The scheduler's half.

    def get_num_new_matched_tokens(self, request: Any, num_computed_tokens: int) -> tuple[int, bool]:
        """No tokens come from elsewhere."""
        return 0, False

    def update_state_after_alloc(self, request: Any, blocks: Any, num_external_tokens: int) -> None:
        """A request got its first blocks: from here on it may complete its prompt."""
        wish = request.kv_transfer_params or {}
        if isinstance(self._half, _Scheduler) and isinstance(wish.get("probe_id"), str):
            features = wish.get("features") is True
            self._half.tracker.watch(
                request.request_id, wish["probe_id"], request.num_prompt_tokens, features
            )

    def build_connector_meta(self, scheduler_output: Any) -> Step:
        """The prompts that this step completes, and the weights in force."""
        return self._half.step(scheduler_output) if isinstance(self._half, _Scheduler) else Step()

    def request_finished(self, request: Any, block_ids: Any) -> tuple[bool, dict[str, Any] | None]:
        """Also after an abort; the blocks may be freed at once."""
        if isinstance(self._half, _Scheduler):
            self._half.tracker.forget(request.request_id)
        return False, None

    def request_finished_all_groups(self, request: Any, block_ids: Any) -> tuple[bool, dict[str, Any] | None]:
        """The same, for caches of several groups."""
        return self.request_finished(request, block_ids)

    # The worker's half.

    def register_kv_caches(self, kv_caches: dict[str, torch.Tensor]) -> None:
        """The caches are there: get ready to read them. Raising here stops the server from starting."""
        if self._kind == "value":
            reader: Reader = ValueReader.open(kv_caches, self._groups, self._layers)
        else:
            reader = _state_reader(self._vllm_config, kv_caches, self._groups)
        self._half = Worker(self._folder, reader, self._ranks(reader))

    def finish_forward(self) -> None:
        """Runner V2: the values are there. States are cached only after this."""
        if self._kind == "value":
            self._read()

    def wait_for_save(self) -> None:
        """Runner V1, and states: everything of this step is in the caches."""
        self._read()

    def start_load_kv(self, forward_context: Any, **kwargs: Any) -> None:
        """Nothing is loaded."""

    def wait_for_layer_load(self, layer_name: str) -> None:
        """Nothing is loaded."""

    def save_kv_layer(self, layer_name: str, kv_layer: Any, attn_metadata: Any, **kwargs: Any) -> None:
        """Nothing is saved."""

    def shutdown(self) -> None:
        """Close the socket."""
        if isinstance(self._half, Worker):
            self._half.close()

    def _read(self) -> None:
        if isinstance(self._half, Worker) and self.has_connector_metadata():
            step = self._get_connector_metadata()
            if step.ready:
                ready, step.ready = step.ready, ()
                self._half.read(ready, step.weights)

    def _ranks(self, reader: Reader) -> Ranks:
        from vllm.distributed.parallel_state import get_tp_group

        size = self._vllm_config.parallel_config.tensor_parallel_size
        rank = get_tp_group().rank_in_group if size > 1 else 0
        slices = len(self._layers) * len(self._positions)
        if not isinstance(reader, ValueReader):  # every rank holds the whole stream: one of them reads it
            return Ranks(Shard(slices, 1, 0, 1, is_first=rank == 0), None, rank == 0)
        total = self._vllm_config.model_config.get_total_num_kv_heads()
        copies = max(size // total, 1)
        first = rank // copies if copies > 1 else rank * reader.n_heads
        shard = Shard(slices, total, first, reader.n_heads, copies, is_first=rank == 0)
        return Ranks(shard, get_tp_group().all_reduce if size > 1 else None, True)


class _Scheduler:
    """Finds the steps that complete a prompt."""

    def __init__(self, tracker: Tracker, folder: Path) -> None:
        self.tracker = tracker
        self._folder = folder

    def step(self, scheduled: Any) -> Step:
        ready = self.tracker.step(scheduled) if len(self.tracker) else []
        return Step(ready, self._current()) if ready else Step()

    def _current(self) -> str | None:
        """Name of the weights in force; asking costs one system call."""
        try:
            return os.readlink(self._folder / CURRENT)
        except OSError:
            return None


def _state_reader(vllm_config: Any, caches: dict[str, torch.Tensor], groups: Sequence[Any]) -> StateReader:
    from vllm.config import get_layers_from_vllm_config
    from vllm.model_executor.models.extract_hidden_states import CacheOnlyAttentionLayer

    names = list(get_layers_from_vllm_config(vllm_config, CacheOnlyAttentionLayer, list(caches)))
    if len(names) != 1:
        raise ValueError("States are cached only with --speculative-config extract_hidden_states.")
    group = next(number for number, group in enumerate(groups) if names[0] in group.layer_names)
    return StateReader(caches[names[0]], group)


def _refuse_unsupported(parallel: Any, groups: Sequence[Any], positions: Sequence[str]) -> None:
    """Raise for what would be read wrongly."""
    for name in ("pipeline_parallel_size", "data_parallel_size", "decode_context_parallel_size"):
        if getattr(parallel, name, 1) > 1:
            raise ValueError(f"The probe does not work with {name} {getattr(parallel, name)}.")
    windows = any(getattr(group.kv_cache_spec, "sliding_window", None) for group in groups)
    if windows and list(positions) != ["last"]:
        raise ValueError("A sliding window forgets all positions but the last; fit on `last` alone.")
