"""Where a token's values lie in vLLM's cache on a CPU.

The CPU backend packs a block for its vector instructions (fp32: keys transposed, values in rows; bf16 with
AMX: both in tiles). Instead of knowing every packing, this module has vLLM's own writer pack numbered cells
and looks where they went.
"""

from __future__ import annotations

import torch


def value_places(block_tokens: int, head_dim: int, dtype: torch.dtype) -> torch.Tensor:
    """Flat places of each token's values in the values half of one block and head.

    Parameters
    ----------
    block_tokens
        Tokens of a kernel block.
    head_dim
        Width of a head.
    dtype
        Of the cache.

    Returns
    -------
    Tensor
        int64 [block_tokens, head_dim].

    Raises
    ------
    ValueError
        If the writer does not put every number in a place of its own.
    """
    from vllm import _custom_ops as ops
    from vllm.v1.attention.backends.cpu_attn import _get_attn_isa

    instructions = _get_attn_isa(dtype, block_tokens, head_dim, "auto")
    count = block_tokens * head_dim
    source = torch.arange(count)
    found = torch.zeros(count, dtype=torch.long)
    for shift in (0, 7, 14):  # digits of seven bits are exact in bfloat16, too
        digit = ((source >> shift) & 127).to(dtype).reshape(block_tokens, 1, head_dim).contiguous()
        cache = torch.zeros(1, 1, block_tokens * 2, head_dim, dtype=dtype)
        keys, values = cache.chunk(2, dim=2)
        ops.cpu_attn_reshape_and_cache(digit, digit, keys, values, torch.arange(block_tokens), instructions)
        found += values.reshape(-1).long() << shift
    if not torch.equal(found.sort().values, source):
        raise ValueError(f"vLLM packs its {dtype} cache in an unknown way ({instructions}).")
    places = torch.empty(count, dtype=torch.long)
    places[found] = source
    return places.reshape(block_tokens, head_dim)
