"""The scout inside an engine: sends the prompt there, and takes the scores that come back before the first
token.

Where a candidate's prompt is the scout's prompt, the request that is sent is that candidate's own, and may
go on as its answer. Otherwise the prompt is sent by itself, and stays in the engine's prefix cache.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from probes.encoders.conversation import Conversation, Tools
from probes.errors import ArtefactError, BackendError, ForesightError
from probes.scoring.reference import Reference
from probes.scoring.scores import Projection
from router.decisions.eligibility import eligible
from router.router import Router
from serving.backends.base import Call, Reply, State
from serving.engine.channel import Channel, Message
from serving.engine.early.begun import Begun, require_accepted
from serving.engine.early.chores import Chores
from serving.engine.early.wager import Wager
from serving.engine.post import Post
from serving.engine.prompts import reads_the_same, scouting_body
from serving.engine.reference import require_reference
from serving.flow.sending.forwarding import forwarded_body
from serving.http.errors import BackendFailure
from serving.scout import Projected, Prospect

logger = logging.getLogger("foresight.scout")

POLL_S = 0.2
GRACE_S = 0.5
"""Time for the scores once the whole answer is there; they usually come before its first token."""
READY_S = 60.0
"""Time for the probe's socket, and for the reference prompt, once the engine answers."""
MAX_FAILURES = 5
"""An engine that cannot read the reference prompt so often is given up."""


@dataclass(frozen=True)
class _Early:
    """What could be sent before it is decided: the call, and all candidates to whom it would go."""

    policy: str
    candidates: tuple[str, ...]
    call: Call


