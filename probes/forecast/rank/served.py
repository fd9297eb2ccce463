"""Experts' solutions read by a vLLM server that runs already: its ``prompt_logprobs`` hold nine statistics.

Entropy needs the whole vocabulary, which a server does not tell: the proxies made of it are NaN. The other
statistics are exact: the server says the token's own rank and the likeliest token's probability.
"""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from probes.encoders.conversation import as_conversation
from probes.errors import BackendError, DataError, UsageError
from probes.forecast.rank.proxies import (
    PROXIES,
    Trajectory,
    from_prompt_logprobs,
    proxies,
    smoothed,
)
from probes.forecast.rank.solutions import LAST_TOKENS, Scored, Solution

TIMEOUT_S = 600.0
AT_ONCE = 32
"""Prompts in one request."""


class ServedTeacher:
    """A model behind vLLM's OpenAI-compatible server.

    Parameters
    ----------
    url
        Its address, with or without ``/v1``.
    model
        The name that it is served under; by default the first that it lists.
    key
        A bearer token, where the server asks for one.

    Raises
    ------
    BackendError
        Nobody answers there, or no vLLM.
    """

    def __init__(self, url: str, *, model: str | None = None, key: str | None = None) -> None:
        self._url = url.rstrip("/").removesuffix("/v1")
        self._key = key
        listed = self._call("/v1/models").get("data") or [{}]
        entry = next((one for one in listed if model in (None, one.get("id"))), None)
        if entry is None or "id" not in entry:
            names = ", ".join(str(one.get("id")) for one in listed)
            raise UsageError(f"{url} serves no model {model!r} (it has {names}).", param="models")
        self.model = str(entry["id"])
        self.limit = int(entry.get("max_model_len") or 1 << 30)

    def score(
        self,
        solutions: Sequence[Solution],
        *,
        last_tokens: int = LAST_TOKENS,
        progress: Callable[[int, int], None] | None = None,
    ) -> Scored:
        """Proxies of every solution, as `Teacher.score` gives them; NaN where they need an entropy.

        Raises
        ------
        UsageError
            No solution is given, or none fits into the context.
        BackendError
            The server refuses, or answers what it should not.
        """
        encoded = [self._encode(solution) for solution in solutions]
        # A request generates one token at least, which needs its place.
        fitting = [i for i, (_, ids) in enumerate(encoded) if len(ids) < self.limit]
        if not fitting:
            raise UsageError(
                f"None of {len(encoded)} solutions fits into {self.limit} tokens of context.",
                param="solutions",
                hint="Give shorter solutions, or leave this model out.",
            )
        share = smoothed(Counter(str(token) for start, ids in encoded for token in ids[start:]))
        values = np.full((len(encoded), len(PROXIES)), np.nan)
        for at in range(0, len(fitting), AT_ONCE):
            rows = fitting[at : at + AT_ONCE]
            for row, entries in zip(rows, self._logprobs([encoded[i][1] for i in rows]), strict=True):
                start, ids = encoded[row]
                first = max(start, len(ids) - last_tokens)
                table = from_prompt_logprobs(_own_last(entries[first:], ids[first:]))
                frequency = np.array([share[str(token)] for token in ids[first:]])
                values[row] = proxies(Trajectory(table, frequency, np.ones(len(table))))
            if progress is not None:
                progress(min(at + AT_ONCE, len(fitting)), len(fitting))
        if not np.isfinite(values[fitting, PROXIES.index("nll/uniform")]).all():
            raise DataError("The model's probabilities are not finite.", param="models")
        return Scored(values, tuple(solution.task for solution in solutions))

    def _encode(self, solution: Solution) -> tuple[int, list[int]]:
        """Prompt length, and ids of prompt and solution, by the server's own tokeniser and template."""
        if not solution.text.strip():
            raise DataError("A solution is empty.", param="solutions")
        messages = [dict(message) for message in as_conversation(solution.conversation)]
        asked = {"messages": messages, "add_generation_prompt": True}
        asked["chat_template_kwargs"] = dict(solution.template_kwargs)
        head = self._call("/tokenize", {"model": self.model, **asked})["tokens"]
        text = {"model": self.model, "prompt": solution.text, "add_special_tokens": False}
        return len(head), head + self._call("/tokenize", text)["tokens"]

    def _logprobs(self, prompts: Sequence[Sequence[int]]) -> list[list[Mapping[str, Any] | None]]:
        body = {"model": self.model, "prompt": list(prompts), "max_tokens": 1, "prompt_logprobs": 1}
        choices = self._call("/v1/completions", body).get("choices") or []
        found = [one.get("prompt_logprobs") for one in sorted(choices, key=lambda one: one["index"])]
        if len(found) != len(prompts) or not all(found):
            raise BackendError(
                f"{self._url} gives no prompt_logprobs", hint="Only vLLM does; give a model folder otherwise."
            )
        return found

    def _call(self, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        headers = {"Content-Type": "application/json"}
        if self._key is not None:
            headers["Authorization"] = f"Bearer {self._key}"
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._url + path, data=data, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
                found = json.load(answer)
        except urllib.error.HTTPError as error:
            told = error.read(300).decode(errors="replace")
            raise BackendError(f"{self._url}{path} answered {error.code}: {told}") from error
        except (OSError, ValueError) as error:
            raise BackendError(
                f"Nothing useful answers at {self._url}{path}: {error}", hint="Give a vLLM server's address."
            ) from error
        return found if isinstance(found, dict) else {}


def _own_last(
    entries: Sequence[Mapping[str, Any] | None], ids: Sequence[int]
) -> list[Mapping[str, Mapping[str, float]]]:
    """Each entry's likeliest token and the prompt's own, `from_prompt_logprobs` tells them by their rank."""
    found = [entry for entry, i in zip(entries, ids, strict=False) if entry is not None and str(i) in entry]
    if not len(found) == len(entries) == len(ids):
        raise BackendError("The server's prompt_logprobs do not belong to the prompt that was sent")
    return found
