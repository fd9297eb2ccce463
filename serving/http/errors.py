"""Errors as OpenAI clients expect them: one shape, a status, and no surprises inside.

Every failure that reaches a client becomes an `ApiError`::

    {"error": {"message": str, "type": str, "param": str | null, "code": str | null}}

Messages are bounded, never repeat a prompt and never hold a traceback. The mapping from Foresight's own
error tree (`probes.errors`) and from the failures of backends to a status lives here and nowhere else.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Literal

from probes.errors import BackendError, ForesightError, UsageError

MAX_MESSAGE = 400
"""Characters of an error message; longer ones are cut (an error must never be bigger than its request)."""

ERROR_TYPES: Mapping[int, str] = {429: "rate_limit_error", 403: "permission_error"}
"""`error.type` by status, where it is neither `invalid_request_error` (4xx) nor `server_error` (5xx)."""

FailureKind = Literal[
    "connect", "timeout", "overloaded", "status", "garbage", "cut", "starting", "refused", "open"
]
"""Why a backend did not answer: the values of the metric label `kind`."""

_STATUS_OF_KIND: Mapping[str, int] = {"timeout": 504, "overloaded": 503, "starting": 503, "open": 503}
_ECHO = re.compile(r"\s*(\[type=|input_value|'input'|\"input\"|For further information).*", re.DOTALL)


class ApiError(Exception):
    """A failure with its place in OpenAI's wire format.

    Parameters
    ----------
    status
        HTTP status, 400 to 599.
    message
        One or two sentences for the person who reads the client's log: what is wrong and what to do.
    param
        The request field at fault, as `messages[0].role`.
    code
        A machine's name for the failure, as `model_not_found`.
    headers
        Extra response headers, as `retry-after`.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = bounded(message)
        self.type = ERROR_TYPES.get(status, "invalid_request_error" if status < 500 else "server_error")
        self.param = param
        self.code = code
        self.headers = dict(headers or {})

    def body(self) -> dict[str, Any]:
        """The whole response body."""
        error = {"message": self.message, "type": self.type, "param": self.param, "code": self.code}
        return {"error": error}

    def json(self) -> bytes:
        """The response body, encoded."""
        return json.dumps(self.body()).encode()

    def event(self) -> bytes:
        """The same error as one server-sent event, for streams that have begun."""
        return b"data: " + self.json() + b"\n\n"


class BackendFailure(BackendError):
    """A backend did not give an answer, so that the next candidate may be tried.

    Parameters
    ----------
    kind
        What happened (see `FailureKind`).
    message
        Without secrets and without what the backend echoed.
    status
        The upstream status, where there was one.
    retry_after_s
        What the backend asked for in `Retry-After`, in seconds.
    """

    def __init__(
        self,
        kind: FailureKind,
        message: str,
        *,
        status: int | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(bounded(message))
        self.kind = kind
        self.status = status
        self.retry_after_s = retry_after_s


def bounded(message: str, limit: int = MAX_MESSAGE) -> str:
    """Cut a message to `limit` characters, saying so."""
    return message if len(message) <= limit else message[: limit - 1] + "…"


def invalid_request(message: str, param: str | None, code: str | None = None) -> ApiError:
    """A 400: the client's own mistake, naming the field."""
    return ApiError(400, message, param=param, code=code)


def model_not_found(name: str) -> ApiError:
    """A 404 in the words that OpenAI's clients look for."""
    shown = bounded(name, 80)
    return ApiError(
        404,
        f"The model `{shown}` does not exist here. GET /v1/models lists the names; `auto` routes.",
        param="model",
        code="model_not_found",
    )


def context_length_exceeded(n_tokens: int, limit: int, param: str = "messages") -> ApiError:
    """A 400 for a prompt that no allowed candidate can hold."""
    message = (
        f"The maximum context length here is {limit} tokens, but the prompt and the requested completion "
        f"need {n_tokens}. Shorten the prompt or lower max_tokens."
    )
    return invalid_request(message, param, "context_length_exceeded")


def from_failure(failure: BackendFailure, *, tried: int = 1) -> ApiError:
    """What the client is told once no candidate is left to try.

    A pool that is only busy keeps its 429 or 503 (and its `Retry-After`), so that clients back off; a timeout
    is a 504; everything else is a 502.
    """
    status = _STATUS_OF_KIND.get(failure.kind, 502)
    if failure.kind == "overloaded" and failure.status == 429 and tried == 1:
        status = 429
    headers = {}
    if failure.retry_after_s is not None and status in (429, 503):
        headers["retry-after"] = str(max(1, round(failure.retry_after_s)))
    after = "" if tried == 1 else f" ({tried} candidates were tried; this is what the last one said)"
    code = "backend_" + failure.kind
    return ApiError(status, failure.message + after, code=code, headers=headers)


def from_upstream(status: int, body: bytes, prompt: str = "messages") -> ApiError:
    """Normalise the client error of an upstream server (400, 413 or 422) to OpenAI's shape, as a 400 or 413.

    vLLM puts a class name into `type` and a number into `code`, and FastAPI servers answer `{"detail": …}`;
    echoed input is cut off. `prompt` is the field that is at fault when a prompt is too long.
    """
    message, param, code = _upstream_fields(body)
    if "context length" in message or "max_model_len" in message:
        param, code = prompt, "context_length_exceeded"
    return ApiError(
        413 if status == 413 else 400, message or "The backend refused the request.", param=param, code=code
    )


def _upstream_fields(body: bytes) -> tuple[str, str | None, str | None]:
    try:
        parsed = json.loads(body)
    except ValueError:
        return "", None, None
    error = parsed.get("error", parsed) if isinstance(parsed, dict) else {}
    if not isinstance(error, dict):
        error = {"message": error}
    message = error.get("message")
    param, code = error.get("param"), error.get("code")
    text = _ECHO.sub("", message).strip() if isinstance(message, str) else ""
    return text, param if isinstance(param, str) else None, code if isinstance(code, str) else None


def as_api_error(error: BaseException) -> ApiError:
    """Any exception as the error that the client sees; what is not ours becomes a plain 500."""
    if isinstance(error, ApiError):
        return error
    if isinstance(error, BackendFailure):
        return from_failure(error)
    if isinstance(error, UsageError):
        return invalid_request(_with_hint(error), error.param)
    if isinstance(error, BackendError):
        return ApiError(502, _with_hint(error), code="backend_error")
    if isinstance(error, ForesightError):
        return ApiError(500, _with_hint(error), code="router_error")
    return ApiError(500, "The gateway failed while handling this request.", code="internal_error")


def _with_hint(error: ForesightError) -> str:
    message = error.message.rstrip(".") + "."
    return f"{message} {error.hint}" if error.hint else message
