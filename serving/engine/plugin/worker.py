"""The worker's half: reads, multiplies, sends."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import torch
from vllm.logger import init_logger

from serving.engine.plugin.outlet import SOCKET, Messages, Outlet
from serving.engine.plugin.reader import Reader
from serving.engine.plugin.tracker import Ready
from serving.engine.plugin.weights import Shard, Weights

logger = init_logger("vllm.foresight")

_Host: TypeAlias = Callable[[], torch.Tensor | None]


@dataclass(frozen=True)
class Ranks:
    """This rank's share, how shares become a sum (None: this is all of it), and whether this rank reads."""

    shard: Shard
    all_reduce: Callable[[torch.Tensor], torch.Tensor] | None
    reads: bool


class Worker:
    """Reads, multiplies, sends.

    Parameters
    ----------
    folder
        Private; holds the weights, and gets the socket.
    reader
        Of this rank's caches.
    ranks
        This rank's share.
    """

    def __init__(self, folder: Path, reader: Reader, ranks: Ranks) -> None:
        self._folder = folder
        self._reader = reader
        self._ranks = ranks
        self._weights: Weights | None = None
        self._outlet = Outlet(folder / SOCKET, logger.error) if ranks.shard.is_first else None
        logger.info("foresight probe: reads on %s", reader.device)

    def close(self) -> None:
        """Stop sending."""
        if self._outlet is not None:
            self._outlet.close()

    def read(self, ready: Sequence[Ready], weights: str | None) -> None:
        """Read the prompts of one step; whatever goes wrong, the engine goes on."""
        if not self._ranks.reads:
            return
        try:
            self._use(weights)
            with torch.inference_mode():
                features = self._reader.read(ready)
                scores = None if self._weights is None else self._weights.project(features)
        except Exception:
            # Every rank does the same with equal shapes: a failure here is one of all ranks, so that none of
            # them waits in the sum below.
            logger.exception("foresight probe: a step was not read")
            return
        if scores is not None and self._ranks.all_reduce is not None:
            scores = self._ranks.all_reduce(scores)
        if self._outlet is not None:
            name = None if self._weights is None else self._weights.name
            wanted = features if any(prompt.features for prompt in ready) else None
            self._outlet.put(_later(ready, name, _to_host(scores), _to_host(wanted)))

    def _use(self, weights: str | None) -> None:
        if weights is not None and (self._weights is None or self._weights.name != weights):
            self._weights = Weights.load(self._folder / weights, self._ranks.shard, self._reader.device)


def _to_host(numbers: torch.Tensor | None) -> _Host:
    """Begin the copy to the CPU; calling the result waits for it."""
    if numbers is None or numbers.device.type == "cpu":
        return lambda: numbers
    copied = torch.empty(numbers.shape, dtype=numbers.dtype, device="cpu", pin_memory=True)
    copied.copy_(numbers, non_blocking=True)
    there = torch.cuda.Event()
    there.record()

    def wait() -> torch.Tensor:
        there.synchronize()
        return copied

    return wait


def _later(
    ready: Sequence[Ready], weights: str | None, scores: _Host, features: _Host
) -> Callable[[], Messages]:
    """The messages of one step, made when they are sent."""

    def messages() -> Iterator[dict[str, Any]]:
        found, read = scores(), features()
        for row, prompt in enumerate(ready):
            message: dict[str, Any] = {"id": prompt.probe_id, "n_tokens": prompt.n_tokens, "weights": weights}
            if found is not None:
                message["scores"] = _as_text(found[row])
            if read is not None and prompt.features:
                message["features"] = _as_text(read[row])
            yield message

    return messages


def _as_text(numbers: torch.Tensor) -> str:
    """float32, little-endian, in base64."""
    return base64.b64encode(numbers.contiguous().numpy().astype("<f4").tobytes()).decode()
