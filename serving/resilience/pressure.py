"""How busy the vLLM servers are, by their own word, and what that means for somebody who would queue there.

The wait follows from Little's law: n requests wait, a batch of m runs, each takes a mean answer's time, so
that the last in the queue begins after about n/m of those times.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass

import aiohttp

from router.configuration.settings import OpenAIBackend
from router.router import Router
from serving.backends.base import Backend

logger = logging.getLogger("foresight.pressure")

_SAMPLE = re.compile(r"^vllm:num_requests_(running|waiting)\{[^}]*\} ([0-9.e+]+)$", re.MULTILINE)
MAX_BYTES = 4 << 20
LOST_AFTER = 3
"""A server that said nothing this often is taken to be idle; its breaker knows better."""


@dataclass(frozen=True)
class Load:
    """Requests of one server, over all its engines."""

    running: float
    waiting: float

    @classmethod
    def parse(cls, text: str) -> Load | None:
        """Read vLLM's metrics; None if these are somebody else's."""
        counts = {"running": 0.0, "waiting": 0.0}
        found = _SAMPLE.findall(text)
        for name, value in found:
            counts[name] += float(value)
        return cls(**counts) if found else None

    @property
    def rounds_ahead(self) -> float:
        """How many mean answers pass before a new request begins."""
        return self.waiting / max(1.0, self.running)


class Pressure:
    """Asks the vLLM servers of a pool, again and again.

    Parameters
    ----------
    router
        Its candidates' speeds and mean lengths turn a queue into seconds.
    backends
        By their name in the pool. Asked are those that the gateway manages, and URLs that need no key: nobody
        else's server is sent what it did not ask for.
    period_s
        Time between two questions, in seconds; 0 asks never.
    """

    def __init__(self, router: Router, backends: Mapping[str, Backend], period_s: float) -> None:
        self._router = router
        self._backends = {name: b for name, b in backends.items() if _may_be_asked(router, name)}
        self._period_s = period_s
        self._loads: dict[str, Load] = {}
        self._silent: dict[str, int] = {}
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to ask."""
        if self._period_s > 0 and self._backends:
            self._task = asyncio.create_task(self._watch(), name="pressure")

    async def close(self) -> None:
        """Stop asking."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def queue_s(self) -> Mapping[str, float]:
        """Expected wait of each candidate whose server is known to have a queue, in seconds."""
        if not self._loads:
            return {}
        waits = {}
        for candidate in self._router.pool.candidates:
            load = self._loads.get(candidate.backend)
            if load is not None and load.waiting > 0:
                speed, tokens = candidate.latency, self._router.fitted.output_tokens[candidate.name]
                mean_s = speed.first_token_s + speed.per_output_token_s * tokens
                waits[candidate.name] = load.rounds_ahead * mean_s
        return waits

    async def _watch(self) -> None:
        async with aiohttp.ClientSession(
            trust_env=False, timeout=aiohttp.ClientTimeout(total=2.0)
        ) as session:
            while self._backends:
                await asyncio.gather(*(self._ask(session, name) for name in list(self._backends)))
                await asyncio.sleep(self._period_s)

    async def _ask(self, session: aiohttp.ClientSession, name: str) -> None:
        url = getattr(self._backends[name], "url", None)
        if url is None:  # still starting
            return
        try:
            async with session.get(f"{url.removesuffix('/v1')}/metrics", allow_redirects=False) as response:
                text = (await response.content.read(MAX_BYTES)).decode("utf-8", "replace")
                load = Load.parse(text) if response.status == 200 else None
        except (aiohttp.ClientError, TimeoutError, OSError):
            self._silent[name] = self._silent.get(name, 0) + 1
            if self._silent[name] >= LOST_AFTER:
                self._loads.pop(name, None)
            return
        self._silent[name] = 0
        if load is None:  # an OpenAI-compatible server of another kind: it has no such figures
            logger.info("backend %s tells nothing about its queue", name)
            del self._backends[name]
        else:
            self._loads[name] = load


def _may_be_asked(router: Router, name: str) -> bool:
    entry = router.pool.backends[name]
    return entry.kind == "vllm" or (isinstance(entry, OpenAIBackend) and entry.api_key_env is None)
