"""The model card of a rung."""

from __future__ import annotations

from typing import Any

_CARD = """---
library_name: transformers
license: apache-2.0
language: en
tags: [foresight, llama, synthetic]
---
# {name}

A Llama of {parameters:,} parameters that answers questions in words: sums, lists, stories, dates, logic and
rules from examples. It is one rung of the reference pool of Foresight, a query router; it knows nothing else.

- **Use**: `AutoModelForCausalLM.from_pretrained(folder)` with the tokeniser's chat template. With
  `enable_thinking=True` it first writes out its steps up to `</think>`; without, it answers directly.
- **Training**: {tokens:,} tokens of generated questions (`eval.ladder.questions`, split `train`), half
  answered directly, half with the expert's solution; {seconds} s on one core; seed {seed}; loss {loss:.3f}.
- **Limits**: sequences of at most 512 tokens; the words of its small vocabulary, anything else byte by byte.
- **Make it again**: `foresight ladder train`.
"""


def card(record: dict[str, Any]) -> str:
    """The card in Markdown, from what ``training.json`` holds."""
    return _CARD.format(**{**record, "loss": record["loss"][-1][1]})
