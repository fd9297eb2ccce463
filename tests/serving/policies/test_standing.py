"""What a gateway remembers from one request to the next: money, conversations, chance."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import pytest

from eval.logged import Drawn, hindsight
from probes.errors import DataError
from router.configuration.pool import Pool
from router.policies import CheapestLikely, Fixed, Pacing
from serving.ledger.database import open_ledger
from serving.ledger.reading.drawn import drawn_decisions
from serving.ledger.reading.window import Window
from serving.ledger.store import Store
from serving.policies.spending import Daily
from serving.run import running_gateway
from serving.settings import GatewaySettings, LedgerSettings
from tests.serving.routing import PRICES, pool_of, router_of
from tests.serving.upstream import ANSWER, answers, upstream

EASY = [{"role": "user", "content": "easy"}]
HARD = [{"role": "user", "content": "a hard one"}]
HARDEST = {"rule": "tolerance", "tolerance": 0.0}
Http = aiohttp.ClientSession


def pool_at(url: str, prices: dict[str, dict[str, float]] | None = None, **more: Any) -> Pool:
    """Two candidates with different models at one server."""
    candidates = {name: {"backend": "one", "model": name} for name in ("small", "large")}
    for name, price in (prices or {}).items():
        own = {"usd_per_mtok_in": PRICES[name], "usd_per_mtok_out": PRICES[name] * 2}
        candidates[name]["price"] = {**own, **price}  # type: ignore[assignment]
    return pool_of({"one": {"kind": "openai", "url": url}}, candidates, **more)


def settings_in(folder: Path) -> GatewaySettings:
    ledger = LedgerSettings(url="ledger.db", flush_s=0.01)
    return GatewaySettings(port=0, drain_s=1, folder=folder, ledger=ledger)


async def ask(http: Http, url: str, messages: Any, **fields: Any) -> Any:
    """Headers of one answer."""
    body = {"model": "auto", "messages": messages, **fields}
    async with http.post(f"{url}/chat/completions", json=body) as response:
        assert response.status == 200, await response.text()
        await response.read()
        return response.headers


class TestBudget:
    POLICY = {"rule": "budget", "budget_usd": 1.5e-4, "expected_queries": 4, "first_usd_per_answer": 1.0}

    async def test_when_the_money_is_gone_the_cheapest_answers_also_after_a_restart(
        self, http: Http, tmp_path: Path
    ) -> None:
        async with upstream(answers()) as server:
            pool = pool_at(server.url, policy=self.POLICY)
            async with running_gateway(pool, router_of(pool), settings=settings_in(tmp_path)) as url:
                seen = [await ask(http, url, HARD) for _ in range(3)]
            async with running_gateway(pool, router_of(pool), settings=settings_in(tmp_path)) as url:
                again = await ask(http, url, HARD)

        # One answer of large costs $0.00011: the second takes the day beyond its budget.
        assert [headers["x-foresight-candidate"] for headers in seen] == ["large", "large", "small"]
        assert "$0.00022 of $0.00015 spent" in seen[2]["x-foresight-reason"]
        assert again["x-foresight-candidate"] == "small"
        assert "of $0.00015 spent: the cheapest" in again["x-foresight-reason"]

    async def test_other_rules_are_not_held_to_it(self, http: Http, tmp_path: Path) -> None:
        async with upstream(answers()) as server:
            pool = pool_at(server.url, policy=self.POLICY)
            async with running_gateway(pool, router_of(pool), settings=settings_in(tmp_path)) as url:
                for _ in range(3):
                    await ask(http, url, HARD, foresight={"quality": 1.0})
                headers = await ask(http, url, HARD)

        assert headers["x-foresight-candidate"] == "large"
        assert "$0 of" in headers["x-foresight-reason"]

    async def test_gateways_with_one_ledger_share_it(self, http: Http, tmp_path: Path) -> None:
        ledger = LedgerSettings(url="ledger.db", flush_s=0.01, refresh_s=0.05)
        settings = settings_in(tmp_path).model_copy(update={"ledger": ledger})
        async with upstream(answers()) as server:
            pool = pool_at(server.url, policy=self.POLICY)
            async with (
                running_gateway(pool, router_of(pool), settings=settings) as one,
                running_gateway(pool, router_of(pool), settings=settings) as other,
            ):
                seen = [await ask(http, one, HARD) for _ in range(2)]
                async with asyncio.timeout(10):
                    while "$0.00022 of" not in (await ask(http, other, EASY))["x-foresight-reason"]:
                        await asyncio.sleep(0.05)
                after = await ask(http, other, HARD)

        assert [headers["x-foresight-candidate"] for headers in seen] == ["large", "large"]
        assert after["x-foresight-candidate"] == "small"

    def test_what_is_spent_while_the_ledger_is_asked_counts_once(self) -> None:
        daily = Daily(Pacing(10.0, 100), lambda: 86_400.0 * 3 + 10)
        daily.reconcile(daily.pace, 1.0, 4)  # another gateway's
        before = daily.pace
        daily.pace = replace(before, spent_usd=1.5, queries=5)  # an answer meanwhile
        daily.reconcile(before, 3.0, 9)  # the other went on
        assert (daily.pace.spent_usd, daily.pace.queries) == (3.5, 10)
        daily.reconcile(daily.pace, 2.0, 6)  # rows that were dropped on their way
        assert (daily.pace.spent_usd, daily.pace.queries) == (3.5, 10)

    def test_yesterday_s_total_does_not_reach_into_today(self) -> None:
        clock = [86_400.0 * 3 + 10]
        daily = Daily(Pacing(1.0, 10), lambda: clock[0])
        before = daily.pace
        clock[0] += 86_400
        assert daily.policy().pace.spent_usd == 0.0
        daily.reconcile(before, 5.0, 7)
        assert daily.policy().pace.spent_usd == 0.0

    def test_a_new_day_has_the_whole_budget(self) -> None:
        clock = [86_400.0 * 3 + 10]
        daily = Daily(Pacing(1.0, 10), lambda: clock[0])
        daily.reconcile(daily.pace, 5.0, 7)
        assert daily.policy().pace.spent_usd == 5.0
        clock[0] += 86_400
        assert daily.policy().pace.spent_usd == 0.0
        assert daily.policy().pace.began_s == 86_400.0 * 4


class TestConversation:
    LONG = [{"role": "user", "content": "easy " * 400}]
    LARGE = {"usd_per_mtok_in": 2.0, "usd_per_mtok_out": 2.0}

    @pytest.mark.parametrize("cached", [0.1, None])
    @pytest.mark.parametrize("same", [True, False])
    async def test_leaving_pays_for_the_lost_prefix_cache(
        self, http: Http, tmp_path: Path, cached: float | None, same: bool
    ) -> None:
        usage = {"prompt_tokens": 400, "completion_tokens": 2, "total_tokens": 402}
        earlier = self.LONG if same else [{"role": "user", "content": "other " * 400}]
        turns = [*earlier, {"role": "assistant", "content": "four"}, *EASY]
        async with upstream(answers(body={**ANSWER, "usage": usage})) as server:
            pool = pool_at(server.url, {"large": {**self.LARGE, "usd_per_mtok_cached": cached}})
            async with running_gateway(pool, router_of(pool), settings=settings_in(tmp_path)) as url:
                first = await ask(http, url, self.LONG, foresight={"policy": "best"})
                later = await ask(http, url, turns)

        assert first["x-foresight-candidate"] == "large"
        # Reading 400 tokens costs small $0.0004; large, which holds them, a tenth of that: it goes on.
        stays = cached is not None and same
        assert later["x-foresight-candidate"] == ("large" if stays else "small")

    async def test_what_the_backend_had_cached_is_paid_as_such(self, http: Http, tmp_path: Path) -> None:
        usage = {**ANSWER["usage"], "prompt_tokens_details": {"cached_tokens": 5}}  # type: ignore[dict-item]
        async with upstream(answers(body={**ANSWER, "usage": usage})) as server:
            pool = pool_at(server.url, {"large": {**self.LARGE, "usd_per_mtok_cached": 0.1}}, policy=HARDEST)
            async with running_gateway(pool, router_of(pool), settings=settings_in(tmp_path)) as url:
                await ask(http, url, EASY)
        database = open_ledger(str(tmp_path / "ledger.db"))
        try:
            spent, _ = Store(database).spent_by("tolerance", 0.0)
        finally:
            database.close()
        assert spent == pytest.approx((2 * 2.0 + 5 * 0.1 + 2 * 2.0) / 1e6)


class TestExploration:
    POLICY = {"rule": "cheapest-likely", "min_success": 0.8, "explore": 0.5}

    async def test_drawn_decisions_can_be_judged_afterwards(self, http: Http, tmp_path: Path) -> None:
        async with upstream(answers()) as server:
            pool = pool_at(server.url, policy=self.POLICY)
            async with running_gateway(pool, router_of(pool), settings=settings_in(tmp_path)) as url:
                for _ in range(40):
                    headers = await ask(http, url, EASY)
                    right = headers["x-foresight-candidate"] == "large"
                    told = {"decision_id": headers["x-foresight-decision-id"], "correct": float(right)}
                    async with http.post(f"{url}/feedback", json=told) as response:
                        assert response.status == 200
        database = open_ledger(str(tmp_path / "ledger.db"))
        try:
            log = [Drawn(**row) for row in drawn_decisions(database, Window(0, 4e9))]
        finally:
            database.close()

        assert len(log) == 40
        assert {(d.chosen, d.propensity) for d in log} == {("small", 0.75), ("large", 0.25)}
        always = hindsight(log, pool.names, Fixed("large"))
        never = hindsight(log, pool.names, CheapestLikely(0.8))
        assert (always.correct_ips.value, never.correct_ips.value) == (1.0, 0.0)
        assert always.cost_usd_ips.value == pytest.approx(10 * never.cost_usd_ips.value)

    def test_doubly_robust_finds_what_a_policy_would_have_earned(self) -> None:
        rng = np.random.default_rng(0)
        log = []
        for _ in range(4000):
            hard = rng.random() < 0.5
            truth = {"small": 0.2 if hard else 0.9, "large": 0.8}
            who = "small" if rng.random() < 0.7 else "large"
            log.append(
                Drawn(
                    who,
                    0.7 if who == "small" else 0.3,
                    float(rng.random() < truth[who]),
                    {"small": 1.0, "large": 10.0}[who],
                    truth,
                    {"small": 1.0, "large": 12.0},  # a wrong forecast of cost is corrected
                    ("small", "large"),
                )
            )
        found = hindsight(log, ("small", "large"), CheapestLikely(0.8))
        assert found.correct.low < 0.85 < found.correct.high
        assert found.cost_usd.low < 5.5 < found.cost_usd.high
        assert found.correct.high - found.correct.low < 0.06

    def test_a_log_without_draws_is_refused(self) -> None:
        with pytest.raises(DataError, match="no rated decision that was drawn"):
            hindsight([], ("small", "large"), Fixed("large"))


async def test_the_fitted_rule_is_listed(http: Http, tmp_path: Path) -> None:
    async with upstream(answers()) as server:
        pool = pool_at(server.url)
        async with (
            running_gateway(pool, router_of(pool), settings=settings_in(tmp_path)) as url,
            http.get(f"{url}/models") as response,
        ):
            listed = [card["id"] for card in (await response.json())["data"]]

    assert "auto:fitted" in listed
    assert not {"auto:cascade", "auto:budget", "auto:fixed"} & set(listed)
