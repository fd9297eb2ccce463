"""Any OpenAI-compatible server, by its URL.

aiohttp is the client because the client decides what a gateway costs (4.4 times the throughput of httpx2,
measured on one core). Request bodies are encoded once; response bytes are never decoded here.
"""

from __future__ import annotations

import io
import json
import os
import time
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

import aiohttp

from serving.backends.base import Call, Health, Reply, State
from serving.http.errors import BackendFailure

CLIENT_ERRORS: Final = frozenset({400, 413, 422})
"""Upstream statuses that are the client's own doing: passed on, never retried elsewhere."""

MAX_RETRY_AFTER_S: Final = 3600.0
"""No client is sent away for longer than this."""


LATE_S: Final = 0.05
"""A timer that fires so much too late belongs to an event loop that has too much to do."""

LARGE_BYTES: Final = 1 << 20
"""Request bodies from this size on are not written at once."""


class OpenAIBackend:
    """Relay to one OpenAI-compatible base URL.

    Parameters
    ----------
    name
        The backend's name in the pool, used in messages.
    url
        Base URL that ends in `/v1`.
    api_key
        Sent as a bearer token; None sends none.
    connect_timeout_s
        Time to open a connection.
    """

    def __init__(
        self,
        name: str,
        url: str,
        *,
        api_key: str | None = None,
        connect_timeout_s: float = 3.0,
    ) -> None:
        self.name = name
        self.url = url.rstrip("/")
        self._headers = {"content-type": "application/json", "accept-encoding": "identity"}
        if api_key:
            self._headers["authorization"] = f"Bearer {api_key}"
        self._connect_timeout_s = connect_timeout_s
        self._timeout = aiohttp.ClientTimeout(total=None, sock_connect=connect_timeout_s)
        self._session: aiohttp.ClientSession | None = None

    async def start(self) -> None:
        """Open the connection pool; the server itself may come later."""
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=30)
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),  # what a backend sets for one client is not another's
            headers=self._headers,
            timeout=self._timeout,
            auto_decompress=False,
            trust_env=False,
        )

    async def close(self) -> None:
        """Close every connection."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def health(self) -> Health:
        """Ask for the model list: every OpenAI-compatible server has one."""
        try:
            timeout = aiohttp.ClientTimeout(total=2.0)
            async with self._open_session().get(f"{self.url}/models", timeout=timeout) as response:
                status = response.status
        except (aiohttp.ClientError, TimeoutError, BackendFailure) as error:
            return Health(State.DOWN, _reason(error))
        return Health(State.UP) if status < 500 else Health(State.DOWN, f"GET /models answered {status}")

    async def ask(self, call: Call) -> Reply:
        """Send the call and wait for the status; raises `BackendFailure` for everything that is no answer."""
        try:
            response = await self._post(call)
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise BackendFailure(
                "connect", f"Backend {self.name} cannot be reached: {_reason(error)}."
            ) from error
        except aiohttp.ClientError as error:
            raise BackendFailure("cut", f"Backend {self.name} broke off: {_reason(error)}") from error
        if response.status == 200 or response.status in CLIENT_ERRORS:
            return HttpReply(self.name, response)
        response.close()
        raise self._refused(response.status, response.headers)

    async def _post(self, call: Call) -> aiohttp.ClientResponse:
        """Send once; and once more if a kept-alive connection turned out to be closed at the other end.

        A connection that timed out because this event loop was late (a burst of requests) says nothing about
        the backend, and is opened again, for as long as the caller waits.
        """
        url = f"{self.url}/{call.endpoint}"
        headers = {"x-request-id": call.request_id, **call.headers}
        data = json.dumps(call.body).encode()
        session = self._open_session()
        while True:
            began = time.monotonic()
            try:
                return await session.post(url, data=_payload(data), headers=headers)
            except aiohttp.ServerDisconnectedError:
                return await session.post(url, data=_payload(data), headers=headers)
            except aiohttp.ConnectionTimeoutError:
                if time.monotonic() - began < self._connect_timeout_s + LATE_S:
                    raise

    def _open_session(self) -> aiohttp.ClientSession:
        if self._session is None:
            raise BackendFailure("starting", f"Backend {self.name} is not started.")
        return self._session

    def _refused(self, status: int, headers: Mapping[str, str]) -> BackendFailure:
        retry_after_s = parse_retry_after(headers.get("retry-after"))
        if status in (429, 503, 529):
            message = f"Backend {self.name} is overloaded (status {status})."
            return BackendFailure("overloaded", message, status=status, retry_after_s=retry_after_s)
        hint = " Check the candidate's model name." if status == 404 else ""
        hint = " Check the key in the pool's api_key_env." if status in (401, 403) else hint
        return BackendFailure(
            "status", f"Backend {self.name} answered with status {status}.{hint}", status=status
        )


class HttpReply:
    """A `serving.backends.base.Reply` over one aiohttp response."""

    def __init__(self, name: str, response: aiohttp.ClientResponse) -> None:
        self._name = name
        self._response = response

    @property
    def status(self) -> int:
        """The upstream status."""
        return self._response.status

    async def read(self, limit: int) -> bytes:
        """The whole body, at most `limit` bytes."""
        length = self._response.content_length
        if length is not None and length > limit:
            raise BackendFailure("garbage", f"Backend {self._name} sent an answer of {length} bytes.")
        if length is not None:
            try:
                return await self._response.read()
            except (aiohttp.ClientError, OSError) as error:
                raise self._broken(error) from error
        parts: list[bytes] = []
        size = 0
        async for chunk in self.chunks():
            size += len(chunk)
            if size > limit:
                raise BackendFailure("garbage", f"Backend {self._name} sent more than {limit} bytes.")
            parts.append(chunk)
        return b"".join(parts)

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body as it comes off the socket."""
        content = self._response.content
        while True:
            try:
                chunk = await content.readany()
            except (aiohttp.ClientError, OSError) as error:
                raise self._broken(error) from error
            if not chunk:
                return
            yield chunk

    async def aclose(self) -> None:
        """Close the connection unless the body was read to its end (then it goes back to the pool)."""
        self._response.close()

    def _broken(self, error: Exception) -> BackendFailure:
        message = f"Backend {self._name} broke off in the middle of an answer ({_reason(error)})"
        return BackendFailure("cut", message)


def _payload(data: bytes) -> bytes | io.BytesIO:
    """A large body is sent in pieces, so that others have their turn meanwhile."""
    return data if len(data) < LARGE_BYTES else io.BytesIO(data)


def parse_retry_after(value: str | None, now: datetime | None = None) -> float | None:
    """`Retry-After` in seconds (a number or a date, RFC 9110 section 10.2.3); None if there is none."""
    if value is None:
        return None
    if value.strip().isdecimal():
        return min(float(value), MAX_RETRY_AFTER_S)
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return None
    wait_s = (moment.replace(tzinfo=moment.tzinfo or UTC) - (now or datetime.now(UTC))).total_seconds()
    return min(max(0.0, wait_s), MAX_RETRY_AFTER_S)


def _reason(error: BaseException) -> str:
    """The kind of a network error, without addresses or internals."""
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return "the name of its host is not known here"
    if isinstance(error, aiohttp.ClientConnectorError):
        return os.strerror(error.errno) if error.errno else "connection failed"
    return "timed out" if isinstance(error, TimeoutError) else type(error).__name__
