"""The rungs of the ladder: how large each model is and how long it is trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import LlamaConfig

CONTEXT_TOKENS = 512
"""The longest sequence that a ladder model reads."""


@dataclass(frozen=True)
class Size:
    """One rung.

    ``tokens`` counts what the optimiser sees, prompts included; ``batch_tokens`` is the size of one step.
    ``matrix_rate`` is the peak learning rate of the matrices inside the blocks (Muon), ``rate`` that of
    embeddings and norms (AdamW).
    """

    name: str
    hidden: int
    layers: int
    heads: int
    kv_heads: int
    mlp: int
    tokens: int
    batch_tokens: int
    matrix_rate: float
    rate: float

    def config(self, vocabulary: int, **extra: Any) -> LlamaConfig:
        """The transformers configuration of this rung."""
        from transformers import LlamaConfig

        return LlamaConfig(
            vocab_size=vocabulary,
            hidden_size=self.hidden,
            num_hidden_layers=self.layers,
            num_attention_heads=self.heads,
            num_key_value_heads=self.kv_heads,
            intermediate_size=self.mlp,
            head_dim=32,
            tie_word_embeddings=True,
            max_position_embeddings=CONTEXT_TOKENS,
            **extra,
        )


SIZES: dict[str, Size] = {
    size.name: size
    for size in (
        Size("ladder-s", 48, 2, 2, 1, 96, 56_000_000, 4_096, 8e-3, 4e-3),
        Size("ladder-m", 96, 4, 4, 2, 224, 24_000_000, 4_096, 6e-3, 4e-3),
        Size("ladder-l", 192, 6, 8, 4, 512, 26_000_000, 4_096, 5e-3, 3e-3),
    )
}
"""Every rung by name, smallest first; parameters grow by more than six from one to the next."""

DRILLED = 0.08
"""Share of training that is drills alone; questions come after it."""

LOG_SHARES = (0.01, 0.02, 0.03, 1 / 18, 0.1, 0.18, 0.32, 0.56, 1.0)
"""Shares of training, each about 1.8 times the one before."""

EVEN_SHARES = tuple(eighth / 8 for eighth in range(1, 9))
"""Shares of training at equal distances, as training runs keep their checkpoints."""

EARLY_SHARES = (0.09, 0.1, 0.11, 0.12, 0.13)
"""Shares of training within the first eighteenth of what follows the drills."""

CHECKPOINT_SHARES = tuple(sorted({*LOG_SHARES, *EVEN_SHARES, *EARLY_SHARES}))
"""The shares of training at which a checkpoint is kept."""
