"""The ladder's tokeniser: whole words where the questions use them, bytes for everything else."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

PIECES = r" ?[A-Za-z]+| ?\d| ?[^\sA-Za-z\d]+|\s"
"""How text falls apart before the vocabulary is asked: words, digits, punctuation, each with its space."""

SPECIAL = ("<|pad|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>", "<|tool|>")
THINK = ("<think>", "</think>")

CHAT_TEMPLATE = (
    "{%- for message in messages -%}"
    "{%- if message['content'] is string -%}{%- set text = message['content'] -%}"
    "{%- else -%}{%- set text = message['content'] | selectattr('type', 'equalto', 'text')"
    " | map(attribute='text') | join(' ') -%}{%- endif -%}"
    "<|{{ message['role'] }}|>{{ text }}<|end|>"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}<|assistant|><think>"
    "{%- if not enable_thinking | default(false) -%}</think>{%- endif -%}"
    "{%- endif -%}"
)
"""Without `enable_thinking` the scratchpad is closed before generation starts: the model answers directly."""


def build(texts: Iterable[str], size: int = 512) -> PreTrainedTokenizerFast:
    """Make the tokeniser from a corpus.

    A byte-level BPE without merges: `ignore_merges` lets a whole word of the vocabulary be one token, and any
    other text falls to its bytes, so nothing is ever unknown.

    Parameters
    ----------
    texts : iterable of str
        Where the words come from; the most frequent ones enter.
    size : int
        Size of the vocabulary, special tokens included.
    """
    from collections import Counter

    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    split = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PIECES), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(re.findall(PIECES, text))
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = [
        "".join(piece for piece, _ in split.pre_tokenize_str(word))
        for word, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    ]
    words = [word for word in dict.fromkeys(words) if word not in set(alphabet)]
    reserved = [*SPECIAL, *THINK]
    vocabulary = [*reserved, *alphabet, *words[: size - len(reserved) - len(alphabet)]]
    core = Tokenizer(models.BPE({w: i for i, w in enumerate(vocabulary)}, [], ignore_merges=True))
    core.pre_tokenizer = split
    core.decoder = decoders.ByteLevel()
    core.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIAL])
    core.add_tokens([AddedToken(token, special=False, normalized=False) for token in THINK])
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token="<|pad|>",
        eos_token="<|end|>",
        chat_template=CHAT_TEMPLATE,
        padding_side="left",
        model_max_length=512,
        clean_up_tokenization_spaces=False,
    )
