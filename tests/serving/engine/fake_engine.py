"""An engine without a model server: the real socket and weights, and the encoder's own activations."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file

from probes.encoders.transformers import TransformersEncoder
from serving.backends.base import Call, Health, Reply, State
from serving.engine.early.begun import PARAMETERS
from serving.engine.plugin.outlet import CURRENT, SOCKET, Outlet


class FakeReply:
    """A whole answer, or a stream; knows whether it was given up."""

    def __init__(self, call: Call, status: int) -> None:
        self.status = status
        self.closed = False
        choice = {"index": 0, "message": {"role": "assistant", "content": call.body["model"]}}
        usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
        self._body = json.dumps({"choices": [choice], "usage": usage}).encode()
        self._stream = call.stream

    async def read(self, limit: int) -> bytes:
        return self._body

    async def chunks(self) -> AsyncIterator[bytes]:
        yield b'data: {"choices": [{"index": 0, "delta": {"content": "x"}}]}\n\n'
        yield b"data: [DONE]\n\n"

    async def aclose(self) -> None:
        self.closed = True


class FakeEngine:
    """Answers every call at once, after the scores of those that ask for them.

    Attributes
    ----------
    calls, replies
        All of them, in order.
    silent
        Sends no scores.
    status
        Of every reply.
    held
        Replies wait until it is set.
    """

    def __init__(self, folder: Path, encoder: TransformersEncoder) -> None:
        self._folder = folder
        self._encoder = encoder
        self._outlet: Outlet | None = None
        self.calls: list[Call] = []
        self.replies: list[FakeReply] = []
        self.cancelled = 0
        self.silent = False
        self.status = 200
        self.held = asyncio.Event()
        self.held.set()

    @property
    def to_clients(self) -> list[Call]:
        """Calls that are not the scout's own."""
        return [call for call in self.calls if not call.request_id.startswith("scout-")]

    async def start(self) -> None:
        """Listen, as a server does once it is up."""
        self._outlet = Outlet(self._folder / SOCKET, print)

    async def close(self) -> None:
        """Gone."""
        if self._outlet is not None:
            self._outlet.close()
            self._outlet = None

    async def health(self) -> Health:
        return Health(State.DOWN if self._outlet is None else State.UP)

    async def ask(self, call: Call) -> Reply:
        self.calls.append(call)
        wish = call.body.get(PARAMETERS)
        if wish and not self.silent and self.status == 200:
            self._send(call, wish)
        try:
            await self.held.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        self.replies.append(FakeReply(call, self.status))
        return self.replies[-1]

    def _send(self, call: Call, wish: dict[str, Any]) -> None:
        read = self._encoder.encode([call.body["messages"]], tools=call.body.get("tools"))
        features = read.features()
        arrays = load_file(self._folder / CURRENT)
        values = features @ arrays["matrix"] + arrays["offset"]
        scores = np.append(values[0], (features**2) @ arrays["precision"])
        message = {
            "id": wish["probe_id"],
            "n_tokens": int(read.n_tokens[0]),
            "weights": (self._folder / CURRENT).readlink().name,
            "scores": _as_text(scores),
        }
        if wish.get("features"):
            message["features"] = _as_text(features[0])
        assert self._outlet is not None
        self._outlet.put(lambda: [message])


def _as_text(numbers: Any) -> str:
    return base64.b64encode(np.asarray(numbers, "<f4").tobytes()).decode()
