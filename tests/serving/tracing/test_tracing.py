"""What a real OTLP receiver is sent, and what the backends are told of the trace."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from probes.errors import ConfigError
from serving.settings import GatewaySettings, TracingSettings
from tests.serving.conftest import gateway_over
from tests.serving.tracing.receiver import Receiver, receiver
from tests.serving.upstream import Behaviour, Upstream, answers, chunk, streams, upstream

ROOT = Path(__file__).resolve().parents[3]
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SENT = {"traceparent": f"00-{TRACE}-{PARENT}-01", "tracestate": "vendor=1"}
SECRET = "easy words that nobody else may read"
ASKED = [{"role": "user", "content": SECRET}]
CHAT = {"model": "auto", "messages": ASKED, "temperature": 0.5, "max_tokens": 9}
USAGE = {"id": "chatcmpl-1", "choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 2}}
STREAM = (
    chunk(""),
    chunk("four"),
    chunk(None, "stop"),
    b"data: " + json.dumps(USAGE).encode() + b"\n\n",
    b"data: [DONE]\n\n",
)
SERVER, CLIENT = 2, 3
SAMPLED = 1


class Stand:
    """A traced gateway, its upstreams and the receiver; the spans are there once `close` has run."""

    def __init__(self, stack: AsyncExitStack, url: str, ear: Receiver, servers: list[Upstream]) -> None:
        self.url, self.ear, self.servers, self._stack = url, ear, servers, stack

    async def post(self, path: str = "/chat/completions", headers: Any = None, **fields: Any) -> Any:
        async with (
            aiohttp.ClientSession() as http,
            http.post(self.url + path, json={**CHAT, **fields}, headers=headers or {}) as answer,
        ):
            return answer.status, await answer.text()

    async def close(self) -> Receiver:
        """Stop the gateway, which sends what is left."""
        await self._stack.aclose()
        return self.ear


@asynccontextmanager
async def traced(*behaviours: Behaviour, **tracing: Any) -> AsyncIterator[Stand]:
    async with receiver() as ear, AsyncExitStack() as outer, AsyncExitStack() as stack:
        servers = [await outer.enter_async_context(upstream(one)) for one in behaviours]
        settings = TracingSettings(endpoint=ear.url, **tracing)
        url = await stack.enter_async_context(
            gateway_over(*(server.url for server in servers), tracing=settings, retries=0)
        )
        yield Stand(stack, url, ear, servers)


async def test_a_request_is_one_trace_from_the_client_to_the_backend() -> None:
    async with traced(answers()) as stand:
        status, _ = await stand.post(headers=SENT)
        assert status == 200
        ear = await stand.close()
    root, decide = ear.named("POST /v1/chat/completions"), ear.named("decide")
    scout, call = ear.named("scout"), ear.named("chat m")
    assert {span.trace_id for span in ear.spans} == {TRACE}
    assert (root.parent_id, decide.parent_id) == (PARENT, root.span_id)
    assert (scout.parent_id, call.parent_id) == (decide.span_id, root.span_id)
    assert (root.kind, call.kind) == (SERVER, CLIENT)
    assert root.seconds >= call.seconds > 0
    assert ear.resource["service.name"] == "foresight"
    version, trace, span, flags = stand.servers[0].headers[-1]["traceparent"].split("-")
    assert (version, trace, span) == ("00", TRACE, call.span_id)
    assert int(flags, 16) & SAMPLED
    assert stand.servers[0].headers[-1]["tracestate"] == "vendor=1"


async def test_spans_speak_the_conventions_of_generative_models() -> None:
    async with traced(answers()) as stand:
        await stand.post()
        ear = await stand.close()
    whole = ("chat m", "POST /v1/chat/completions", "decide")
    call, root, decide = (ear.named(name).attributes for name in whole)
    port = int(stand.servers[0].url.split(":")[2].split("/")[0])
    assert call == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "m",
        "gen_ai.request.temperature": 0.5,
        "gen_ai.request.max_tokens": 9,
        "gen_ai.response.model": "m",
        "gen_ai.response.id": "chatcmpl-1",
        "gen_ai.response.finish_reasons": ["stop"],
        "gen_ai.usage.input_tokens": 7,
        "gen_ai.usage.output_tokens": 2,
        "server.address": "127.0.0.1",
        "server.port": port,
        "foresight.backend": "at-small",
    }
    assert root["gen_ai.request.model"] == "auto"
    assert root["foresight.candidate"] == decide["foresight.chosen"] == "small"
    assert (root["gen_ai.usage.input_tokens"], root["gen_ai.usage.output_tokens"]) == (7, 2)
    assert root["http.response.status_code"] == 200
    assert decide["foresight.success"] == pytest.approx(0.9)
    assert decide["foresight.policy"] == "cheapest-likely"


async def test_a_stream_counts_its_tokens_and_lasts_until_its_end() -> None:
    async with traced(streams(*STREAM, pause_s=0.02)) as stand:
        status, text = await stand.post(stream=True)
        assert (status, "four" in text) == (200, True)
        ear = await stand.close()
    call = ear.named("chat m")
    assert call.attributes["gen_ai.usage.output_tokens"] == 2
    assert call.attributes["gen_ai.response.finish_reasons"] == ["stop"]
    assert call.seconds > 0.05


async def test_a_backend_that_fails_is_a_failed_span_and_the_next_ones_is_not() -> None:
    async with traced(answers(500), answers()) as stand:
        assert (await stand.post())[0] == 200
        ear = await stand.close()
    first, second = (span for span in ear.spans if span.name == "chat m")
    assert (first.failed, first.attributes["error.type"]) == (True, "status")
    assert not second.failed
    assert ear.named("POST /v1/chat/completions").attributes["foresight.candidate"] == "large"


async def test_a_client_that_names_the_candidate_gets_a_decision_without_a_scout() -> None:
    async with traced(answers()) as stand:
        await stand.post(model="small")
        ear = await stand.close()
    assert sorted(span.name for span in ear.spans) == ["POST /v1/chat/completions", "chat m", "decide"]
    assert len({span.trace_id for span in ear.spans}) == 1


async def test_a_refused_request_leaves_no_span_open() -> None:
    async with traced(answers()) as stand:
        status, _ = await stand.post(foresight={"max_cost_usd": 0})
        assert status == 400
        ear = await stand.close()
    assert sorted(span.name for span in ear.spans) == ["POST /v1/chat/completions", "decide", "scout"]


async def test_many_at_once_do_not_mix_their_traces() -> None:
    async with traced(answers()) as stand, aiohttp.ClientSession() as http:
        traces = [f"{number:032x}" for number in range(1, 41)]
        for start in range(0, 40, 20):
            calls = [
                http.post(
                    f"{stand.url}/chat/completions",
                    json=CHAT,
                    headers={"traceparent": f"00-{trace}-{PARENT}-01"},
                )
                for trace in traces[start : start + 20]
            ]
            for call in calls:
                async with call as answer:
                    assert answer.status == 200
        ear = await stand.close()
    by_trace = {trace: sorted(s.name for s in ear.spans if s.trace_id == trace) for trace in traces}
    whole = ["POST /v1/chat/completions", "chat m", "decide", "scout"]
    assert all(found == whole for found in by_trace.values())


async def test_prompts_stay_out_unless_they_are_asked_for() -> None:
    for prompts in (False, True):
        async with traced(answers(), prompts=prompts) as stand:
            await stand.post()
            ear = await stand.close()
        assert (SECRET.encode() in ear.raw) == prompts
    said = json.loads(ear.named("chat m").attributes["gen_ai.input.messages"])
    assert said == [{"role": "user", "parts": [{"type": "text", "content": SECRET}]}]


async def test_what_is_not_sampled_is_not_sent_and_the_backend_hears_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "parentbased_always_off")
    async with traced(answers()) as stand:
        assert (await stand.post())[0] == 200
        off = stand.servers[0].headers[-1]["traceparent"]
        assert (await stand.post(headers=SENT))[0] == 200
        ear = await stand.close()
    assert int(off[-2:], 16) & SAMPLED == 0
    assert {span.trace_id for span in ear.spans} == {TRACE}


async def test_health_checks_and_garbled_parents_make_no_trouble() -> None:
    async with traced(answers()) as stand, aiohttp.ClientSession() as http:
        for path in ("/health", "/ready", "/metrics"):
            async with http.get(stand.url.removesuffix("/v1") + path) as answer:
                assert answer.status == 200
        assert (await stand.post(headers={"traceparent": "00-zz-1-01"}))[0] == 200
        ear = await stand.close()
    assert ear.named("POST /v1/chat/completions").parent_id == ""
    assert len(ear.spans) == 4


async def test_a_receiver_that_is_away_costs_no_answer(dead_port: int) -> None:
    settings = TracingSettings(endpoint=f"http://127.0.0.1:{dead_port}/v1/traces")
    async with (
        upstream(answers()) as server,
        gateway_over(server.url, tracing=settings) as url,
        aiohttp.ClientSession() as http,
        http.post(f"{url}/chat/completions", json=CHAT) as answer,
    ):
        assert answer.status == 200


def test_an_endpoint_that_is_no_url_is_told() -> None:
    with pytest.raises(ConfigError, match=r"tracing\.endpoint"):
        GatewaySettings.of_section({"tracing": {"endpoint": "collector:4318"}}, ROOT)


def test_nothing_of_it_is_loaded_while_it_is_off() -> None:
    script = """
import sys
from serving.assemble import make_gateway
from serving.http.app import create_app
from serving.settings import GatewaySettings
from tests.serving.routing import pool_of, router_of
pool = pool_of({"far": {"kind": "openai", "url": "http://127.0.0.1:9/v1"}}, {"small": {"backend": "far"}})
create_app(make_gateway(pool, router_of(pool), settings=GatewaySettings()))
print([name for name in sys.modules if name.startswith(("opentelemetry.sdk", "opentelemetry.exporter",
    "opentelemetry.proto", "google.protobuf", "serving.tracing", "requests"))])
"""
    words = [sys.executable, "-c", script]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
