"""What a model writes to given prompts, with what each answer is worth: for a look while training.

Source: CS336, assignment 5 (2025), section 4.2.
"""

from collections.abc import Sequence

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from srl_eval.generate import Sampling, TransformersEngine, completion_text, seed_for
from srl_grpo.learner.responses import get_response_log_probs
from srl_grpo.objective.padded import RewardFunction
from srl_grpo.rollout.groups import mean


def log_generations(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[str],
    ground_truths: Sequence[str],
    reward_fn: RewardFunction,
    sampling: Sampling | None = None,
    seed: int = 0,
) -> dict[str, object]:
    """Let a model answer prompts, and say of each answer what it is worth.

    Args:
        prompts: texts as the model reads them; no special tokens are added.
        ground_truths: the right answer of each.
        reward_fn: of a response and its truth: `reward`, `format_reward`, `answer_reward`.
        sampling: default 256 tokens at temperature 1, to the tokenizer's end token.
        seed: base of the samples' seeds.

    Returns:
        `generations`, one record per prompt (`prompt`, `response`, `ground_truth`, the rewards,
        `length` in tokens, `token_entropy`, their mean entropy in nats), and over all of them
        `reward`, `format_reward`, `answer_reward`, `token_entropy`, `length`, `length_correct`
        and `length_incorrect` (by `answer_reward`; NaN where there is none).
    """
    end = tokenizer.eos_token_id
    how = sampling or Sampling(256, stop_token_ids=() if end is None else (end,))
    ids = [tokenizer.encode(prompt, add_special_tokens=False) for prompt in prompts]
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else end or 0
    engine = TransformersEngine(model, pad_token_id=pad, decoder=tokenizer)
    seeds = [seed_for(seed, "generation", number) for number in range(len(ids))]
    done = engine.generate(ids, how, seeds)
    rows: list[dict[str, object]] = []
    for prompt, truth, prompt_ids, completion in zip(
        prompts, ground_truths, ids, done, strict=True
    ):
        response = completion_text(completion, tokenizer)
        told: dict[str, object] = {"prompt": prompt, "response": response, "ground_truth": truth}
        told |= {**reward_fn(response, truth), "length": len(completion.token_ids)}
        told["token_entropy"] = mean_entropy(model, prompt_ids, completion.token_ids)
        rows.append(told)
    return {"generations": rows, **summary(rows)}


@torch.no_grad()
def mean_entropy(
    model: PreTrainedModel, prompt_ids: Sequence[int], completion_ids: Sequence[int]
) -> float:
    """The mean entropy of the model's distribution before each token of a completion, in nats."""
    device = next(model.parameters()).device
    row = torch.tensor([[*prompt_ids, *completion_ids]], device=device)
    found = get_response_log_probs(model, row[:, :-1], row[:, 1:], return_token_entropy=True)
    return float(found["token_entropy"][0, len(prompt_ids) - 1 :].mean())


def summary(rows: Sequence[dict[str, object]]) -> dict[str, float]:
    """Means over records of `log_generations`; NaN of none."""
    values = [{k: float(v) for k, v in row.items() if isinstance(v, int | float)} for row in rows]
    right = [row["length"] for row in values if row["answer_reward"] > 0]
    wrong = [row["length"] for row in values if row["answer_reward"] <= 0]
    names = ("reward", "format_reward", "answer_reward", "token_entropy", "length")
    means = {name: mean([row[name] for row in values]) for name in names}
    return means | {"length_correct": mean(right), "length_incorrect": mean(wrong)}
