"""What decisions need to know of earlier requests: the day's spending, and who holds a conversation."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from sqlalchemy.exc import SQLAlchemyError

from router.configuration.pool import Pool
from router.decisions.decision import Decision
from router.decisions.wishes import Options
from router.policies import Pacing
from router.router import Router
from serving.clock import Clock, elapsed_s
from serving.flow.record import Exchange
from serving.http.protocol import Query
from serving.ledger.ledger import Ledger
from serving.policies.prefixes import Prefixes
from serving.policies.spending import Daily

logger = logging.getLogger("foresight.policies")


class Standing:
    """Remembers across requests; an `Observer` and a `Service`.

    Parameters
    ----------
    router
        Its pool says whether there is anything to remember.
    ledger
        Knows what was spent before this process began, and what other gateways spend.
    now_s
        Unix time.
    """

    def __init__(
        self, router: Router, ledger: Ledger | None = None, now_s: Callable[[], float] | None = None
    ) -> None:
        self._now_s = now_s or Clock().now
        self._ledger = ledger
        self._task: asyncio.Task[None] | None = None
        self._failing = False
        self.daily: Daily | None = None
        self.prefixes: Prefixes | None = None
        self.follow(router)

    def follow(self, router: Router) -> None:
        """Go on with another router or pool; the day's spending and the conversations stay."""
        self._router = router
        pacing = _budget_of(router)
        if pacing is None:
            self.daily = None
        else:
            self.daily = self.daily.continued(pacing) if self.daily else Daily(pacing, self._now_s)
        if not Prefixes.matter(router.pool):
            self.prefixes = None
        elif self.prefixes is None:
            self.prefixes = Prefixes(router.pool, elapsed_s)
        else:
            self.prefixes.follow(router.pool)

    def inform(self, query: Query, options: Options) -> None:
        """Put what is known into a decision's options.

        Raises
        ------
        UsageError
            There is no such policy.
        """
        if self.prefixes is not None and (cached := self.prefixes.cached_tokens(query)):
            options["cached_tokens"] = cached
        own_rule = options.get("quality") is not None or options.get("min_success") is not None
        name = options.get("policy")
        if self.daily is None or (name is None and own_rule) or not (name is None or isinstance(name, str)):
            return
        if isinstance(self._router.policy(name), Pacing):
            options["policy"] = self.daily.policy()

    def decided(self, decision: Decision, seconds: float, query: Query) -> None:
        """Note what the decision is about."""
        if self.prefixes is not None:
            self.prefixes.decided(decision, seconds, query)

    def finished(self, exchange: Exchange) -> None:
        """Note what was spent, and who holds the conversation now."""
        if self.prefixes is not None:
            self.prefixes.finished(exchange)
        if self.daily is not None:
            self.daily.finished(exchange)

    async def start(self) -> None:
        """Read what was spent today, and go on to do so."""
        await self.refresh()
        if self._ledger is not None:
            self._task = asyncio.create_task(self._run(self._ledger.refresh_s), name="spending")

    async def close(self) -> None:
        """Stop reading."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def refresh(self) -> None:
        """Ask the ledger once; one that does not answer leaves the day's budget to what is known here."""
        daily, ledger = self.daily, self._ledger
        if daily is None or ledger is None:
            return
        before = daily.policy().pace
        try:
            spent = await ledger.spent_by(Pacing.rule, before.began_s)
        except (SQLAlchemyError, OSError) as error:  # asyncio's TimeoutError is an OSError, too
            if not self._failing:
                logger.error("the day's budget goes by what this gateway knows: %s", type(error).__name__)
            self._failing = True
            return
        self._failing = False
        daily.reconcile(before, *spent)

    async def _run(self, every_s: float) -> None:
        while True:
            await asyncio.sleep(every_s)
            await self.refresh()


def _budget_of(router: Router) -> Pacing | None:
    """The pool's one budget, if it has one."""
    pool: Pool = router.pool
    for name, settings in [(None, pool.policy), *pool.policies.items()]:
        if settings.rule == Pacing.rule:
            policy = router.policy(name)
            return policy if isinstance(policy, Pacing) else None
    return None
