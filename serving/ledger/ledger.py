"""The ledger of a running gateway: an observer that writes everything down and never stands in the way.

What can be relied on: feedback that was answered 200 is on disk; so is everything else once `flush_s` has
gone by while the database answers, and after an orderly end. A process that is killed loses at most the rows
of its last `flush_s`.
"""

from __future__ import annotations

import asyncio
import json
import logging
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass

from sqlalchemy.exc import SQLAlchemyError

from probes.errors import ForesightError
from router.configuration.pool import Candidate, Pool
from router.decisions.decision import Decision
from router.router import Router
from router.version import version_of
from serving.clock import Clock
from serving.flow.record import Exchange
from serving.http.protocol import Query
from serving.ledger.database import Database
from serving.ledger.entries import Decided, Finished, Rated, plain_text
from serving.ledger.reading.watch import Watch
from serving.ledger.store import DAY_S, Store
from serving.ledger.writer import Writer
from serving.settings import LedgerSettings

logger = logging.getLogger("foresight.ledger")

LONGEST_PROMPT = 64 << 10
"""Characters of a prompt's JSON; longer prompts are not kept."""
PROMPTS_WAITING = 32 << 20
"""Characters of all prompts that wait to be written; beyond, prompts are not kept."""
FEEDBACK_WAIT_S = 5.0
CLOSE_WAIT_S = 10.0
WATCH_EVERY_S, PRUNE_EVERY_S = 60.0, 3600.0


@dataclass(frozen=True)
class Deployment:
    """What the ledger says of every row: which fit decided, and who would answer if nobody routed.

    Attributes
    ----------
    router
        Name of the fit.
    reference
        The most accurate candidate of the calibration split.
    """

    router: str
    reference: Candidate | None

    @classmethod
    def of(cls, pool: Pool, router: Router) -> Deployment:
        """Of a router and today's prices."""
        best = max(pool.names, key=lambda name: router.fitted.success.get(name, 0.0))
        return cls(version_of(router), pool[best])


class Ledger:
    """Writes decisions, exchanges and feedback; an `Observer`.

    Parameters
    ----------
    database
        Where.
    settings
        For how long, and whether with prompts.
    deployment
        Pool and router; set it again when they are loaded again.
    watch
        Counts, and looks at calibration now and then.
    clock
        Time of every row.
    """

    def __init__(
        self,
        database: Database,
        settings: LedgerSettings,
        deployment: Deployment,
        watch: Watch,
        clock: Clock | None = None,
    ) -> None:
        self.database = database
        self.deployment = deployment
        self.store = Store(database)
        self._settings = settings
        self._watch = watch
        self._clock = clock or Clock()
        self._writer = Writer(self.store.write, watch, capacity=settings.queue, flush_s=settings.flush_s)
        self._prompt_chars = 0
        self._chores: asyncio.Task[None] | None = None
        self._over = asyncio.Event()
        watch.waiting(self._writer.__len__)

    async def start(self) -> None:
        """Make the tables and begin to write; a database that is away is tried again and again.

        Raises
        ------
        ConfigError
            A newer Foresight has written to the ledger.
        """
        try:
            await asyncio.to_thread(self.store.prepare)
        except (SQLAlchemyError, OSError) as error:
            cause = str(getattr(error, "orig", None) or error).strip().partition("\n")[0]
            logger.error("the ledger %s cannot be opened (%s); answers go on", self.database.shown, cause)
        self._writer.start()
        self._over.clear()
        self._chores = asyncio.create_task(self._keep_house(), name="ledger")

    async def close(self) -> None:
        """Write what is left."""
        self._over.set()
        if self._chores is not None:  # a thread of theirs may hold a connection: it is waited for
            await asyncio.wait({self._chores}, timeout=CLOSE_WAIT_S)
            self._chores.cancel()
            await asyncio.gather(self._chores, return_exceptions=True)
        left = await asyncio.to_thread(self._writer.close, CLOSE_WAIT_S)
        if left:
            logger.error("%d entries could not be written to the ledger", left)
        self.database.close()

    def decided(self, decision: Decision, seconds: float, query: Query) -> None:
        """Take a decision down."""
        entry = Decided(
            self._clock.now(),
            decision,
            seconds,
            query.request_id,
            query.endpoint,
            query.key_id,
            self.deployment.router,
            self._prompt(query) if self._settings.prompts else None,
        )
        self._writer.put(entry)

    def finished(self, exchange: Exchange) -> None:
        """Take down what became of it."""
        self._writer.put(Finished(self._clock.now(), exchange, self.deployment.reference))

    async def rate(self, decision_id: str, correct: float, comment: str | None, key_id: str | None) -> bool:
        """Take down how good an answer was; the last word counts.

        Returns
        -------
        bool
            True once it is on disk; False if this key has no such decision.

        Raises
        ------
        TimeoutError
            The database does not answer.
        """
        done: Future[bool] = Future()
        if not self._writer.put(Rated(self._clock.now(), decision_id, correct, comment, key_id, done)):
            raise TimeoutError
        return await asyncio.wait_for(asyncio.wrap_future(done), FEEDBACK_WAIT_S)

    async def spent_usd(self, since_s: float) -> dict[str, float]:
        """What every key has spent since this Unix time, rows that still waited included.

        Raises
        ------
        TimeoutError
            Rows still wait, because the database does not answer.
        """
        await self._flush()
        return dict(await asyncio.to_thread(self.store.spent_usd, since_s))

    @property
    def refresh_s(self) -> float:
        """How often what other gateways write should be looked at, in seconds."""
        return self._settings.refresh_s

    async def spent_by(self, policy: str, since_s: float) -> tuple[float, int]:
        """US dollars and requests of one policy since this Unix time, rows that still waited included.

        Raises
        ------
        TimeoutError
            Rows still wait, because the database does not answer.
        """
        await self._flush()
        return await asyncio.to_thread(self.store.spent_by, policy, since_s)

    async def _flush(self) -> None:
        if not await asyncio.to_thread(self._writer.flush, FEEDBACK_WAIT_S):
            raise TimeoutError

    def _prompt(self, query: Query) -> str | None:
        text = json.dumps(query.body.get(query.prompt_field))
        if not len(self._writer):
            self._prompt_chars = 0
        if len(text) > LONGEST_PROMPT or self._prompt_chars + len(text) > PROMPTS_WAITING:
            return None
        self._prompt_chars += len(text)
        return plain_text(text)

    async def _keep_house(self) -> None:
        """Look at calibration every minute, and throw old rows away every hour."""
        pruned_s = -PRUNE_EVERY_S
        loop = asyncio.get_running_loop()
        while not self._over.is_set():
            with suppress(SQLAlchemyError, OSError, ForesightError):
                await asyncio.to_thread(self._watch.look, self.database, self._clock.now())
                if loop.time() - pruned_s >= PRUNE_EVERY_S:
                    before_s = self._clock.now() - self._settings.keep_days * DAY_S
                    removed = await asyncio.to_thread(self.store.prune, before_s)
                    pruned_s = loop.time()
                    if removed:
                        logger.info("%d decisions were older than the ledger keeps", removed)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._over.wait(), WATCH_EVERY_S)
