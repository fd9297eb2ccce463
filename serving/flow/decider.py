"""From a request to a decision: what it needs, what the scout reads, what the router chooses.

Fails open: whatever the scout does, the query is answered, by the safe candidate, and the decision says why.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, TypeAlias

from probes.encoders.conversation import Conversation, as_conversation
from probes.encoders.encoder import Activations
from probes.errors import ForesightError, UsageError
from router.configuration.pool import Candidate
from router.configuration.settings import FITTED
from router.decisions.decision import Decision
from router.decisions.eligibility import Requirements, eligible
from router.decisions.wishes import Options
from router.identity import require_identity
from router.policies import POLICIES, Cascade
from router.router import Router
from serving.http.errors import ApiError, as_api_error, context_length_exceeded, invalid_request
from serving.http.protocol import Preferences, Query
from serving.metrics import Metrics
from serving.policies.standing import Standing
from serving.scout import Projected, Prospect, Scout

logger = logging.getLogger("foresight.decider")

Reading: TypeAlias = Activations | Projected

_IMAGE_PARTS = frozenset({"image_url", "input_image", "image"})
_FIELD_OF = {
    "policy": "foresight.policy",
    "quality": "foresight.quality",
    "min_success": "foresight.min_success",
    "max_cost_usd": "foresight.max_cost_usd",
    "candidate": "foresight.exclude",
}
"""The router's arguments as fields of a request body."""


class Decider:
    """Asks the scout, then the router.

    Parameters
    ----------
    router
        Chooses.
    scout
        Reads activations; None sends every query to the safe candidate.
    timeout_s
        Longest wait for the scout.
    metrics
        Counts queries that got no activations.

    Attributes
    ----------
    queue_s
        Gives the expected wait at the candidates' servers, in seconds (those that are left out have none).
    standing
        Knows of earlier requests; None knows of none.
    """

    def __init__(self, router: Router, scout: Scout | None, *, timeout_s: float, metrics: Metrics) -> None:
        self.metrics = metrics
        self._router = router
        self._scout = scout
        self._timeout_s = timeout_s
        self.queue_s: Callable[[], Mapping[str, float]] = dict
        self.standing: Standing | None = None

    @property
    def router(self) -> Router:
        """Who chooses now."""
        return self._router

    async def start(self) -> None:
        """Start the scout."""
        if self._scout is not None:
            await self._scout.start()

    async def ready(self) -> None:
        """Wait until the scout reads; `ForesightError` if it never will."""
        if self._scout is not None:
            await self._scout.ready()

    async def close(self) -> None:
        """Stop the scout."""
        if self._scout is not None:
            await self._scout.close()

    def use(self, router: Router) -> None:
        """Decide with another router from the next query on.

        Raises
        ------
        ArtefactError
            If it was fitted on another scout.
        """
        require_identity(router.identity, self._router.identity)
        if self._scout is not None:
            self._scout.use(router)
        self._router = router
        if self.standing is not None:
            self.standing.follow(router)

    def status(self) -> dict[str, Any]:
        """For `GET /ready`."""
        return {"scout": "none"} if self._scout is None else self._scout.status()

    def policies(self) -> list[str]:
        """Names of the policies that can be asked for: the pool's own, and every rule whose knob is known."""
        usable = []
        for name in [*self._router.pool.policies, FITTED, *POLICIES]:
            with contextlib.suppress(ForesightError):
                self._router.policy(name)
                usable.append(name)
        return list(dict.fromkeys(usable))

    async def decide(self, query: Query, policy: str | None, *, answering: bool = False) -> Decision:
        """The router's decision.

        Parameters
        ----------
        query
            A checked request.
        policy
            The policy that the model name asked for; the body field `foresight.policy` wins over it.
        answering
            Whether the chosen candidate will be asked at once, so that the scout may begin with its answer.

        Raises
        ------
        ApiError, UsageError
            If the request cannot be routed: its fault, naming the field.
        """
        conversation = conversation_of(query)
        requirements = requirements_of(query)
        options = _options(query.preferences, policy, requirements)
        # Who is asked for an answer's own confidence is asked for more than the client's request.
        begin = answering and self._scout is not None and not self._cascades(options)
        prospect = Prospect(query, requirements, query.preferences.policy or policy or "") if begin else None
        reading, failure = await self._read(conversation, query, prospect)
        options["queue_s"] = self.queue_s()
        chosen = None
        try:
            if self.standing is not None:
                self.standing.inform(query, options)
            decision = self._decide(reading, failure, conversation, options)
            chosen = decision.candidate
            return decision
        except UsageError as error:
            raise self._complaint(error, requirements, _length(reading), query.prompt_field) from error
        finally:
            if isinstance(reading, Projected):
                reading.settle(chosen)

    def _cascades(self, options: Options) -> bool:
        name = options.get("policy")
        with contextlib.suppress(ForesightError):  # an unknown policy is told of later
            return not isinstance(name, str | None) or isinstance(self._router.policy(name), Cascade)
        return False

    def _decide(
        self, reading: Reading | None, failure: str | None, conversation: Conversation, options: Options
    ) -> Decision:
        if isinstance(reading, Projected):
            scored = self._router.scorer.finish(reading.projection)
            return self._router.decide_scored(scored, [reading.n_tokens], **options)[0]
        return self._router.decide_activations(reading, failure=failure, conversation=conversation, **options)

    def _complaint(
        self, error: UsageError, requirements: Requirements, n_tokens: int, field: str
    ) -> ApiError:
        """The router's complaint in the request's words: its field, and OpenAI's code for long prompts."""
        told = as_api_error(error)
        if error.param == "messages" and n_tokens:
            able, _ = eligible(self._router.pool, replace(requirements, input_tokens=0, max_output_tokens=1))
            candidates = zip(self._router.pool.candidates, able[0], strict=True)
            rooms = [candidate.context_tokens for candidate, yes in candidates if yes]
            if rooms:  # somebody could, were it not for the length
                needed = n_tokens + (requirements.max_output_tokens or 1)
                return context_length_exceeded(needed, max(rooms), field)
        told.param = _FIELD_OF.get(error.param or "", error.param)
        return told

    def named(self, candidate: Candidate) -> Decision:
        """The decision of a client that chose by itself: nothing is read, nothing is known."""
        return Decision(
            candidate=candidate.name,
            reason="the request names this candidate",
            policy="named",
            success={},
            expected_cost_usd={},
            expected_output_tokens={},
            ranking=(candidate.name,),
        )

    async def _read(
        self, conversation: Conversation, query: Query, prospect: Prospect | None
    ) -> tuple[Reading | None, str | None]:
        """What the scout read, or why it did not."""
        if self._scout is None:
            return None, "the scout is switched off"
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._scout.read(conversation, query.body.get("tools"), prospect), None
        except TimeoutError:
            self.metrics.scout_failed("timeout")
            return None, f"the scout did not answer within {self._timeout_s:g} s"
        except UsageError:
            raise
        except ForesightError as error:
            self.metrics.scout_failed("error")
            return None, f"the scout failed: {error.message}"
        except Exception as error:
            self.metrics.scout_failed("error")
            logger.exception("the scout failed on request %s", query.request_id)
            return None, f"the scout failed ({type(error).__name__})"


