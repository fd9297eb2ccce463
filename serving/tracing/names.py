"""Names of OpenTelemetry's semantic conventions that our spans carry, and those of our own.

The conventions for generative models are still moving, so that every name of theirs stands here once.
Source: https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-spans/, as of version 1.38.
"""

from __future__ import annotations

SCHEMA = "https://opentelemetry.io/schemas/1.38.0"

OPERATION = "gen_ai.operation.name"
PROVIDER = "gen_ai.provider.name"
REQUEST_MODEL = "gen_ai.request.model"
RESPONSE_MODEL = "gen_ai.response.model"
RESPONSE_ID = "gen_ai.response.id"
FINISH_REASONS = "gen_ai.response.finish_reasons"
INPUT_TOKENS = "gen_ai.usage.input_tokens"
OUTPUT_TOKENS = "gen_ai.usage.output_tokens"
INPUT_MESSAGES = "gen_ai.input.messages"
OUTPUT_TYPE = "gen_ai.output.type"

REQUEST = {
    "temperature": "gen_ai.request.temperature",
    "top_p": "gen_ai.request.top_p",
    "top_k": "gen_ai.request.top_k",
    "max_tokens": "gen_ai.request.max_tokens",
    "max_completion_tokens": "gen_ai.request.max_tokens",
    "frequency_penalty": "gen_ai.request.frequency_penalty",
    "presence_penalty": "gen_ai.request.presence_penalty",
    "seed": "gen_ai.request.seed",
    "n": "gen_ai.request.choice.count",
}
"""Fields of a request body that hold one number."""

OPERATIONS = {"chat/completions": "chat", "completions": "text_completion"}
"""Operations by endpoint."""

METHOD = "http.request.method"
ROUTE = "http.route"
STATUS = "http.response.status_code"
ERROR = "error.type"
ADDRESS, PORT = "server.address", "server.port"

REQUEST_ID = "foresight.request_id"
KEY = "foresight.key_id"
BACKEND = "foresight.backend"
CANDIDATE = "foresight.candidate"
CHOSEN = "foresight.chosen"
DECISION = "foresight.decision_id"
POLICY = "foresight.policy"
REASON = "foresight.reason"
SUCCESS = "foresight.success"
EXPECTED_COST = "foresight.expected_cost_usd"
COST = "foresight.cost_usd"
NOVELTY = "foresight.novelty"
NOVEL = "foresight.novel"
FIRST_BYTE = "foresight.first_byte_s"