class EngineScout:
    """Scores from inside a vLLM server.

    Parameters
    ----------
    post
        Where.
    router
        Its weights are what the engine multiplies with; its pool says who may be answered.
    reference
        What the engine must read of the reference prompt.
    """

    def __init__(self, post: Post, router: Router, reference: Reference) -> None:
        self.post = post
        self._reference = reference
        self._channel = Channel(post.room.socket)
        self._work = Chores()
        self._state = "starting"
        self._checked: asyncio.Future[None] | None = None
        self._wager = Wager()
        self.use(router)

    def use(self, router: Router) -> None:
        """Score with this router's weights from the engine's next step on."""
        self._pool = router.pool
        self._hosts = [c for c in router.pool.candidates if c.backend == self.post.backend_name]
        self._scorer = router.scorer
        self._weights = self.post.room.publish(router.scorer)

    @property
    def _template_kwargs(self) -> Mapping[str, Any]:
        return self._pool.scout.template_kwargs

    def status(self) -> dict[str, Any]:
        """How the engine is."""
        return {"scout": self.post.mode, "state": self._state}

    async def start(self) -> None:
        """Begin to wait for the engine."""
        self._checked = asyncio.get_running_loop().create_future()
        self._checked.add_done_callback(lambda checked: checked.cancelled() or checked.exception())
        self._work.begin(self._run(), "engine-scout")

    async def ready(self) -> None:
        """Wait until the engine has read the reference prompt rightly.

        Raises
        ------
        ArtefactError
            If it reads something else.
        BackendError
            If it cannot be reached.
        """
        if self._checked is None:
            raise BackendError("The scout is not started")
        await asyncio.shield(self._checked)

    async def close(self) -> None:
        """Stop; the private folder is deleted."""
        await self._work.cancel()
        await self._channel.close()
        if self.post.owned:
            await self.post.backend.close()
        self.post.room.remove()

    async def read(
        self, conversation: Conversation, tools: Tools | None = None, prospect: Prospect | None = None
    ) -> Projected:
        """The scores of one query; `BackendError` if there are none."""
        if self._state != "ready":
            raise BackendError(f"The scout's engine is {self._state}")
        early = None if prospect is None else self._early(prospect)
        key, scored = self._channel.expect()
        begun = None
        try:
            if early is not None and self._wager.worth(early.policy):
                begun = self.post.backend.begin(early.candidates, early.call, key)
            if begun is not None:
                message = await _first(scored, begun.asking)
            else:
                message = await self._ask(conversation, tools, key, scored)
            projection = self._projection(message)
        except BaseException:
            scored.cancel()
            if begun is not None:
                self.post.backend.give_up(begun)
            raise
        return Projected(projection, message.n_tokens, self._settler(early, begun))

    def _settler(self, early: _Early | None, begun: Begun | None) -> Callable[[str | None], None]:
        def settle(chosen: str | None) -> None:
            if early is not None and chosen is not None:
                self._wager.learn(early.policy, chosen in early.candidates)
            if begun is not None and chosen in begun.candidates:
                self.post.backend.keep(begun)
            elif begun is not None:
                self.post.backend.give_up(begun)

        return settle

    def _early(self, prospect: Prospect) -> _Early | None:
        """The request of a candidate that reads what the scout reads; None if there is none."""
        query = prospect.query
        if query.endpoint != "chat/completions":
            return None
        able, _ = eligible(self._pool, prospect.requirements)
        bodies = {
            host.name: forwarded_body(query.body, host.model, host.decoding.body(), query.endpoint)
            for host in self._hosts
            if able[0][self._pool.index(host.name)]
        }
        sent = next((body for body in bodies.values() if reads_the_same(body, self._template_kwargs)), None)
        if sent is None:
            return None
        call = Call(query.endpoint, sent, query.stream, query.request_id)
        return _Early(prospect.policy, tuple(name for name, body in bodies.items() if body == sent), call)

    async def _ask(
        self,
        conversation: Conversation,
        tools: Tools | None,
        key: str,
        scored: asyncio.Future[Message],
        features: bool = False,
    ) -> Message:
        """Send the prompt by itself; the request ends by itself after one token."""
        post = self.post
        body = scouting_body(post.model, conversation, tools, self._template_kwargs)
        call = Call("chat/completions", body, False, f"scout-{key}")
        probe = {"probe_id": key, "features": features}
        asking = self._work.begin(post.backend.ask_once(call, probe), "scouting")
        try:
            return await _first(scored, asking)
        except asyncio.CancelledError:
            asking.cancel()
            raise

    def _projection(self, message: Message) -> Projection:
        if message.weights != self._weights:
            raise BackendError("The engine scored with the weights of another router")
        return Projection(message.scores[None, :-1], message.scores[-1:])

    async def _run(self) -> None:
        """Keep the channel open, and check the engine whenever it has come up."""
        failures = 0
        try:
            if self.post.owned:
                await self.post.backend.start()
            while True:
                await self._connect()
                try:
                    await self._check()
                except BackendError:
                    failures += 1
                    if failures == MAX_FAILURES:
                        raise
                    await asyncio.sleep(POLL_S)
                    continue
                failures, self._state = 0, "ready"
                self._tell(None)
                await self._channel.closed()
                self._state = "gone"
        except ForesightError as error:
            self._state = "refused" if isinstance(error, ArtefactError) else "lost"
            logger.error("the scout's engine cannot be used: %s", error.message)
            self._tell(error)

    async def _connect(self) -> None:
        """Wait for the engine, as long as it may take, and then for its socket."""
        waited_s = 0.0
        while waited_s < READY_S:
            try:
                if (await self.post.backend.health()).state is State.UP:
                    await self._channel.connect()
                    return
            except OSError:
                waited_s += POLL_S
            await asyncio.sleep(POLL_S)
        raise BackendError("The scout's engine answers and has no probe", hint="Its log says why.")

    async def _check(self) -> None:
        """Let the engine read the reference prompt; `ArtefactError` if it reads it wrongly."""
        weights, scorer = self._weights, self._scorer
        key, scored = self._channel.expect()
        talk = [{"role": "user", "content": self._reference.text}]
        try:
            async with asyncio.timeout(READY_S):
                message = await self._ask(talk, None, key, scored, features=True)
        except TimeoutError as error:
            raise BackendError(f"The engine did not read the reference prompt in {READY_S:g} s") from error
        finally:
            scored.cancel()
        if weights != self._weights:
            raise BackendError("The weights were replaced while the engine was checked")
        off = require_reference(self._reference, message, scorer, weights)
        logger.info("the scout's engine reads the reference prompt with a relative error of %.1e", off)

    def _tell(self, error: ForesightError | None) -> None:
        checked = self._checked
        if checked is not None and not checked.done():
            if error is None:
                checked.set_result(None)
            else:
                checked.set_exception(error)


async def _first(scored: asyncio.Future[Message], asking: asyncio.Task[Any]) -> Message:
    """The scores, or why there are none: the engine refused the request, or answered it without any."""
    await asyncio.wait({scored, asking}, return_when=asyncio.FIRST_COMPLETED)
    if not scored.done():
        reply: Reply | None = asking.result()
        if reply is not None:
            require_accepted(reply)
        try:
            async with asyncio.timeout(None if reply is not None else GRACE_S):
                return await scored
        except TimeoutError as error:
            raise BackendFailure("garbage", "The engine answered without scores") from error
    return scored.result()
