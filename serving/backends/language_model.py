"""A causal language model of transformers as the local backend needs it: prompts in, token by token out."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from probes.encoders.conversation import as_conversation
from probes.encoders.rendering import Renderer
from probes.errors import ConfigError
from serving.backends.decoding import Decoding
from serving.http.errors import context_length_exceeded, invalid_request


class LanguageModel:
    """One model and its tokenizer; not safe for use by several threads at once.

    Parameters
    ----------
    folder
        A transformers folder: config, weights as safetensors, tokenizer.
    device
        torch device.

    Raises
    ------
    ConfigError
        If the folder holds no causal language model.
    """

    def __init__(self, folder: Path, *, device: str = "cpu") -> None:
        try:
            self.tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True)
            self.model: Any = AutoModelForCausalLM.from_pretrained(
                folder, local_files_only=True, use_safetensors=True, dtype=torch.float32
            )
        except (OSError, ValueError) as error:
            message = f"No transformers model can be loaded from {folder.name}: {type(error).__name__}."
            raise ConfigError(message, param="model_path") from error
        self.model.to(device).eval()
        self.device = device
        self.context_tokens = int(self.model.config.max_position_embeddings)
        self.end_ids = _end_ids(self.model, self.tokenizer)

    def render_chat(self, body: Mapping[str, Any]) -> list[int]:
        """Token ids of a conversation with its generation prompt; `UsageError` if the template refuses it."""
        if not self.tokenizer.chat_template:
            raise invalid_request("This model has no chat template; use /v1/completions.", "messages")
        renderer = Renderer(self.tokenizer, body.get("chat_template_kwargs") or {})
        return renderer.render(as_conversation(body["messages"]), body.get("tools"))

    def render_prompts(self, prompt: str | Sequence[Any]) -> list[list[int]]:
        """Token ids of the prompts of a completion: a text, texts, ids, or lists of ids."""
        if isinstance(prompt, str):
            return [self._encode(prompt, special=True)]
        parts = list(prompt)
        if all(isinstance(part, int) for part in parts):
            return [self._checked(parts)]
        return [self.render_prompts(part)[0] for part in parts]

    def decode(self, ids: Sequence[int]) -> str:
        """Text of generated tokens, special tokens left out."""
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=True))

    def room(self, prompt: Sequence[int], decoding: Decoding, param: str) -> int:
        """Most tokens that the answer may have; raises `ApiError` (400) if it cannot fit."""
        if not prompt:
            raise invalid_request("The prompt has no tokens.", param)
        wanted = 1 if decoding.max_tokens is None else decoding.max_tokens
        if len(prompt) + wanted > self.context_tokens:
            raise context_length_exceeded(len(prompt) + wanted, self.context_tokens, param)
        return self.context_tokens - len(prompt) if decoding.max_tokens is None else decoding.max_tokens

    def tokens(self, prompt: Sequence[int], decoding: Decoding, draw: int = 0) -> Iterator[int]:
        """Generated token ids, one after another, without end; the caller stops at `end_ids` or its limit.

        `draw` tells the answers of one prompt apart under a fixed seed.
        """
        seed = secrets.randbits(62) if decoding.seed is None else decoding.seed + draw
        generator = torch.Generator(device=self.device).manual_seed(seed % (1 << 63))
        ids = torch.tensor([list(prompt)], device=self.device)
        cache = None
        while True:
            with torch.inference_mode():
                output = self.model(input_ids=ids, past_key_values=cache, use_cache=True, logits_to_keep=1)
                token = _sample(output.logits[0, -1].float(), decoding, generator)
            cache = output.past_key_values
            yield token
            ids = torch.tensor([[token]], device=self.device)

    def _encode(self, text: str, *, special: bool) -> list[int]:
        return list(self.tokenizer(text, add_special_tokens=special)["input_ids"])

    def _checked(self, ids: Sequence[int]) -> list[int]:
        if any(not 0 <= token < self.model.config.vocab_size for token in ids):
            raise invalid_request("A token id is outside the vocabulary.", "prompt")
        return list(ids)


def _sample(logits: Any, decoding: Decoding, generator: Any) -> int:
    """Draw one token id from logits of shape [vocabulary]."""
    if decoding.temperature == 0 or decoding.top_p == 0:
        return int(logits.argmax())
    logits = logits / decoding.temperature
    if 0 < decoding.top_k < logits.numel():
        logits = logits.masked_fill(logits < logits.topk(decoding.top_k).values[-1], float("-inf"))
    probabilities = logits.softmax(-1)
    if decoding.top_p < 1:
        ordered, order = probabilities.sort(descending=True)
        beyond = ordered.cumsum(-1) - ordered >= decoding.top_p
        probabilities = probabilities.index_fill(0, order[beyond], 0.0)
    return int(torch.multinomial(probabilities, 1, generator=generator))


def _end_ids(model: Any, tokenizer: Any) -> frozenset[int]:
    """Every id that ends an answer: the generation config's, and the tokenizer's."""
    configured = model.generation_config.eos_token_id
    ids = configured if isinstance(configured, list) else [configured]
    return frozenset(int(token) for token in [*ids, tokenizer.eos_token_id] if token is not None)
