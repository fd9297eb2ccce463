"""What clients may send: checked at the edge, then forwarded as it came.

The models describe only the fields that the gateway itself reads (and document the API); every other field is
allowed and goes to the backend untouched.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NoReturn, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from serving.http.errors import ApiError, invalid_request

Endpoint = Literal["chat/completions", "completions"]

Tokens = Annotated[int, Field(ge=0)]
Model = TypeVar("Model", bound=BaseModel)


class Preferences(BaseModel):
    """The body field `foresight`: what this one request wants from the router. Never forwarded."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    policy: str | None = None
    """A named policy of the pool, instead of its default."""
    min_success: float | None = Field(default=None, ge=0, le=1)
    """Least success probability that the chosen candidate should reach."""
    max_cost_usd: float | None = Field(default=None, ge=0)
    """Most expected cost of the answer."""
    quality: float | None = Field(default=None, ge=0, le=1)
    """One knob from cheapest (0) to best (1), instead of a policy's own number."""
    exclude: tuple[str, ...] = ()
    """Candidates that must not answer."""
    explain: bool = False
    """Put the whole decision into the answer (body field, or last event of a stream)."""


_NONE = Preferences()
"""Of requests that have none."""


class StreamOptions(BaseModel):
    """OpenAI's `stream_options`."""

    model_config = ConfigDict(extra="allow")

    include_usage: bool | None = None


class RequestBase(BaseModel):
    """Fields that chat completions and completions share."""

    model_config = ConfigDict(extra="allow", protected_namespaces=())

    model: str = Field(min_length=1, max_length=256)
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    n: int | None = Field(default=None, ge=1, le=128)
    max_tokens: Tokens | None = None
    foresight: Preferences | None = None


class ChatRequest(RequestBase):
    """`POST /v1/chat/completions`: https://platform.openai.com/docs/api-reference/chat/create."""

    messages: list[dict[str, Any]] = Field(min_length=1)
    max_completion_tokens: Tokens | None = None
    tools: list[dict[str, Any]] | None = None
    chat_template_kwargs: dict[str, Any] | None = None
    response_format: dict[str, Any] | None = None
    logprobs: bool | None = None


class CompletionRequest(RequestBase):
    """`POST /v1/completions`: the older, prompt-in text-out endpoint."""

    prompt: str | list[str] | list[int] | list[list[int]]
    logprobs: int | None = Field(default=None, ge=0)


class RouteRequest(BaseModel):
    """`POST /v1/route`: a chat request, or a bare prompt, to be decided and not answered."""

    model_config = ConfigDict(extra="allow")

    model: str = Field(default="auto", min_length=1, max_length=256)
    messages: list[dict[str, Any]] | None = Field(default=None, min_length=1)
    prompt: str | None = Field(default=None, min_length=1)
    foresight: Preferences | None = None


@dataclass(frozen=True)
class Query:
    """One checked request.

    Attributes
    ----------
    endpoint
        Path below `/v1/` that a backend is asked at.
    model
        What the client called the model: `auto`, `auto:RULE` or a candidate.
    body
        The client's JSON object without `foresight`.
    preferences
        The client's wishes for the router.
    request_id
        The `x-request-id` of this exchange.
    key_id
        Whose request it is; None where no keys are asked for.
    """

    endpoint: Endpoint
    model: str
    body: Mapping[str, Any]
    preferences: Preferences
    request_id: str
    key_id: str | None = None

    @property
    def stream(self) -> bool:
        """Whether the client asked for server-sent events."""
        return bool(self.body.get("stream"))

    @property
    def prompt_field(self) -> str:
        """The field that holds the prompt."""
        return "messages" if self.endpoint == "chat/completions" else "prompt"

    @property
    def max_output_tokens(self) -> int | None:
        """The client's own limit of the answer, in tokens."""
        limit = self.body.get("max_completion_tokens") or self.body.get("max_tokens")
        return None if limit is None else int(limit)


def parse_chat(raw: bytes, request_id: str, key_id: str | None = None) -> Query:
    """Check the body of a chat completion; raises `ApiError` (400) that names the field."""
    return _query("chat/completions", ChatRequest, raw, request_id, key_id)


def parse_completion(raw: bytes, request_id: str, key_id: str | None = None) -> Query:
    """Check the body of a completion; raises `ApiError` (400) that names the field."""
    return _query("completions", CompletionRequest, raw, request_id, key_id)


def parse_route(raw: bytes, request_id: str, key_id: str | None = None) -> Query:
    """Check the body of a routing question; a bare `prompt` becomes one user message."""
    body = json_object(raw)
    request = validated(RouteRequest, body)
    if (request.messages is None) == (request.prompt is None):
        raise invalid_request("Give either `messages` or `prompt`.", "messages")
    if request.prompt is not None:
        body["messages"] = [{"role": "user", "content": body.pop("prompt")}]
    body.pop("foresight", None)
    return Query("chat/completions", request.model, body, request.foresight or _NONE, request_id, key_id)


def _query(
    endpoint: Endpoint, model: type[RequestBase], raw: bytes, request_id: str, key_id: str | None
) -> Query:
    body = json_object(raw)
    request = validated(model, body)
    body.pop("foresight", None)
    return Query(endpoint, request.model, body, request.foresight or _NONE, request_id, key_id)


def json_object(raw: bytes) -> dict[str, Any]:
    """Decode a request body that must be one JSON object (no NaN, no unpaired surrogates)."""
    try:
        body = _DECODER.decode(raw.decode())
        if b"\\u" in raw:
            json.dumps(body, ensure_ascii=False).encode()
    except json.JSONDecodeError as error:
        message = f"The body is not valid JSON: {error.msg} at line {error.lineno}, column {error.colno}."
        raise invalid_request(message, "body", "invalid_json") from error
    except (ValueError, RecursionError) as error:
        reason = (
            "not UTF-8 text"
            if isinstance(error, UnicodeError)
            else "a value is out of range or nested too deeply"
        )
        raise invalid_request(f"The body is not valid JSON: {reason}.", "body", "invalid_json") from error
    if not isinstance(body, dict):
        raise invalid_request("The body must be a JSON object.", "body", "invalid_json")
    return body


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant)


def validated(model: type[Model], body: dict[str, Any]) -> Model:
    """A body as its model; raises `ApiError` (400) that names the field."""
    try:
        return model.model_validate(body)
    except ValidationError as error:
        raise _as_api_error(error) from None


def _as_api_error(error: ValidationError) -> ApiError:
    """The first fault of a validation, without the input that caused it."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    param = dotted(tuple(part for part in first["loc"] if not _is_union_arm(part)))
    more = f" ({error.error_count() - 1} more)" if error.error_count() > 1 else ""
    code = "missing_required_parameter" if first["type"] == "missing" else "invalid_value"
    return invalid_request(f"`{param}`: {first['msg']}{more}.", param, code)


def _is_union_arm(part: str | int) -> bool:
    """Pydantic names the arm of a union (`list[str]`) inside a location; clients know nothing of it."""
    return isinstance(part, str) and (part in {"str", "int"} or part.startswith("list["))


def dotted(location: tuple[str | int, ...]) -> str:
    """A field's place as clients write it: `messages[0].role`."""
    place = ""
    for part in location:
        place += f"[{part}]" if isinstance(part, int) else f".{part}" if place else str(part)
    return place or "body"
