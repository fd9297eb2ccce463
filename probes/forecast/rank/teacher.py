"""One teacher-forced pass of any transformers model over experts' solutions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from probes.encoders.batching import plan_batches
from probes.encoders.conversation import as_conversation
from probes.encoders.rendering import Renderer
from probes.errors import ArtefactError, DataError, UsageError
from probes.forecast.rank.proxies import PROXIES, Floats, Trajectory, proxies, smoothed, word_frequencies
from probes.forecast.rank.solutions import LAST_TOKENS, Scored, Solution
from probes.forecast.rank.statistics import TokenStatistics, from_logits, stream

TOKEN_BUDGET = 8192
TOLERANCE = 2e-3
"""Largest difference of logits at which a model's head is taken for a plain product."""


class Teacher:
    """A causal language model that reads solutions.

    Parameters
    ----------
    folder
        In transformers' format; nothing is downloaded and no code of the model's own is run.
    device
        Of torch.
    dtype
        ``auto``: float32 on a CPU, the checkpoint's own elsewhere; or a name such as ``bfloat16``.

    Raises
    ------
    ArtefactError
        The folder holds no causal language model.
    """

    def __init__(self, folder: str | Path, *, device: str = "cpu", dtype: str = "auto") -> None:
        if not Path(folder).is_dir():
            raise ArtefactError(
                f"There is no model folder {folder}.",
                param="models",
                hint="Give a folder in transformers' format.",
            )
        kind = "float32" if dtype == "auto" and torch.device(device).type == "cpu" else dtype
        try:
            self.tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True)
            self.model: Any = AutoModelForCausalLM.from_pretrained(
                folder, local_files_only=True, use_safetensors=True, dtype=kind
            )
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            raise ArtefactError(
                f"{folder} holds no causal language model: {error}", param="models"
            ) from error
        self.model.to(device).eval()
        self.device = device
        self.limit = int(
            getattr(self.model.config.get_text_config(), "max_position_embeddings", 0) or 1 << 30
        )
        self.streams = self._head_is_plain()

    def score(
        self,
        solutions: Sequence[Solution],
        *,
        last_tokens: int = LAST_TOKENS,
        by_bytes: bool = False,
        progress: Callable[[int, int], None] | None = None,
    ) -> Scored:
        """Proxies of every solution, in one pass.

        Parameters
        ----------
        solutions
            One or more.
        last_tokens
            How many of a solution's tokens count, from its end.
        by_bytes
            Count bytes instead of tokens, and words for frequencies: for models whose tokenisers differ.
        progress
            Told after each batch.

        Raises
        ------
        UsageError
            No solution is given, or none fits into the context.
        DataError
            A solution is empty, or the model's numbers are not finite.
        """
        encoded = [self._encode(solution) for solution in solutions]
        fitting = [i for i, (_, ids, _) in enumerate(encoded) if len(ids) <= self.limit]
        if not fitting:
            raise UsageError(
                f"None of {len(encoded)} solutions fits into {self.limit} tokens of context.",
                param="solutions",
                hint="Give shorter solutions, or leave this model out.",
            )
        frequency = self._frequencies(solutions, encoded, by_bytes)
        values = np.full((len(encoded), len(PROXIES)), np.nan)
        done = 0
        for batch in plan_batches([len(encoded[i][1]) for i in fitting], TOKEN_BUDGET):
            rows = [fitting[i] for i in batch]
            for row, found in zip(rows, self._read([encoded[i][:2] for i in rows], last_tokens), strict=True):
                table = found.table().cpu().numpy()
                kept = len(table)
                trajectory = Trajectory(table, frequency[row][-kept:], encoded[row][2][-kept:])
                values[row] = proxies(trajectory.by_bytes() if by_bytes else trajectory)
            done += len(rows)
            if progress is not None:
                progress(done, len(fitting))
        if not np.isfinite(values[fitting]).all():
            raise DataError(
                "The model's probabilities are not finite.",
                param="models",
                hint="Load it with dtype 'float32'.",
            )
        return Scored(values, tuple(solution.task for solution in solutions))

    def _encode(self, solution: Solution) -> tuple[int, list[int], Floats]:
        """Prompt length, ids of prompt and solution, and bytes of each solution token."""
        text = solution.text
        if not text.strip():
            raise DataError("A solution is empty.", param="solutions")
        renderer = Renderer(self.tokenizer, solution.template_kwargs)
        head = renderer.render(as_conversation(solution.conversation))
        tail = self.tokenizer(
            text, add_special_tokens=False, return_offsets_mapping=self.tokenizer.is_fast, verbose=False
        )
        if self.tokenizer.is_fast:
            ends = [stop for _, stop in tail["offset_mapping"]]
            starts = [0, *ends[:-1]]
            pieces = [text[min(a, b) : b] for a, b in zip(starts, ends, strict=True)]
        else:
            pieces = [self.tokenizer.decode([token]) for token in tail["input_ids"]]
        length = np.array([max(1, len(piece.encode())) for piece in pieces], dtype=np.float64)
        return len(head), head + list(tail["input_ids"]), length

    def _frequencies(
        self, solutions: Sequence[Solution], encoded: Sequence[Any], by_bytes: bool
    ) -> list[Floats]:
        if by_bytes:
            known = word_frequencies(solution.text for solution in solutions)
            return [
                self._word_of_each(solution.text, length, known)
                for solution, (_, _, length) in zip(solutions, encoded, strict=True)
            ]
        counts = Counter(str(token) for start, ids, _ in encoded for token in ids[start:])
        share = smoothed(counts)
        return [np.array([share[str(token)] for token in ids[start:]]) for start, ids, _ in encoded]

    @staticmethod
    def _word_of_each(text: str, length: Floats, known: Mapping[str, float]) -> Floats:
        """Frequency of the word in which each token ends [T]."""
        raw = text.encode()
        share = np.empty(len(raw))
        at = 0
        for word in text.split():
            place = raw.index(word.encode(), at)
            share[at : place + len(word.encode())] = known.get(word, known[""])
            at = place + len(word.encode())
        share[at:] = known[""]
        ends = np.minimum(np.cumsum(length).astype(int), len(raw)) - 1
        return np.asarray(share[ends])

    def _read(self, batch: Sequence[tuple[int, list[int]]], last_tokens: int) -> list[TokenStatistics]:
        width = max(len(ids) for _, ids in batch)
        inputs = torch.zeros(len(batch), width, dtype=torch.long)
        mask = torch.zeros(len(batch), width, dtype=torch.long)
        for row, (_, ids) in enumerate(batch):
            inputs[row, : len(ids)] = torch.tensor(ids)
            mask[row, : len(ids)] = 1
        spans = [(max(start, len(ids) - last_tokens), len(ids)) for start, ids in batch]
        where = [(row, place) for row, (a, b) in enumerate(spans) for place in range(a, b)]
        rows, places = torch.tensor(where).T
        targets = inputs[rows, places].to(self.device)
        given = {
            "input_ids": inputs.to(self.device),
            "attention_mask": mask.to(self.device),
            "use_cache": False,
        }
        with torch.inference_mode():
            if self.streams:
                states = self.model.base_model(**given).last_hidden_state[rows, places - 1]
                head = self.model.get_output_embeddings()
                found = stream(states, head.weight, targets, getattr(head, "bias", None))
            else:
                found = from_logits(self.model(**given).logits[rows, places - 1], targets)
        sizes = [b - a for a, b in spans]
        columns = [torch.split(column, sizes) for column in (found.nll, found.rank, found.top, found.entropy)]
        return [TokenStatistics(*parts) for parts in zip(*columns, strict=True)]

    def _head_is_plain(self) -> bool:
        """Whether logits are states times output embeddings, and nothing else (no cap, no scale)."""
        head = self.model.get_output_embeddings()
        if head is None or not hasattr(head, "weight") or self.model.base_model is self.model:
            return False
        ids = torch.arange(4, device=self.device)[None] % max(1, head.weight.shape[0])
        with torch.inference_mode():
            states = getattr(self.model.base_model(input_ids=ids, use_cache=False), "last_hidden_state", None)
            if states is None or states.shape[-1] != head.weight.shape[1]:
                return False
            logits = self.model(input_ids=ids, use_cache=False).logits
            again = torch.nn.functional.linear(states, head.weight, getattr(head, "bias", None))
        scale = float(logits.abs().max()) + 1e-6
        return bool((logits - again).abs().max() <= TOLERANCE * scale)
