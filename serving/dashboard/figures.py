"""What the dashboard shows, as JSON: the ledger's answers, and how the gateway is right now."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from probes.errors import ForesightError
from serving.flow.gateway import Gateway
from serving.http.errors import ApiError
from serving.ledger.database import Database
from serving.ledger.reading import calibration, decisions, money, traffic
from serving.ledger.reading.window import Window
from serving.ledger.store import DAY_S

FRESH_S = 2.0
"""Answers younger than this are given again: many open pages cost as much as one."""
MOST_DECISIONS = 200
SLICES = 48


class Figures:
    """The dashboard's questions to one gateway.

    Parameters
    ----------
    gateway
        Its pool, backends and ledger.
    clock
        Unix time, in seconds.
    """

    def __init__(self, gateway: Gateway, clock: Callable[[], float] = time.time) -> None:
        self._gateway = gateway
        self._clock = clock
        self._kept: dict[float, tuple[float, dict[str, Any]]] = {}
        self._turn = asyncio.Lock()

    async def overview(self, length_s: float) -> dict[str, Any]:
        """Everything but single decisions, over the last `length_s` seconds.

        A ledger that does not answer is told in `ledger.problem`; the rest of the page stays.
        """
        async with self._turn:
            now_s = self._clock()
            kept = self._kept.get(length_s)
            if kept is None or not 0 <= now_s - kept[0] < FRESH_S:
                self._kept = {length_s: (now_s, await self._overview(length_s, now_s))}
            return self._kept[length_s][1]

    async def decisions(self, limit: int, before_s: float | None, answered: bool) -> dict[str, Any]:
        """The newest decisions, each with its whole ranking.

        Raises
        ------
        ApiError
            503 if the ledger does not answer.
        """
        ledger = self._gateway.ledger
        if ledger is None:
            return {"decisions": []}
        try:
            found = await asyncio.to_thread(
                decisions.recent, ledger.database, min(limit, MOST_DECISIONS), before_s, answered=answered
            )
        except (SQLAlchemyError, OSError, ForesightError) as error:
            message = "The ledger does not answer; decisions go on being made."
            raise ApiError(503, message, code="ledger_unavailable") from error
        return {"decisions": [asdict(one) for one in found]}

    async def _overview(self, length_s: float, now_s: float) -> dict[str, Any]:
        ledger, settings = self._gateway.ledger, self._gateway.settings.ledger
        told: dict[str, Any] = {"kept": False, "prompts": False, "problem": None}
        history: dict[str, Any] | None = None
        if ledger is not None and settings is not None:
            told |= {"kept": True, "prompts": settings.prompts, "keep_days": settings.keep_days}
            try:
                window = Window.last(length_s, now_s)
                history = await asyncio.to_thread(_history, ledger.database, window)
            except (SQLAlchemyError, OSError, ForesightError):
                told["problem"] = "The ledger does not answer. Queries are answered all the same."
        return {
            "now_s": now_s,
            "length_s": length_s,
            "ledger": told,
            "history": history,
            **await self._present(),
        }

    async def _present(self) -> dict[str, Any]:
        """Backends, candidates and names as they are now."""
        gateway = self._gateway
        _, status = await gateway.status()
        pool, queue_s = gateway.pool, gateway.queue_s()
        candidates = [
            {
                "name": one.name,
                "model": one.model,
                "backend": one.backend,
                "usd_per_mtok_in": one.price.usd_per_mtok_in,
                "usd_per_mtok_out": one.price.usd_per_mtok_out,
                "queue_s": queue_s.get(one.name, 0.0),
            }
            for one in pool.candidates
        ]
        return {
            "status": status,
            "in_flight": gateway.admission.requests,
            "candidates": candidates,
            "models": [name for name in gateway.names.listed() if name not in gateway.names.candidates],
            "keys": gateway.guard is not None,
        }


def _history(database: Database, window: Window) -> dict[str, Any]:
    """The ledger's answers about one stretch of time; runs in a thread of its own."""
    totals, saving = money.totals(database, window), money.saving(database, window)
    candidates = traffic.by_candidate(database, window)
    week = Window(min(window.since_s, window.until_s - 7 * DAY_S), window.until_s)
    return {
        "totals": {**asdict(totals), "novelty_rate": totals.novelty_rate},
        "saving": {**asdict(saving), "saved_usd": saving.saved_usd},
        "traffic": [asdict(one) for one in candidates],
        "timeline": [asdict(one) for one in traffic.timeline(database, window, SLICES)],
        "slice_s": traffic.slice_s(window, SLICES),
        "latency": _latency(database, window, [one.candidate for one in candidates]),
        "reliability": [asdict(one) for one in calibration.reliability(database, week)],
        "drift": [asdict(one) for one in calibration.drift(database, week)],
    }


def _latency(database: Database, window: Window, names: list[str]) -> list[dict[str, Any]]:
    """Of all candidates together (under no name), then of each."""
    rows = []
    for name in (None, *names):
        found = traffic.latency(database, window, name)
        rows.append({"candidate": name, "n": found.n, **_quantiles(found)})
    return rows


def _quantiles(found: traffic.Latency) -> dict[str, Any]:
    named = {"first_byte_s": found.first_byte_s, "total_s": found.total_s}
    return {
        name: {f"p{round(100 * q)}": value for q, value in values.items()} for name, values in named.items()
    }
