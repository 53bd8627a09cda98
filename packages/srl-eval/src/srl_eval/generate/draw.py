"""From logits and a uniform to a token: temperature, filters, inverse of the cumulative sum.

Pure functions of tensors. The draw is `smallest token whose cumulative probability exceeds u`, with
the sum in float64, so it is exact enough for a vocabulary of 150 thousand and needs no generator
state.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from srl_eval.generate.sampling import Sampling


class Draw(NamedTuple):
    """One token of each row."""

    token_B: Tensor
    logprob_B: Tensor
    filtered: tuple[Tensor, Tensor] | None = None
    """What `filter_sorted` gave, where a filter is on."""


def draw_token(
    logits_BV: Tensor, sampling: Sampling, uniform_B: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Token ids (B, int64) and their log-probabilities (B, float32); see `draw`."""
    drawn = draw(logits_BV, sampling, uniform_B)
    return drawn.token_B, drawn.logprob_B


def draw(logits_BV: Tensor, sampling: Sampling, uniform_B: Tensor | None) -> Draw:
    """Token ids (B, int64), their log-probabilities (B, float32) and what they were drawn from.

    `uniform_B` is float64 in [0, 1); unused for greedy decoding. See `Sampling` for the order of
    the filters and `Completion` for which distribution the log-probabilities belong to.
    """
    logits_BV = logits_BV.float()
    if sampling.greedy:
        token_B = logits_BV.argmax(-1)
        return Draw(token_B, _logprob(logits_BV, token_B))
    assert uniform_B is not None
    if sampling.temperature != 1.0:
        logits_BV = logits_BV / sampling.temperature
    if not sampling.filtered:
        token_B = _draw(logits_BV.softmax(-1), uniform_B)
        return Draw(token_B, _logprob(logits_BV, token_B))
    kept_BV, order_BV = filter_sorted(logits_BV, sampling)
    rank_B = _draw(kept_BV.softmax(-1), uniform_B)
    token_B = order_BV.gather(-1, rank_B[:, None])[:, 0]
    return Draw(token_B, _logprob(kept_BV, rank_B), (kept_BV, order_BV))


def filter_sorted(scaled_BV: Tensor, sampling: Sampling) -> tuple[Tensor, Tensor]:
    """Logits in falling order with filtered ones at -inf, and the token id of each rank.

    Equal logits stand in the order of their ids, so top-k keeps exactly k. Top-p keeps the smallest
    leading set whose probability, renormalised after top-k, reaches p; min-p keeps what is at least
    `min_p` times as likely as the first. The first rank always stays.
    """
    sorted_BV, order_BV = scaled_BV.sort(dim=-1, descending=True, stable=True)
    if sampling.top_k > 0:
        sorted_BV[:, sampling.top_k :] = -torch.inf
    if sampling.top_p < 1.0:
        probs_BV = sorted_BV.softmax(-1, dtype=torch.float64)
        before_BV = probs_BV.cumsum(-1) - probs_BV
        sorted_BV = sorted_BV.masked_fill(_not_first(before_BV >= sampling.top_p), -torch.inf)
    if sampling.min_p > 0.0:
        ratio_BV = (sorted_BV - sorted_BV[:, :1]).double().exp()
        sorted_BV = sorted_BV.masked_fill(_not_first(ratio_BV < sampling.min_p), -torch.inf)
    return sorted_BV, order_BV


def _not_first(drop_BV: Tensor) -> Tensor:
    drop_BV[:, 0] = False
    return drop_BV


def _draw(probs_BV: Tensor, uniform_B: Tensor) -> Tensor:
    cdf_BV = probs_BV.cumsum(-1, dtype=torch.float64)
    target_B1 = uniform_B[:, None] * cdf_BV[:, -1:]
    # u * total < total (see `uniforms`), so the index is in range unless the model gave NaN; that
    # is reported by the engine, and here must only not index out of bounds.
    token_B1 = torch.searchsorted(cdf_BV, target_B1, right=True)
    return token_B1[:, 0].clamp_(max=probs_BV.shape[-1] - 1)


def _logprob(logits_BV: Tensor, token_B: Tensor) -> Tensor:
    chosen_B = logits_BV.gather(-1, token_B[:, None])[:, 0]
    return chosen_B - logits_BV.logsumexp(-1)
