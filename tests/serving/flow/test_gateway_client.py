"""The official OpenAI client against a gateway over real models: it must not notice a difference."""

from __future__ import annotations

import json

import openai
import pytest
from openai import OpenAI

EASY = [{"role": "user", "content": "what is seven plus five"}]
HARD = [{"role": "user", "content": "a hard question"}]


def ask(client: OpenAI, **fields: object) -> openai.types.chat.ChatCompletion:
    return client.chat.completions.create(**{"model": "auto", "messages": EASY, **fields})  # type: ignore[call-overload]


class TestChat:
    def test_an_answer_is_a_chat_completion(self, client: OpenAI) -> None:
        answer = ask(client)

        assert answer.object == "chat.completion"
        assert answer.choices[0].message.role == "assistant"
        assert answer.choices[0].message.content
        assert answer.choices[0].finish_reason in ("length", "stop")
        assert answer.usage is not None
        assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens

    def test_a_stream_says_what_the_whole_answer_says(self, client: OpenAI) -> None:
        chunks = list(ask(client, stream=True))  # type: ignore[call-overload]

        text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
        assert text == ask(client).choices[0].message.content
        assert chunks[0].choices[0].delta.role == "assistant"
        assert chunks[-1].choices[0].finish_reason == "length"
        assert len({chunk.id for chunk in chunks}) == 1

    def test_usage_comes_last_in_a_stream_that_asks_for_it(self, client: OpenAI) -> None:
        chunks = list(ask(client, stream=True, stream_options={"include_usage": True}))  # type: ignore[call-overload]

        assert chunks[-1].choices == []
        assert chunks[-1].usage == ask(client).usage

    def test_the_clients_fields_win_over_the_candidates(self, client: OpenAI) -> None:
        assert ask(client, max_tokens=2).usage.completion_tokens == 2  # type: ignore[union-attr]

    def test_several_answers(self, client: OpenAI) -> None:
        answer = ask(client, n=3, temperature=1.0, seed=1)

        assert [choice.index for choice in answer.choices] == [0, 1, 2]
        assert len({choice.message.content for choice in answer.choices}) > 1

    def test_a_seed_makes_a_draw_repeatable(self, client: OpenAI) -> None:
        draws = [ask(client, temperature=1.0, seed=seed).choices[0].message.content for seed in (1, 1, 2)]

        assert draws[0] == draws[1]
        assert draws[0] != draws[2]

    def test_the_answer_ends_before_a_stop_string(self, client: OpenAI) -> None:
        whole = ask(client).choices[0].message.content or ""
        stop = whole[3:5]

        answer = ask(client, stop=[stop])

        assert answer.choices[0].message.content == whole[: whole.index(stop)]
        assert answer.choices[0].finish_reason == "stop"


class TestRouting:
    @pytest.mark.parametrize(
        ("model", "messages", "candidate"),
        [
            ("auto", EASY, "small"),
            ("auto", HARD, "large"),
            ("auto:best", EASY, "large"),
            ("small:think", HARD, "small:think"),
        ],
    )
    def test_the_model_name_decides_who_answers(
        self, client: OpenAI, model: str, messages: list[dict[str, str]], candidate: str
    ) -> None:
        raw = client.chat.completions.with_raw_response.create(model=model, messages=messages)  # type: ignore[arg-type]

        assert raw.headers["x-foresight-candidate"] == candidate

    def test_two_candidates_of_one_model_decode_differently(self, client: OpenAI) -> None:
        direct, think = (ask(client, model=model) for model in ("small", "small:think"))

        assert think.usage.prompt_tokens == direct.usage.prompt_tokens + 1  # type: ignore[union-attr]

    def test_the_explanation_stands_in_the_headers(self, client: OpenAI) -> None:
        headers = client.chat.completions.with_raw_response.create(model="auto", messages=EASY).headers  # type: ignore[arg-type]

        assert float(headers["x-foresight-success"]) == 0.9
        assert float(headers["x-foresight-expected-cost-usd"]) > 0
        assert headers["x-foresight-reason"]
        assert headers["x-foresight-decision-id"].startswith("dec-")

    def test_the_same_explanation_stands_in_the_body_and_in_the_stream(self, client: OpenAI) -> None:
        wish = {"foresight": {"explain": True}}

        body = ask(client, extra_body=wish).model_extra["foresight"]  # type: ignore[index]
        chunks = list(ask(client, extra_body=wish, stream=True))  # type: ignore[call-overload]
        last = chunks[-1].model_extra["foresight"]

        assert {**body, "id": ""} == {**last, "id": ""}
        assert body["served_by"] == body["candidate"] == "small"
        assert set(body["success"]) == {"small", "small:think", "large"}
        assert body["failed"] == []
        assert chunks[-1].id == chunks[0].id

    def test_nothing_is_explained_that_was_not_asked_for(self, client: OpenAI) -> None:
        assert "foresight" not in (ask(client).model_extra or {})
        chunks = list(ask(client, stream=True))  # type: ignore[call-overload]
        assert all(chunk.choices for chunk in chunks)

    @pytest.mark.parametrize(
        ("wish", "candidate"),
        [
            ({"policy": "best"}, "large"),
            ({"min_success": 0.93}, "large"),
            ({"quality": 0.0}, "small"),
            ({"exclude": ["small"]}, "small:think"),
            ({"policy": "best", "max_cost_usd": 5e-5}, "small:think"),
        ],
    )
    def test_a_request_may_have_wishes(self, client: OpenAI, wish: dict[str, object], candidate: str) -> None:
        answer = ask(client, extra_body={"foresight": {**wish, "explain": True}})

        assert answer.model_extra["foresight"]["candidate"] == candidate  # type: ignore[index]

    def test_a_scout_that_fails_sends_the_query_to_the_safe_candidate(self, client: OpenAI) -> None:
        answer = ask(
            client,
            messages=[{"role": "user", "content": "explode"}],
            extra_body={"foresight": {"explain": True}},
        )

        told = answer.model_extra["foresight"]  # type: ignore[index]
        assert (told["candidate"], told["policy"]) == ("large", "safe")
        assert "scout failed" in told["reason"]

    def test_a_novel_query_goes_to_the_safe_candidate(self, client: OpenAI) -> None:
        raw = client.chat.completions.with_raw_response.create(
            model="auto", messages=[{"role": "user", "content": "something strange"}]
        )

        assert raw.headers["x-foresight-candidate"] == "large"
        assert "unlike" in raw.headers["x-foresight-reason"]


