"""Errors: OpenAI's shape, bounded, and nothing of the prompt or of our insides."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probes.errors import ArtefactError, BackendError, DataError, ForesightError, UsageError
from serving.http.errors import (
    MAX_MESSAGE,
    ApiError,
    BackendFailure,
    as_api_error,
    context_length_exceeded,
    from_failure,
    from_upstream,
    model_not_found,
)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


def test_the_wire_format_is_openais() -> None:
    error = model_not_found("gpt-9")

    assert error.status == 404
    message = "The model `gpt-9` does not exist here. GET /v1/models lists the names; `auto` routes."
    assert json.loads(error.json()) == {
        "error": {
            "message": message,
            "type": "invalid_request_error",
            "param": "model",
            "code": "model_not_found",
        }
    }
    assert error.event() == b"data: " + error.json() + b"\n\n"


def test_a_long_context_error_names_the_limit() -> None:
    error = context_length_exceeded(300, 256)

    assert (error.status, error.param, error.code) == (400, "messages", "context_length_exceeded")
    assert "256" in error.message
    assert "300" in error.message


@pytest.mark.parametrize(
    ("status", "type_"),
    [
        (400, "invalid_request_error"),
        (401, "invalid_request_error"),
        (403, "permission_error"),
        (404, "invalid_request_error"),
        (429, "rate_limit_error"),
        (500, "server_error"),
        (503, "server_error"),
    ],
)
def test_every_status_has_a_type(status: int, type_: str) -> None:
    assert ApiError(status, "x").type == type_


@pytest.mark.parametrize(
    ("error", "status", "param"),
    [
        (UsageError("bad", param="messages[0].role"), 400, "messages[0].role"),
        (DataError("bad"), 400, None),
        (ArtefactError("bad"), 500, None),
        (BackendError("bad"), 502, None),
        (ForesightError("bad"), 500, None),
        (BackendFailure("timeout", "slow"), 504, None),
        (BackendFailure("connect", "dead"), 502, None),
        (BackendFailure("starting", "wait"), 503, None),
        (ZeroDivisionError("secret"), 500, None),
    ],
)
def test_every_exception_has_a_status(error: Exception, status: int, param: str | None) -> None:
    told = as_api_error(error)

    assert (told.status, told.param) == (status, param)
    assert "secret" not in told.message


def test_hints_are_part_of_the_message() -> None:
    assert (
        as_api_error(UsageError("No such thing", hint="Take another.")).message
        == "No such thing. Take another."
    )


@given(st.text(min_size=MAX_MESSAGE + 1))
def test_messages_are_bounded(text: str) -> None:
    assert len(ApiError(400, text).message) == MAX_MESSAGE


class TestBusyBackends:
    def test_a_single_busy_backend_keeps_its_429_and_its_retry_after(self) -> None:
        told = from_failure(BackendFailure("overloaded", "busy", status=429, retry_after_s=1.6))

        assert told.status == 429
        assert told.type == "rate_limit_error"
        assert told.headers == {"retry-after": "2"}

    def test_a_busy_pool_is_a_503(self) -> None:
        told = from_failure(BackendFailure("overloaded", "busy", status=429, retry_after_s=0.1), tried=3)

        assert told.status == 503
        assert told.headers == {"retry-after": "1"}
        assert "3 candidates" in told.message


class TestUpstreamErrors:
    def test_vllms_shape_is_normalised(self) -> None:
        body = {
            "error": {
                "message": "temperature must be >= 0",
                "type": "BadRequestError",
                "param": None,
                "code": 400,
            }
        }

        told = from_upstream(400, json.dumps(body).encode())

        assert told.body()["error"] == {
            "message": "temperature must be >= 0",
            "type": "invalid_request_error",
            "param": None,
            "code": None,
        }

    def test_a_long_prompt_is_recognised(self) -> None:
        message = "This model's maximum context length is 512 tokens. However, you requested 600 tokens."

        told = from_upstream(400, json.dumps({"error": {"message": message, "code": 400}}).encode())

        assert (told.param, told.code) == ("messages", "context_length_exceeded")
        assert "512" in told.message

    def test_echoed_input_is_cut_off(self) -> None:
        message = "1 validation error\n Field required [type=missing, input_value={'secret': 1}]"

        assert from_upstream(422, json.dumps({"error": {"message": message}}).encode()).message == (
            "1 validation error\n Field required"
        )

    def test_a_422_is_told_as_a_400(self) -> None:
        told = from_upstream(422, json.dumps({"detail": [{"loc": ["body"], "input": "secret"}]}).encode())

        assert told.status == 400
        assert "secret" not in told.message

    @given(json_values)
    def test_any_json_gives_an_error_in_shape(self, body: Any) -> None:
        error = from_upstream(400, json.dumps(body).encode()).body()["error"]

        assert set(error) == {"message", "type", "param", "code"}
        assert error["message"]

    @given(st.binary())
    def test_any_bytes_give_an_error_in_shape(self, body: bytes) -> None:
        assert from_upstream(400, body).status == 400
