"""Solutions read by a server: a stand-in that answers as vLLM does, its numbers from transformers."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from probes.errors import BackendError, DataError, UsageError
from probes.forecast.rank.proxies import PROXIES
from probes.forecast.rank.served import ServedTeacher
from probes.forecast.rank.solutions import Solution
from probes.forecast.rank.teacher import Teacher

ASKED = [{"role": "user", "content": "what is seven plus five"}]
EXACT = [i for i, name in enumerate(PROXIES) if "entropy" not in name]


class VllmLike(ThreadingHTTPServer):
    """vLLM's routes for one model: models, tokenize, and completions with prompt_logprobs of 1."""

    def __init__(self, teacher: Teacher, *, silent: bool = False) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.teacher, self.silent = teacher, silent

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def logprobs(self, ids: list[int]) -> list[Any]:
        """As vLLM 0.32 writes them: the likeliest token first, then the prompt's own with its rank."""
        with torch.inference_mode():
            table = torch.log_softmax(self.teacher.model(torch.tensor([ids])).logits[0].float(), dim=-1)
        entries: list[Any] = [None]
        for row, own in zip(table[:-1], ids[1:], strict=True):
            rank = int((row > row[own]).sum()) + 1
            told = {str(int(row.argmax())): {"logprob": float(row.max()), "rank": 1, "decoded_token": "?"}}
            told[str(own)] = {"logprob": float(row[own]), "rank": rank, "decoded_token": "?"}
            entries.append(told)
        return entries


class _Handler(BaseHTTPRequestHandler):
    server: VllmLike

    def do_GET(self) -> None:
        self._answer({"data": [{"id": "tiny", "max_model_len": self.server.teacher.limit}]})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        tokenizer = self.server.teacher.tokenizer
        if self.path == "/tokenize" and "messages" in body:
            text = tokenizer.apply_chat_template(
                body["messages"], tokenize=False, add_generation_prompt=True, **body["chat_template_kwargs"]
            )
            self._answer({"tokens": tokenizer(text, add_special_tokens=False)["input_ids"]})
        elif self.path == "/tokenize":
            self._answer({"tokens": tokenizer(body["prompt"], add_special_tokens=False)["input_ids"]})
        else:
            found = [None if self.server.silent else self.server.logprobs(ids) for ids in body["prompt"]]
            self._answer({"choices": [{"index": i, "prompt_logprobs": one} for i, one in enumerate(found)]})

    def _answer(self, body: object) -> None:
        data = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


@pytest.fixture(scope="module", name="teacher")
def _teacher(tiny_llama: Path) -> Teacher:
    return Teacher(tiny_llama)


@pytest.fixture(name="server")
def _server(teacher: Teacher) -> Iterator[VllmLike]:
    with VllmLike(teacher) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def test_a_server_gives_the_proxies_that_the_model_itself_gives(teacher: Teacher, server: VllmLike) -> None:
    solutions = [Solution(ASKED, "seven plus five is twelve", "a"), Solution(ASKED, "the quick fox", "b")]
    served = ServedTeacher(server.url + "/v1").score(solutions, last_tokens=6)
    own = teacher.score(solutions, last_tokens=6)
    np.testing.assert_allclose(served.values[:, EXACT], own.values[:, EXACT], rtol=2e-3, atol=1e-4)
    assert np.isnan(np.delete(served.values, EXACT, axis=1)).all()
    assert set(served.by_task()) == {"a", "b"}


def test_what_a_server_cannot_give_is_told(teacher: Teacher, server: VllmLike) -> None:
    served = ServedTeacher(server.url)
    with pytest.raises(UsageError, match="serves no model 'other'"):
        ServedTeacher(server.url, model="other")
    with pytest.raises(UsageError, match="None of 1 solutions fits"):
        served.score([Solution(ASKED, "fox " * 3000)])
    with pytest.raises(DataError, match="empty"):
        served.score([Solution(ASKED, " ")])
    server.silent = True
    with pytest.raises(BackendError, match="no prompt_logprobs"):
        served.score([Solution(ASKED, "fox")])
    with pytest.raises(BackendError, match="Nothing useful answers"):
        ServedTeacher("http://127.0.0.1:9")
