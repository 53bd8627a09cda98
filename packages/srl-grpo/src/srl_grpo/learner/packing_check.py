"""Whether a model gives packed rows what it gives single ones; looked at once, when a run begins.

What an attention makes of a mask is the model's code. One that keeps it from a layer, or adds what
should be left out, would train on examples that see one another, and nothing else would tell.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from transformers import PreTrainedConfig, PreTrainedModel

from srl_data.command.errors import DataError
from srl_eval.generate.architectures import reason, vocabulary_size
from srl_grpo.learner.attention import implementation
from srl_grpo.learner.batch import Sample, to_tensors
from srl_grpo.learner.policy import HEAD_TOLERANCE, Policy, check_head

LENGTHS = ((6, 4), (3, 2), (2, 3))
"""Tokens of prompt and completion of the examples that are compared; the last one shares a row."""
WINDOW = 4
"""Tokens that sliding layers see meanwhile, so that short examples reach beyond."""
HALF_TOLERANCE, HALF_LEAK = 0.1, 0.05
"""Greatest differences in bfloat16, where `HEAD_TOLERANCE` holds for other types: from single rows,
relative to the largest value plus 1, and between two packed rows, in nats."""


def check_scoring(policy: Policy, packing: bool) -> None:
    """DataError where the policy would be trained on other log-probabilities than its model's.

    Only for a run's first start, as `check_head`.
    """
    check_head(policy)
    if packing:
        check_packing(policy)


@torch.no_grad()
def check_packing(policy: Policy) -> None:
    """DataError naming the model whose packed rows differ from its single ones.

    The examples are compared with themselves alone, and with themselves beside others: in half
    precision rounding hides a little that another example adds, but not that it adds anything.
    """
    model = policy.model
    with sliding_window(model, WINDOW):
        examples = examples_of(vocabulary_size(model.config), shift=0)
        others = [*examples_of(vocabulary_size(model.config), shift=1)[:-1], examples[-1]]
        alone = torch.cat([logprobs(policy, [example], packing=False) for example in examples])
        packed, beside = (logprobs(policy, rows, packing=True) for rows in (examples, others))
    half = next(policy.parameters()).dtype.itemsize < 4
    limit, leak_limit = (HALF_TOLERANCE, HALF_LEAK) if half else (HEAD_TOLERANCE, HEAD_TOLERANCE)
    worst = float((packed - alone).abs().max())
    leak = float((packed - beside)[-LENGTHS[-1][1] :].abs().max())
    if not (worst <= limit * (1 + float(alone.abs().max())) and leak <= leak_limit):
        raise refusal(model, f"log-probabilities differ by {max(worst, leak):.3g}")


def examples_of(vocabulary: int, shift: int) -> list[Sample]:
    """Examples of `LENGTHS` whose ids depend on `shift`."""
    found = []
    for number, (prompt, completion) in enumerate(LENGTHS):
        ids = [(7 * number + 3 * place + 5 * shift) % vocabulary for place in range(10)]
        found.append(Sample(tuple(ids[:prompt]), tuple(ids[prompt : prompt + completion])))
    return found


def logprobs(policy: Policy, samples: list[Sample], *, packing: bool) -> torch.Tensor:
    """Log-probabilities of the samples' tokens in the samples' order; DataError where it fails."""
    device = next(policy.parameters()).device
    batch = to_tensors(samples, range(len(samples)), 0, device, packing)
    try:
        values_N, _ = policy(batch)
    except Exception as error:  # whatever the code of a model does with a mask it does not know
        raise refusal(policy.model, reason(error)) from error
    parts = dict(zip(batch.rows, values_N.split(list(batch.lengths)), strict=True))
    return torch.cat([parts[row] for row in range(len(samples))])


def refusal(model: PreTrainedModel, fault: str) -> DataError:
    """What is said of a model that cannot be packed."""
    name = implementation(model)
    eager = "" if name == "eager" else ", or try --attention eager"
    return DataError(
        f"{type(model).__name__} under the attention {name!r} does not keep packed examples apart "
        f"({fault}); leave --packing out{eager}"
    )


@contextmanager
def sliding_window(model: PreTrainedModel, window: int) -> Iterator[None]:
    """Meanwhile, what sliding layers' masks read as their window is `window`."""
    configs = [getattr(module, "config", None) for module in model.modules()]
    texts = [c.get_text_config(decoder=True) for c in configs if isinstance(c, PreTrainedConfig)]
    kept = {
        id(text): (text, text.sliding_window)
        for text in texts
        if getattr(text, "sliding_window", None)
    }
    try:
        for text, _ in kept.values():
            text.sliding_window = window
        yield
    finally:
        for text, before in kept.values():
            text.sliding_window = before
