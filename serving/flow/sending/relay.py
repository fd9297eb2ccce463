"""Pass a stream on to the client: whole events as they come, and an honest end.

A stream ends in one of three ways: `[DONE]` (with the explanation before it, if asked for); an error event
and no `[DONE]`, because after the first byte there is no silent switch; or the client leaves, and the backend
stops.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from typing import Any

from serving.flow.explain import Explanation
from serving.flow.record import Finish, TokenCount
from serving.flow.sending.dispatch import Answer
from serving.http.errors import ApiError, BackendFailure, from_failure
from serving.http.sse import DONE, payloads, split_done, split_error


class Relay:
    """One stream on its way through the gateway.

    Parameters
    ----------
    answer
        A streaming answer that has begun.
    explanation
        Sent as the last event before `[DONE]`; None sends none.
    input_tokens
        Length of the prompt as far as the gateway knows it, for backends that report no usage.
    finished
        Called exactly once, when the stream is over.
    max_bytes
        A stream that grows beyond is ended with an error event; None lets it grow.
    """

    def __init__(
        self,
        answer: Answer,
        explanation: Explanation | None,
        input_tokens: int,
        finished: Callable[[Finish, TokenCount], None],
        max_bytes: int | None = None,
    ) -> None:
        self._answer = answer
        self._explanation = explanation
        self._input_tokens = input_tokens
        self._finished = finished
        self._max_bytes = max_bytes
        self._n_bytes = 0
        self._n_events = 0
        self._usage: TokenCount | None = None
        self._template: dict[str, Any] = {}
        self._over = False

    async def blocks(self) -> AsyncGenerator[bytes, None]:
        """What the client is sent, in blocks of whole events."""
        source = self._answer.stream
        if source is None:
            raise TypeError("a relay needs a streaming answer")
        block = self._answer.body
        self._template = next(payloads(block), {}) if self._explanation else {}
        try:
            while True:
                block, failed = split_error(block)
                block, done = split_done(block)
                self._observe(block)
                if self._max_bytes is not None and self._n_bytes > self._max_bytes:
                    self._end("error")
                    yield ApiError(502, "The answer is too long.", code="answer_too_large").event()
                    return
                if failed:
                    self._end("error")
                    yield block + self._failed_upstream().event()
                    return
                if done:
                    self._end("ok")
                    yield block + self._last_words() + DONE
                    await source.finish()
                    return
                yield block
                block = await source.next()
        except BackendFailure as failure:
            self._end("error")
            yield from_failure(failure).event()

    async def aclose(self) -> None:
        """The stream is over for whatever reason: the backend stops, and the exchange is put on record."""
        self._end("aborted")
        if self._answer.stream is not None:
            await self._answer.stream.aclose()

    def _failed_upstream(self) -> ApiError:
        name = self._answer.candidate.backend
        return from_failure(
            BackendFailure("cut", f"Backend {name} reported an error in the middle of its answer")
        )

    def _last_words(self) -> bytes:
        return b"" if self._explanation is None else self._explanation.into_stream(self._template)

    def _observe(self, block: bytes) -> None:
        """Count events, and read the usage where a backend reports it."""
        self._n_events += block.count(b"data:")
        self._n_bytes += len(block)
        if b'"usage"' in block and b'"completion_tokens"' in block:
            for payload in payloads(block):
                self._usage = TokenCount.from_usage(payload.get("usage")) or self._usage

    def _end(self, finish: Finish) -> None:
        if self._over:
            return
        self._over = True
        # One event carries about one token; a chat stream opens and closes with one that carries none.
        estimate = TokenCount(self._input_tokens, max(0, self._n_events - 2), exact=False)
        self._finished(finish, self._usage or estimate)
