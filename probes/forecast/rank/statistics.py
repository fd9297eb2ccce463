"""Ten statistics of every token of a text, streamed over the vocabulary, never [tokens, vocabulary] at once.

The ten of arXiv 2605.18607: what the model thought of the token that an expert wrote.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

VOCABULARY_AT_ONCE = 8192
TOKENS_AT_ONCE = 512


@dataclass(frozen=True, eq=False)
class TokenStatistics:
    """What a model thought of T tokens.

    Attributes
    ----------
    nll
        Negative log-probability of the token in nats [T].
    rank
        One more than the number of likelier tokens [T].
    top
        The highest probability of any token [T].
    entropy
        Entropy over log of the vocabulary's size, in [0, 1]; NaN where it was not read.
    """

    nll: torch.Tensor
    rank: torch.Tensor
    top: torch.Tensor
    entropy: torch.Tensor

    def table(self) -> torch.Tensor:
        """The ten statistics [T, 10], float64, in the order of `proxies.STATISTICS`."""
        probability = torch.exp(-self.nll)
        first = self.rank == 1
        columns = [
            self.nll,
            *(self.rank <= k for k in (1, 2, 3, 5)),
            self.entropy,
            self.rank,
            1 / self.rank,
            torch.where(first, 0.0, self.top - probability),
            torch.where(first, 0.0, self.top),
        ]
        return torch.stack([column.double() for column in columns], dim=1)


def stream(
    states: torch.Tensor, head: torch.Tensor, tokens: torch.Tensor, bias: Any = None
) -> TokenStatistics:
    """Statistics of T tokens from the states that predict them.

    Parameters
    ----------
    states
        [T, d]: after the final norm.
    head
        [V, d]: output embeddings.
    tokens
        int [T].
    bias
        [V] or None.

    Notes
    -----
    One pass over blocks of the vocabulary with a running maximum and running sums (online softmax, Milakov &
    Gimelshein 2018, arXiv 1805.02867); the largest table is `TOKENS_AT_ONCE` by `VOCABULARY_AT_ONCE`.
    """
    parts = [
        _stream(states[start : start + TOKENS_AT_ONCE], head, tokens[start : start + TOKENS_AT_ONCE], bias)
        for start in range(0, len(states), TOKENS_AT_ONCE)
    ]
    return TokenStatistics(*(torch.cat(column) for column in zip(*parts, strict=True)))


def _stream(states: torch.Tensor, head: torch.Tensor, tokens: torch.Tensor, bias: Any) -> tuple[Any, ...]:
    n, size = len(states), len(head)
    own = torch.einsum("td,td->t", states.float(), head[tokens].float())
    own = own if bias is None else own + bias[tokens].float()
    rows = torch.arange(n, device=states.device)
    peak = torch.full((n,), -torch.inf, device=states.device)
    total, weighted, likelier = torch.zeros_like(peak), torch.zeros_like(peak), torch.zeros_like(peak)
    for start in range(0, size, VOCABULARY_AT_ONCE):
        block = head[start : start + VOCABULARY_AT_ONCE]
        logits = (states @ block.T).float()
        if bias is not None:
            logits += bias[start : start + VOCABULARY_AT_ONCE].float()
        place = tokens - start
        here = (place >= 0) & (place < len(block))
        logits[rows[here], place[here]] = own[here]  # one value for the token, however it was multiplied
        likelier += (logits > own[:, None]).sum(dim=1)
        higher = torch.maximum(peak, logits.amax(dim=1))
        scale = torch.exp(peak - higher)
        logits -= higher[:, None]
        weights = torch.exp(logits)
        fresh = weights.sum(dim=1)
        # The sum of weight times logit, re-centred whenever the maximum moves.
        moved = torch.where(torch.isfinite(peak), peak - higher, 0.0)
        weighted = scale * (weighted + moved * total) + torch.einsum("tv,tv->t", weights, logits)
        total = scale * total + fresh
        peak = higher
    log_total = torch.log(total)
    nll = peak + log_total - own
    entropy = (log_total - weighted / total) / torch.log(torch.tensor(float(size)))
    return nll.clamp(min=0), likelier + 1, torch.exp(-log_total), entropy.clamp(0, 1)


def from_logits(logits: torch.Tensor, tokens: torch.Tensor) -> TokenStatistics:
    """The same from logits [T, V] that are there already, `TOKENS_AT_ONCE` rows at a time."""
    parts = []
    for start in range(0, len(logits), TOKENS_AT_ONCE):
        log_p = torch.log_softmax(logits[start : start + TOKENS_AT_ONCE].float(), dim=-1)
        own = log_p.gather(1, tokens[start : start + TOKENS_AT_ONCE, None])
        p = log_p.exp()
        entropy = -(p * log_p.clamp(min=-1e30)).sum(1) / torch.log(torch.tensor(float(logits.shape[1])))
        parts.append((-own[:, 0], (log_p > own).sum(1).float() + 1, p.amax(1), entropy.clamp(0, 1)))
    return TokenStatistics(*(torch.cat(column) for column in zip(*parts, strict=True)))
