"""A load generator that costs little: plain sockets, one request after another on each connection."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from time import perf_counter
from urllib.parse import urlsplit

import numpy as np


@dataclass
class Outcome:
    """What a load saw.

    Attributes
    ----------
    seconds
        From the first request to the last answer.
    latencies_s
        Of each answer.
    first_s
        Of streams: time to the first event.
    gaps_s
        Of streams: times between blocks that arrived.
    lost
        Answers with another status than 200, and streams without `[DONE]`.
    """

    seconds: float = 0.0
    latencies_s: list[float] = field(default_factory=list)
    first_s: list[float] = field(default_factory=list)
    gaps_s: list[float] = field(default_factory=list)
    lost: int = 0

    @property
    def per_second(self) -> float:
        """Answers per second."""
        return len(self.latencies_s) / self.seconds

    def percentile_ms(self, share: float) -> float:
        """Latency percentile, in milliseconds."""
        return 1000 * float(np.percentile(self.latencies_s, share))


def request_bytes(url: str, fields: Mapping[str, object], key: str | None = None) -> bytes:
    """A chat completion as bytes on the wire; `url` is a base URL without a path."""
    body = {
        "messages": [{"role": "user", "content": "What is 17 + 25? Explain."}],
        "max_tokens": 64,
        **fields,
    }
    data = json.dumps(body).encode()
    lines = [
        "POST /v1/chat/completions HTTP/1.1",
        f"host: {urlsplit(url).netloc}",
        "content-type: application/json",
        f"content-length: {len(data)}",
        *([f"authorization: Bearer {key}"] if key else []),
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + data


async def closed_loop(url: str, request: bytes, connections: int, seconds: float) -> Outcome:
    """Ask again as soon as the last answer is there, on each connection, for some seconds."""
    outcome, began = Outcome(), perf_counter()
    async with asyncio.TaskGroup() as group:
        for _ in range(connections):
            group.create_task(_ask_again(url, request, began + seconds, outcome))
    outcome.seconds = perf_counter() - began
    return outcome


async def streams(url: str, request: bytes, n: int) -> Outcome:
    """Open n streams at once and read each to its end."""
    outcome, began = Outcome(), perf_counter()
    async with asyncio.TaskGroup() as group:
        for _ in range(n):
            group.create_task(_stream(url, request, outcome))
    outcome.seconds = perf_counter() - began
    return outcome


async def _ask_again(url: str, request: bytes, until: float, outcome: Outcome) -> None:
    place = urlsplit(url)
    reader, writer = await asyncio.open_connection(place.hostname, place.port)
    try:
        while (began := perf_counter()) < until:
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            low = head.lower()
            mark = low.find(b"content-length:")
            await reader.readexactly(int(low[mark + 15 :].split(b"\r\n", 1)[0]))
            if head.startswith(b"HTTP/1.1 200"):
                outcome.latencies_s.append(perf_counter() - began)
            else:
                outcome.lost += 1
    finally:
        writer.close()


async def _stream(url: str, request: bytes, outcome: Outcome) -> None:
    place = urlsplit(url)
    began = last = perf_counter()
    try:
        reader, writer = await asyncio.open_connection(place.hostname, place.port)
    except OSError:
        outcome.lost += 1
        return
    tail, n = b"", 0
    try:
        writer.write(request)
        while block := await reader.read(65536):
            now = perf_counter()
            tail = (tail + block)[-64:]
            if b"data:" in block:
                if n == 0:
                    outcome.first_s.append(now - began)
                else:
                    outcome.gaps_s.append(now - last)
                n, last = n + 1, now
            if tail.endswith(b"0\r\n\r\n"):
                break
    except OSError:
        tail = b""
    finally:
        writer.close()
    if b"[DONE]" in tail:
        outcome.latencies_s.append(perf_counter() - began)
    else:
        outcome.lost += 1