def _length(reading: Reading | None) -> int:
    """Tokens of the prompt; 0 if nobody read it."""
    if isinstance(reading, Projected):
        return reading.n_tokens
    return 0 if reading is None else int(reading.n_tokens[0])


def _options(wishes: Preferences, policy: str | None, requirements: Requirements) -> Options:
    """The router's options; a `quality` knob of the body takes the place of the model name's policy."""
    return {
        "policy": wishes.policy or (policy if wishes.quality is None else None),
        "quality": wishes.quality,
        "min_success": wishes.min_success,
        "max_cost_usd": wishes.max_cost_usd,
        "requirements": requirements,
    }


def conversation_of(query: Query) -> Conversation:
    """What the scout reads: the whole conversation, or the prompt as one user message."""
    if query.endpoint == "chat/completions":
        return as_conversation(query.body["messages"])
    prompt = query.body["prompt"]
    if isinstance(prompt, list) and prompt and all(isinstance(text, str) for text in prompt):
        prompt = max(prompt, key=len)  # one model answers them all: the longest speaks for the list
    if not isinstance(prompt, str):
        message = "A prompt of token ids cannot be routed; send text, or name a candidate as `model`."
        raise invalid_request(message, "prompt")
    return as_conversation(prompt)


def requirements_of(query: Query) -> Requirements:
    """What a candidate must be able to do to answer this request."""
    body = query.body
    form: Mapping[str, Any] = body.get("response_format") or {}
    return Requirements(
        max_output_tokens=query.max_output_tokens,
        tools=bool(body.get("tools")),
        vision=_has_images(body.get("messages") or ()),
        json_schema=form.get("type") in {"json_schema", "json_object"},
        logprobs=bool(body.get("logprobs")),
        n=body.get("n") or 1,
        exclude=query.preferences.exclude,
    )


def _has_images(messages: Any) -> bool:
    contents = (message.get("content") for message in messages)
    parts = (part for content in contents if isinstance(content, list) for part in content)
    return any(isinstance(part, dict) and part.get("type") in _IMAGE_PARTS for part in parts)
