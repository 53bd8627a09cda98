"""A few supervised steps that teach a fresh model the output format, before training proper.

Plain cross-entropy on responses, on one process's worth of data that every rank repeats alike;
for models made on the spot, before DeepSpeed takes them over. Left out: supervised fine-tuning as
a training method of its own.
"""

from collections.abc import Callable, Iterator
from itertools import islice

import torch
from transformers import PreTrainedTokenizerBase

from srl_data.arithmetic import Difficulty, sloppy_stream
from srl_data.prompt_format import PromptFormat
from srl_grpo.config.train import WarmStartSection
from srl_grpo.learner.batch import MicroBatch
from srl_grpo.learner.policy import Policy

Progress = Callable[[int, float], None]
"""Told the steps done and the loss of the last one."""

Pair = tuple[list[int], list[int]]
"""Prompt ids and response ids, the end token included."""


def pairs(
    stream_seed: int,
    difficulty: Difficulty,
    options: WarmStartSection,
    prompts: PromptFormat,
    tokenizer: PreTrainedTokenizerBase,
) -> Iterator[Pair]:
    """The sloppy stream, rendered and encoded."""
    stream = sloppy_stream(
        stream_seed, difficulty, carry_error=options.forget_carry, digit_error=options.wrong_digit
    )
    end = tokenizer.eos_token_id
    for instance, response in stream:
        prompt = prompts.prompt(**instance.model_dump())
        yield list(prompt.ids), [*tokenizer.encode(response, add_special_tokens=False), end]


def warm_start(
    policy: Policy,
    stream: Iterator[Pair],
    options: WarmStartSection,
    pad_id: int,
    progress: Progress = lambda _step, _loss: None,
) -> float:
    """Train `policy` on `options.steps` batches of `stream`; returns the last loss, nats per token.

    The learning rate falls linearly to 0. Every rank makes the same updates.
    """
    optimizer = torch.optim.AdamW(
        policy.parameters(), lr=options.learning_rate, weight_decay=0.0, fused=True
    )
    device = next(policy.parameters()).device
    value = float("nan")
    for step in range(options.steps):
        for group in optimizer.param_groups:
            group["lr"] = options.learning_rate * (1 - step / options.steps)
        rows = list(islice(stream, options.batch_size))
        logprobs_N, _ = policy(MicroBatch.of_rows(rows, pad_id, device))
        loss = -logprobs_N.mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(policy.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        value = loss.item()
        progress(step + 1, value)
    return value