class TestCompletions:
    @pytest.mark.parametrize("prompt", ["the quick", ["the quick", "a hard"], [5, 6, 7], [[5, 6], [7]]])
    def test_a_prompt_has_four_shapes(self, client: OpenAI, prompt: object) -> None:
        answer = client.completions.create(model="small", prompt=prompt, max_tokens=3)  # type: ignore[call-overload]

        assert answer.object == "text_completion"
        assert len(answer.choices) == (2 if prompt in (["the quick", "a hard"], [[5, 6], [7]]) else 1)
        assert answer.usage.completion_tokens <= 6

    def test_a_stream_says_what_the_whole_answer_says(self, client: OpenAI) -> None:
        whole = client.completions.create(model="auto", prompt="the quick")
        chunks = list(client.completions.create(model="auto", prompt="the quick", stream=True))

        assert "".join(chunk.choices[0].text for chunk in chunks) == whole.choices[0].text

    def test_the_router_reads_the_prompt(self, client: OpenAI) -> None:
        raw = client.completions.with_raw_response.create(model="auto", prompt=["easy", "a hard one"])

        assert raw.headers["x-foresight-candidate"] == "large"


class TestModels:
    def test_the_list_holds_the_routers_names_and_the_candidates(self, client: OpenAI) -> None:
        names = [model.id for model in client.models.list()]

        assert names[:2] == ["auto", "auto:best"]
        assert names[-3:] == ["small", "small:think", "large"]

    def test_one_model_can_be_asked_for(self, client: OpenAI) -> None:
        assert client.models.retrieve("small:think").owned_by == "foresight"

    def test_an_unknown_one_is_not_found(self, client: OpenAI) -> None:
        with pytest.raises(openai.NotFoundError) as caught:
            client.models.retrieve("gpt-9")

        assert caught.value.code == "model_not_found"


class TestRoute:
    def test_a_decision_without_an_answer(self, client: OpenAI) -> None:
        decision = client.post("/route", body={"prompt": "a hard question"}, cast_to=object)

        assert decision["candidate"] == "large"  # type: ignore[index]
        assert json.loads(json.dumps(decision)) == decision
        assert set(decision["success"]) == {"small", "small:think", "large"}  # type: ignore[index]


class TestErrors:
    @pytest.mark.parametrize("model", ["gpt-9", "auto:nothing", "AUTO"])
    def test_an_unknown_model(self, client: OpenAI, model: str) -> None:
        with pytest.raises(openai.NotFoundError) as caught:
            ask(client, model=model)

        assert (caught.value.param, caught.value.code) == ("model", "model_not_found")

    def test_the_request_id_is_shown(self, client: OpenAI) -> None:
        with pytest.raises(openai.APIStatusError) as caught:
            ask(client, model="gpt-9", extra_headers={"x-request-id": "mine-42"})

        assert caught.value.request_id == "mine-42"

    @pytest.mark.parametrize("model", ["auto", "small"])
    def test_a_prompt_that_is_too_long_names_the_limit(self, client: OpenAI, model: str) -> None:
        with pytest.raises(openai.BadRequestError) as caught:
            ask(client, model=model, messages=[{"role": "user", "content": "what is seven " * 800}])

        assert (caught.value.param, caught.value.code) == ("messages", "context_length_exceeded")
        assert "1024" in caught.value.message

    @pytest.mark.parametrize(
        ("wish", "param"),
        [
            ({"policy": "nothing"}, "foresight.policy"),
            ({"exclude": ["nobody"]}, "foresight.exclude"),
            ({"max_cost_usd": 1e-12}, "foresight.max_cost_usd"),
            ({"policy": "best", "quality": 0.5}, "foresight.quality"),
        ],
    )
    def test_a_wish_that_cannot_be_met(self, client: OpenAI, wish: dict[str, object], param: str) -> None:
        with pytest.raises(openai.BadRequestError) as caught:
            ask(client, extra_body={"foresight": wish})

        assert caught.value.param == param

    def test_nobody_left(self, client: OpenAI) -> None:
        with pytest.raises(openai.BadRequestError) as caught:
            ask(client, tools=[{"type": "function", "function": {"name": "f"}}])

        assert "tools" in caught.value.message

    def test_what_the_local_backend_cannot_do_is_refused(self, client: OpenAI) -> None:
        with pytest.raises(openai.BadRequestError) as caught:
            ask(client, model="small", logprobs=True)

        assert (caught.value.param, caught.value.code) == ("logprobs", "unsupported_parameter")
