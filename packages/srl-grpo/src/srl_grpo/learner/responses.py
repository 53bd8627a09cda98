"""Prompts with given responses as padded rows, and a model's log-probabilities over whole rows.

For models and texts at hand, as Stanford's CS336 calls it; the trainer scores completion tokens
alone, without whole logits (`srl_grpo.learner.policy`).

Source: CS336, assignment 5 (2025), section 4.2.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from srl_grpo.objective.logprobs import compute_entropy, wide


def tokenize_prompt_and_output(
    prompt_strs: Sequence[str], output_strs: Sequence[str], tokenizer: PreTrainedTokenizerBase
) -> dict[str, Tensor]:
    """Rows of a prompt and its output, tokenised apart, padded on the right, shifted by one.

    No special tokens are added: what the texts say is what is trained on. Padding is the
    tokenizer's padding token, or its end token where it has none.

    Returns:
        `input_ids` and `labels` (the same rows without their last and their first token) and
        `response_mask`, true where the label is a token of the output; each of shape `batch x
        (longest - 1)`.
    """
    pairs = [
        [tokenizer.encode(text, add_special_tokens=False) for text in pair]
        for pair in zip(prompt_strs, output_strs, strict=True)
    ]
    longest = max((len(prompt) + len(output) for prompt, output in pairs), default=1)
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
    ids = torch.full((len(pairs), longest), 0 if pad is None else pad, dtype=torch.long)
    mask = torch.zeros_like(ids, dtype=torch.bool)
    for row, (prompt, output) in enumerate(pairs):
        end = len(prompt) + len(output)
        ids[row, :end] = torch.tensor([*prompt, *output], dtype=torch.long)
        mask[row, len(prompt) : end] = True
    return {"input_ids": ids[:, :-1], "labels": ids[:, 1:], "response_mask": mask[:, 1:]}


def get_response_log_probs(
    model: nn.Module, input_ids: Tensor, labels: Tensor, return_token_entropy: bool = False
) -> dict[str, Tensor]:
    """The model's log-probability of each label, in nats; shapes `batch x sequence`.

    No position is left out: prompt and padding are for the caller's mask. Logits are whole, in
    float32 or longer.

    Returns:
        `log_probs` and, if asked for, `token_entropy`, which takes no gradient.
    """
    logits = wide(model(input_ids).logits)
    chosen = logits.gather(-1, labels[..., None])[..., 0]
    found = {"log_probs": chosen - logits.logsumexp(-1)}
    if return_token_entropy:
        found["token_entropy"] = compute_entropy(logits.detach())
    return found
