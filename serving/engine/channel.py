"""The gateway's end of the engine's socket: waits for numbers under ids that nobody can guess."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import secrets
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from probes.errors import BackendError
from serving.engine.plugin.outlet import peer_uid, require_private

MAX_LINE_BYTES = 64 << 20
"""Largest message: features of a large model, in base64."""


@dataclass(frozen=True, eq=False)
class Message:
    """What the engine says of one prompt.

    Attributes
    ----------
    n_tokens
        Length of the prompt.
    weights
        Name of the weights that were used; None if there were none.
    scores
        float32 [C + 1]: the projection, and the energy last; empty without weights.
    features
        float32 [F] where they were asked for, else empty.
    """

    n_tokens: int
    weights: str | None
    scores: npt.NDArray[np.float32]
    features: npt.NDArray[np.float32]

    @classmethod
    def parse(cls, message: dict[str, Any]) -> Message:
        """Read a message; `ValueError`, `KeyError` or `TypeError` if it is none."""
        scores, features = (_numbers(message.get(name, "")) for name in ("scores", "features"))
        return cls(int(message["n_tokens"]), message["weights"], scores, features)


class Channel:
    """Receives from one engine.

    Parameters
    ----------
    path
        Of the engine's socket.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._expected: dict[str, asyncio.Future[Message]] = {}
        self._reading: asyncio.Task[None] | None = None
        self._writer: asyncio.StreamWriter | None = None

    @property
    def connected(self) -> bool:
        """Whether the engine is there."""
        return self._reading is not None and not self._reading.done()

    async def connect(self) -> None:
        """Connect; `OSError` if nobody listens, `BackendError` if somebody else could."""
        await self.close()
        try:
            require_private(self._path.parent)
        except PermissionError as error:
            raise BackendError(str(error)) from error
        reader, writer = await asyncio.open_unix_connection(self._path, limit=MAX_LINE_BYTES)
        if peer_uid(writer.get_extra_info("socket")) not in (os.geteuid(), 0):
            writer.close()
            raise BackendError("Another user's process listens on the engine's socket")
        self._writer = writer
        self._reading = asyncio.create_task(self._read(reader), name="engine-channel")

    async def closed(self) -> None:
        """Wait until the engine is gone."""
        if self._reading is not None:
            await asyncio.wait({self._reading})

    async def close(self) -> None:
        """Disconnect; whoever still waits is told."""
        reading, self._reading = self._reading, None
        writer, self._writer = self._writer, None
        if reading is not None:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
        if writer is not None:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    def expect(self) -> tuple[str, asyncio.Future[Message]]:
        """A fresh id to send to the engine, and what will come back under it. Cancel it to give up."""
        key = secrets.token_hex(16)
        future: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        self._expected[key] = future
        future.add_done_callback(lambda _: self._expected.pop(key, None))
        return key, future

    async def _read(self, reader: asyncio.StreamReader) -> None:
        try:
            while line := await reader.readline():
                self._receive(line)
        except (OSError, ValueError):  # ValueError: a line that is too long, or no message
            pass
        finally:
            for future in list(self._expected.values()):
                if not future.done():
                    future.set_exception(BackendError("The engine's socket was closed"))

    def _receive(self, line: bytes) -> None:
        try:
            message = json.loads(line)
            future = self._expected.get(message["id"])
            if future is not None and not future.done():
                future.set_result(Message.parse(message))
        except (KeyError, TypeError) as error:
            raise ValueError("no message of an engine") from error


def _numbers(text: str) -> npt.NDArray[np.float32]:
    return np.frombuffer(base64.b64decode(text, validate=True), dtype="<f4")
