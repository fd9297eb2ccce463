"""A fast OpenAI-compatible upstream that answers at once, and always the same: run as a process of its own.

Speaks just enough HTTP/1.1 to be much faster than whatever is measured in front of it.
"""

from __future__ import annotations

import asyncio
import json
import sys

TEXT = "Seventeen plus twenty-five is forty-two. " * 4
CHUNKS = 20
PAUSE_S = 0.05
"""Between two chunks of a paced stream, in seconds."""
PACED = b"paced"
"""A request whose body holds this word is streamed slowly."""

ANSWER = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1,
    "model": "m",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": TEXT},
            "logprobs": None,
            "finish_reason": "stop",
        }
    ],
    "usage": {"prompt_tokens": 12, "completion_tokens": 40, "total_tokens": 52},
}


def whole() -> bytes:
    """The response to a request that does not stream."""
    body = json.dumps(ANSWER).encode()
    head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body


def events() -> list[bytes]:
    """The events of a stream, `[DONE]` last."""
    shared = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    deltas = [{"index": 0, "delta": {"content": f"word {i} "}, "finish_reason": None} for i in range(CHUNKS)]
    sent = [b"data: " + json.dumps({**shared, "choices": [delta]}).encode() + b"\n\n" for delta in deltas]
    return [*sent, b"data: [DONE]\n\n"]


def framed(part: bytes) -> bytes:
    """One part of a chunked body."""
    return f"{len(part):x}\r\n".encode() + part + b"\r\n"


WHOLE = whole()
EVENTS = [framed(event) for event in events()]
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
LISTING = b'{"object":"list","data":[]}'
MODELS = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 27\r\n\r\n" + LISTING
ABSENT = b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n"


class Connection(asyncio.Protocol):
    """One connection; one request at a time on it."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember where to write."""
        self._transport = transport
        self._held = b""

    def data_received(self, data: bytes) -> None:
        """Answer every whole request that has arrived."""
        self._held += data
        while (end := self._held.find(b"\r\n\r\n")) >= 0:
            head = self._held[:end].lower()
            mark = head.find(b"content-length:")
            length = 0 if mark < 0 else int(head[mark + 15 :].split(b"\r\n", 1)[0])
            if len(self._held) < end + 4 + length:
                return
            body, self._held = self._held[end + 4 : end + 4 + length], self._held[end + 4 + length :]
            self._answer(head, body)

    def _answer(self, head: bytes, body: bytes) -> None:
        if head.startswith(b"get"):
            self._write(MODELS if b"/models" in head.split(b"\r\n", 1)[0] else ABSENT)
        elif b'"stream": true' not in body and b'"stream":true' not in body:
            self._write(WHOLE)
        elif PACED in body:
            self._write(HEAD)
            self._pace(0)
        else:
            self._write(HEAD + b"".join(EVENTS) + b"0\r\n\r\n")

    def _pace(self, i: int) -> None:
        if i == len(EVENTS):
            self._write(b"0\r\n\r\n")
            return
        self._write(EVENTS[i])
        asyncio.get_running_loop().call_later(PAUSE_S, self._pace, i + 1)

    def _write(self, data: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(data)  # type: ignore[attr-defined]


async def serve(port: int) -> None:
    """Answer for ever."""
    server = await asyncio.get_running_loop().create_server(Connection, "127.0.0.1", port, backlog=4096)
    await server.serve_forever()


if __name__ == "__main__":
    try:
        import uvloop
    except ImportError:
        asyncio.run(serve(int(sys.argv[1])))
    else:
        uvloop.run(serve(int(sys.argv[1])))
