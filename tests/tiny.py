"""A tiny model that every engine takes for a real one."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from serving.vllm.flags import ServerOptions, core_of
from serving.vllm.process import free_port

TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}{{ '<|' + m['role'] + '|>' + m['content'] + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}"
    "{% if enable_thinking is defined and enable_thinking %}{{ '<think>' }}{% endif %}{% endif %}"
)


def tiny_server_options(folder: Path, **changes: Any) -> ServerOptions:
    """Options that start a tiny model fast, on a CPU core or on a small share of a GPU.

    Parameters
    ----------
    folder
        The model's.
    **changes
        Fields of `ServerOptions` that shall be different.
    """
    usual: dict[str, Any] = {"name": "tiny", "port": free_port(), "max_model_len": 512, "cores": core_of(0)}
    return ServerOptions(str(folder), **(usual | {"eager": True, "gpu_memory_fraction": 0.1} | changes))


def make_tiny_llama(folder: Path, *, seed: int = 0) -> None:
    """Write a tiny random Llama with tokenizer and chat template.

    Parameters
    ----------
    folder
        Where to write it.
    seed
        Of the weights.
    """
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    special = ["<s>", "</s>", "<|user|>", "<|assistant|>", "<|system|>", "<think>", "</think>"]
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=320, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    bpe.train_from_iterator(
        ["the quick brown fox jumps over the lazy dog", "what is seven plus five"], trainer
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bpe, bos_token="<s>", eos_token="</s>", pad_token="</s>", chat_template=TEMPLATE
    )
    config = LlamaConfig(
        vocab_size=320,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=4,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=32,
        max_position_embeddings=1024,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        initializer_range=0.2,
        tie_word_embeddings=False,
        dtype=torch.float32,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = LlamaForCausalLM(config).eval()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
