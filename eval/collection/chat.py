"""One question to one candidate over the OpenAI chat API, with patience.

Overload, broken connections and time-outs are tried again with growing pauses; what no repetition can
mend is a clear error.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from eval.collection.journal import Answer, Key
from probes.encoders.conversation import Conversation
from probes.errors import BackendError

if TYPE_CHECKING:
    import aiohttp

_TRANSIENT = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
_MISCONFIGURED = frozenset({401, 403, 404, 405})
_EXCERPT = 200


class RefusedCallError(Exception):
    """This call does not succeed (a prompt too long, a refused parameter, a crash); others may."""


@dataclass(frozen=True)
class Target:
    """Where and how a candidate is asked.

    Attributes
    ----------
    candidate : str
        The candidate's name.
    model : str
        The name that its backend knows.
    url : str
        Base URL of the OpenAI-compatible API, as ``http://127.0.0.1:8000/v1``.
    decoding : mapping
        Extra fields of the request body: temperature, max_tokens, chat_template_kwargs, …
    api_key : str or None
        Bearer token.
    """

    candidate: str
    model: str
    url: str
    decoding: Mapping[str, Any] = field(default_factory=dict)
    api_key: str | None = field(default=None, repr=False)

    def body(self, key: Key, conversation: Conversation) -> dict[str, Any]:
        """The request body of a draw; a seed is moved on from draw to draw."""
        body = {**self.decoding, "model": self.model, "messages": list(conversation), "stream": False}
        if "seed" in body:
            body["seed"] += key.sample
        return body

    def fingerprint(self, key: Key, conversation: Conversation) -> str:
        """A short hash of the request body."""
        text = json.dumps(self.body(key, conversation), sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Patience:
    """How long to try.

    Attributes
    ----------
    attempts : int
        Tries in all.
    first_pause_s, longest_pause_s : float
        Pauses double from the first to the longest, with jitter; a ``Retry-After`` header counts more.
    timeout_s : float
        Limit of one attempt.
    """

    attempts: int = 6
    first_pause_s: float = 0.5
    longest_pause_s: float = 30.0
    timeout_s: float = 600.0

    def pause_s(self, attempt: int, retry_after: str | None) -> float:
        """Seconds to wait after a failed attempt, the first being 0."""
        wanted = float(retry_after) if retry_after and retry_after.isdigit() else 0.0
        doubled = min(self.first_pause_s * 2.0**attempt, self.longest_pause_s)
        return max(wanted, doubled * random.uniform(0.5, 1.0))


async def ask(
    session: aiohttp.ClientSession, target: Target, key: Key, conversation: Conversation, patience: Patience
) -> Answer:
    """Get one answer.

    Raises
    ------
    RefusedCallError
        The backend refuses this request or fails on it every time.
    BackendError
        The backend cannot be reached, refuses every request, or does not speak the API.
    """
    import aiohttp

    trouble, status = "no attempt was made", 0
    for attempt in range(patience.attempts):
        retry_after: str | None = None
        try:
            started = time.monotonic()
            async with session.post(
                target.url.rstrip("/") + "/chat/completions",
                json=target.body(key, conversation),
                headers={"Authorization": f"Bearer {target.api_key}"} if target.api_key else {},
                timeout=aiohttp.ClientTimeout(total=patience.timeout_s),
            ) as reply:
                text = await reply.text()
                if reply.status == 200:
                    return _answer(target, key, conversation, text, time.monotonic() - started)
                trouble, status = f"HTTP {reply.status}: {text[:_EXCERPT]}", reply.status
                retry_after = reply.headers.get("Retry-After")
                _raise_if_final(target, status, trouble)
        except (aiohttp.ClientError, TimeoutError, OSError) as exc:
            status = 0
            trouble = f"{type(exc).__name__}: {str(exc)[:_EXCERPT]}".rstrip(": ")
        if attempt + 1 < patience.attempts:
            await asyncio.sleep(patience.pause_s(attempt, retry_after))
    if status == 500:
        raise RefusedCallError(trouble)
    raise BackendError(
        f"{target.candidate} at {target.url} did not answer in {patience.attempts} attempts ({trouble}).",
        param=target.candidate,
        hint="Check that its backend runs; finished calls are kept, and the same command goes on from there.",
    )


def _raise_if_final(target: Target, status: int, trouble: str) -> None:
    if status in _MISCONFIGURED:
        raise BackendError(
            f"{target.candidate} at {target.url} refuses every request ({trouble}).",
            param=target.candidate,
            hint="Check the backend's url, its api_key_env and the candidate's model name.",
        )
    if status not in _TRANSIENT:
        raise RefusedCallError(trouble)


def _answer(target: Target, key: Key, conversation: Conversation, text: str, latency_s: float) -> Answer:
    try:
        reply = json.loads(text)
        choice, usage = reply["choices"][0], reply.get("usage") or {}
        content = choice["message"].get("content") or ""
        reason = choice.get("finish_reason")
    except (ValueError, LookupError, TypeError, AttributeError) as exc:
        raise BackendError(
            f"{target.candidate} at {target.url} sent no chat completion: {text[:_EXCERPT]!r}.",
            param=target.candidate,
            hint="The url must be the base of an OpenAI-compatible API, as http://host:8000/v1.",
        ) from exc
    tokens = (usage.get("prompt_tokens"), usage.get("completion_tokens"))
    fingerprint = target.fingerprint(key, conversation)
    return Answer(*key, fingerprint, content, reason, *tokens, latency_s=round(latency_s, 4))
