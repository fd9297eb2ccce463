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
from serving.keys.budget import begin_of
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
        Knows what was spent before this process began.
    now_s
        Unix time.
    """

    def __init__(
        self, router: Router, ledger: Ledger | None = None, now_s: Callable[[], float] | None = None
    ) -> None:
        self._now_s = now_s or Clock().now
        self._ledger = ledger
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
        """Read what was spent today; a ledger that does not answer leaves the day's budget whole."""
        if self.daily is None or self._ledger is None:
            return
        since_s = begin_of("day", self._now_s())
        try:
            spent = await asyncio.to_thread(self._ledger.store.spent_by, Pacing.rule, since_s)
        except (SQLAlchemyError, OSError) as error:
            logger.error(
                "what was spent today is not known (%s); the budget begins anew", type(error).__name__
            )
            return
        self.daily.take_over(*spent)

    async def close(self) -> None:
        """Nothing to end."""


def _budget_of(router: Router) -> Pacing | None:
    """The pool's one budget, if it has one."""
    pool: Pool = router.pool
    for name, settings in [(None, pool.policy), *pool.policies.items()]:
        if settings.rule == Pacing.rule:
            policy = router.policy(name)
            return policy if isinstance(policy, Pacing) else None
    return None
