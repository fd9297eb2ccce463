"""Answers from transformers, in this process: for laptops and quick tests, not for load.

One thread generates, one request at a time; the event loop only passes bytes on. A client that leaves stops
the thread at its next token.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from probes.errors import MissingExtraError, UsageError
from serving.backends.base import Call, Health, Reply, State
from serving.backends.decoding import Decoding, FinishReason, TextStream
from serving.backends.wire import Usage, Writer
from serving.http.errors import ApiError, BackendFailure, as_api_error

if TYPE_CHECKING:
    from serving.backends.language_model import LanguageModel


_LOADING = threading.Lock()
"""transformers changes torch's defaults while it loads: two threads that load at once get broken models."""


class LocalBackend:
    """One in-process model that several candidates may share.

    Parameters
    ----------
    name
        The backend's name in the pool.
    folder
        The model's transformers folder.
    device
        torch device.
    """

    def __init__(self, name: str, folder: Path, *, device: str = "cpu") -> None:
        self.name = name
        self._folder = folder
        self._device = device
        self._model: LanguageModel | None = None
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix=f"local-{name}")
        self._closing = threading.Event()

    async def start(self) -> None:
        """Load the weights, off the event loop."""
        loop = asyncio.get_running_loop()
        self._model = await loop.run_in_executor(self._thread, self._load)

    async def close(self) -> None:
        """Stop generating and end the thread."""
        self._closing.set()
        await asyncio.to_thread(self._thread.shutdown, True, cancel_futures=True)
        self._model = None

    async def health(self) -> Health:
        """Up once the weights are loaded."""
        return Health(State.STARTING if self._model is None else State.UP)

    async def ask(self, call: Call) -> Reply:
        """Begin an answer; a prompt that cannot be answered is a reply with status 400."""
        if self._model is None:
            raise BackendFailure("starting", f"Backend {self.name} is not started.")
        reply = _LocalReply(self.name, asyncio.get_running_loop())
        future = self._thread.submit(reply.produce, _Job(self._model, call), self._closing)
        reply.finished = asyncio.wrap_future(future)
        try:
            await reply.begin()
        except asyncio.CancelledError:
            await reply.aclose()
            raise
        return reply

    def _load(self) -> LanguageModel:
        try:
            from serving.backends.language_model import LanguageModel
        except ImportError as error:
            message = f"Backend {self.name} needs torch and transformers"
            raise MissingExtraError(message, hint="pip install 'foresight-router[scout]'") from error
        with _LOADING:
            return LanguageModel(self._folder, device=self._device)


@dataclass(frozen=True)
class _Job:
    """A call, worked through in the generating thread."""

    model: LanguageModel
    call: Call

    def run(self, stop: threading.Event) -> Iterator[bytes]:
        """First an empty chunk once the request is accepted, then the answer's bytes."""
        body = self.call.body
        decoding = Decoding.from_body(body)
        prompts, param = self._prompts(body)
        room = [self.model.room(prompt, decoding, param) for prompt in prompts]
        yield b""
        usage = Usage(prompt_tokens=sum(len(prompt) for prompt in prompts))
        writer = Writer(self.call.endpoint, str(body.get("model", "")))
        answers = [
            self._answer(prompt, limit, decoding, draw, usage, stop)
            for prompt, limit in zip(prompts, room, strict=True)
            for draw in range(decoding.n)
        ]
        yield from (
            self._events(writer, answers, usage)
            if self.call.stream
            else [self._whole(writer, answers, usage)]
        )

    def _prompts(self, body: Mapping[str, Any]) -> tuple[list[list[int]], str]:
        if self.call.endpoint == "chat/completions":
            return [self.model.render_chat(body)], "messages"
        return self.model.render_prompts(body["prompt"]), "prompt"

    def _answer(
        self,
        prompt: Sequence[int],
        room: int,
        decoding: Decoding,
        draw: int,
        usage: Usage,
        stop: threading.Event,
    ) -> Iterator[str]:
        """Pieces of text, then the finish reason as the last item."""
        text = TextStream(self.model.decode, decoding.stop)
        reason: FinishReason = "length"
        for count, token in enumerate(self.model.tokens(prompt, decoding, draw), start=1):
            if stop.is_set() or count > room:
                break
            usage.completion_tokens += 1
            if token in self.model.end_ids:
                reason = "stop"
                break
            yield text.push(token)
            if text.stopped:
                reason = "stop"
                break
            if count == room:
                break
        yield text.flush()
        yield reason

    def _events(self, writer: Writer, answers: Sequence[Iterator[str]], usage: Usage) -> Iterator[bytes]:
        for index, answer in enumerate(answers):
            yield writer.opening(index)
            previous = ""
            for piece in answer:
                if previous:
                    yield writer.piece(index, previous)
                previous = piece
            yield writer.closing(index, previous)
        wanted = (self.call.body.get("stream_options") or {}).get("include_usage")
        yield writer.ending(usage if wanted else None)

    def _whole(self, writer: Writer, answers: Sequence[Iterator[str]], usage: Usage) -> bytes:
        pieces = [list(answer) for answer in answers]
        return writer.whole([("".join(parts[:-1]), parts[-1]) for parts in pieces], usage)


class _LocalReply:
    """A `serving.backends.base.Reply` whose bytes a thread produces."""

    def __init__(self, name: str, loop: asyncio.AbstractEventLoop) -> None:
        self.finished: asyncio.Future[None] | None = None
        self._name = name
        self._loop = loop
        self._queue: asyncio.Queue[bytes | BaseException | None] = asyncio.Queue()
        self._stop = threading.Event()
        self._status = 200
        self._error_body: bytes | None = None

    @property
    def status(self) -> int:
        """200, or 400 for a request that this model cannot take."""
        return self._status

    def produce(self, job: _Job, closing: threading.Event) -> None:
        """In the generating thread: run the job into the queue until it ends or nobody listens."""
        try:
            for chunk in job.run(self._stop):
                if self._stop.is_set() or closing.is_set():
                    self._put(BackendFailure("cut", f"Backend {self._name} is stopping."))
                    return
                self._put(chunk)
            self._put(None)
        except Exception as error:  # whatever a model raises must reach the waiting request
            self._put(error)

    def _put(self, item: bytes | BaseException | None) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._queue.put_nowait, item)

    async def begin(self) -> None:
        """Wait until the request is accepted or refused."""
        item = await self._queue.get()
        if isinstance(item, ApiError | UsageError):
            refusal = as_api_error(item)
            self._status, self._error_body = refusal.status, refusal.json()
        elif isinstance(item, BaseException):
            raise self._failure(item)

    async def read(self, limit: int) -> bytes:
        """The whole body."""
        body = b"".join([chunk async for chunk in self.chunks()])
        if len(body) > limit:
            raise BackendFailure("garbage", f"Backend {self._name} sent more than {limit} bytes.")
        return body

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body as it is generated."""
        if self._error_body is not None:
            yield self._error_body
            return
        while (item := await self._queue.get()) is not None:
            if isinstance(item, BaseException):
                raise self._failure(item)
            if item:
                yield item

    async def aclose(self) -> None:
        """Stop at the next token."""
        self._stop.set()

    def _failure(self, error: BaseException) -> BackendFailure:
        if isinstance(error, BackendFailure):
            return error
        return BackendFailure(
            "cut", f"Backend {self._name} failed while generating ({type(error).__name__})."
        )
