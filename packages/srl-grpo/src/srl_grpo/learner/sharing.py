"""Whether a model computes a tree of texts as it computes each of them, when a run begins.

Named by its config where that says so (sliding windows, layers with a state), and found by
comparing passes where it does not: what an attention makes of a tree is the model's code.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor

from srl_data.command.errors import ConfigError
from srl_eval.generate.architectures import reason, vocabulary_size, window
from srl_eval.generate.attention_kernels import PLAIN as OBVIOUS
from srl_eval.generate.attention_kernels import kernel_for
from srl_eval.generate.attention_switch import PLAIN
from srl_grpo.learner.attention import FULL, SLIDING, implementation, windows_of
from srl_grpo.learner.batch import Sample, to_tensors
from srl_grpo.learner.distributed import World
from srl_grpo.learner.packing_check import HALF_TOLERANCE
from srl_grpo.learner.policy import HEAD_TOLERANCE, Policy
from srl_grpo.learner.prompt_groups import Sharing, Work
from srl_grpo.learner.tree_attention import SMALL, tree_attention_on

Choice = Literal["auto", "always", "never"]
Note = Callable[[str], None]

COMFORTABLE = 2048
"""Tokens of a pass on a CPU beyond which more of them gain nothing."""
NARROW, WORTH = 128, 0.2
"""The width up to which calls of the attention on a CPU take longer than matrix products, and the
share of its tokens that a tree then has to save: padded rows make fewer calls."""
TEXTS = ((0, 60, 0, 40), (0, 60, 30, 12), (0, 60, 10, 1), (1, 30, 2, 8), (1, 30, 0, 0))
"""The texts that are compared: which prompt, its tokens, where the completion parts from that of
the first, its tokens."""


def sharing_of(policy: Policy, choice: Choice, world: World, note: Note) -> Sharing | None:
    """How a policy's samples share their prompts; None where each is computed on its own.

    A model that cannot is named in a note, or with `always` in a ConfigError. Before the engine
    takes the policy. Collective.
    """
    if choice == "never":
        return None
    on_cpu = world.device.type == "cpu"
    if choice == "auto" and not on_cpu:
        return None
    obstacle = next((found for found in world.gather(obstacle_of(policy)) if found), None)
    if obstacle is None:
        sharing = sharing_for(policy, COMFORTABLE if on_cpu else None, note)
        return replace(sharing, worth=0.0) if choice == "always" else sharing
    if choice == "always":
        raise ConfigError(
            f"engine.shared_prompts is 'always', but {obstacle}; give --shared-prompts auto, which "
            "leaves it out where it cannot be"
        )
    note(f"{obstacle}: each completion is computed together with its prompt")
    return None


def sharing_for(policy: Policy, comfortable: int | None, note: Note) -> Sharing:
    """The options of a model that can; texts longer than its sliding window stay out of trees."""
    config = policy.model.config.get_text_config(decoder=True)
    sliding = [found for found in windows_of(policy.model.config).values() if found is not None]
    if sliding:
        note(
            f"layers with a sliding window of {min(sliding)} tokens: a batch with a longer text "
            "computes each completion together with its prompt"
        )
    hidden = getattr(config, "hidden_size", None)
    layers = getattr(config, "num_hidden_layers", None)
    work = Work()  # of a config with names of its own: matrix products alone
    if isinstance(hidden, int) and isinstance(layers, int):
        work = Work.of_model(hidden, layers, vocabulary_size(policy.model.config))
    narrow = isinstance(hidden, int) and hidden <= NARROW
    worth = WORTH if narrow and comfortable is not None else 0.0
    return Sharing(comfortable, min(sliding, default=None), work, worth)


def obstacle_of(policy: Policy) -> str | None:
    """Why a policy cannot compute trees; None where it can."""
    model = policy.model
    name = type(model).__name__
    if getattr(model, "_is_stateful", False):
        return f"{name} carries a state from token to token"
    if implementation(model) != PLAIN:
        return f"{name} runs the attention {implementation(model)!r}, not {PLAIN!r}"
    others = sorted(set(windows_of(model.config)) - {FULL, SLIDING})
    if others:
        return f"{name} has layers of {', '.join(others)}"
    try:
        with tree_attention_on(model):
            far = kernel_difference(policy) or scoring_difference(policy)
    except Exception as error:  # noqa: BLE001 - whatever the code of a model does with what it does not know
        return f"{name} takes no tree of prompts ({reason(error)})"
    return None if far is None else f"{name} computes a tree of prompts otherwise ({far})"


def limit_for(policy: Policy) -> float:
    """Greatest difference, relative to the largest value plus 1."""
    half = next(policy.parameters()).dtype.itemsize < 4
    return HALF_TOLERANCE if half else HEAD_TOLERANCE


@torch.no_grad()
def scoring_difference(policy: Policy) -> str | None:
    """How far log-probabilities in a tree are from those of padded rows, if it is too far."""
    samples = examples_of(policy)
    rows, device = range(len(samples)), next(policy.parameters()).device
    alone, _ = policy(to_tensors(samples, rows, 0, device))
    tree, _ = policy(to_tensors(samples, rows, 0, device, sharing=True))
    worst = float((tree - alone).abs().max())
    if worst <= limit_for(policy) * (1 + float(alone.abs().max())):
        return None
    if math.isnan(worst):
        return "its layers do not hand the tree to their attention"
    return f"log-probabilities differ by {worst:.3g}"


def examples_of(policy: Policy) -> list[Sample]:
    """Samples of `TEXTS`, shortened to what the model takes."""
    config = policy.model.config
    vocabulary, longest = vocabulary_size(config), max(sum(text[1::2]) for text in TEXTS)
    limits = [window(config), *windows_of(config).values()]
    share = min(1.0, *(limit / longest for limit in limits if limit is not None), 1.0)

    def ids(seed: int, count: int) -> Iterator[int]:
        return ((7 * seed + 3 * place + place * place // 5) % vocabulary for place in range(count))

    found = []
    for number, (prompt, tokens, parting, length) in enumerate(TEXTS):
        first = [*ids(11 + prompt, length)][:parting]
        completion = [*first, *ids(23 + number, length)][: int(share * length)]
        kept = max(1, int(share * tokens))
        found.append(Sample(tuple(ids(prompt, kept)), tuple(completion), group=prompt))
    return found


def kernel_difference(policy: Policy) -> str | None:
    """How far the device's attention is from the obvious one, backward too, if it is too far."""
    config = policy.model.config.get_text_config(decoder=True)
    heads = int(config.num_attention_heads)
    width = getattr(config, "head_dim", None) or int(config.hidden_size) // heads
    parameter = next(policy.parameters())
    generator = torch.Generator().manual_seed(0)

    def drawn(count: int) -> Tensor:
        values = torch.randn(1, 2, count, width, generator=generator)
        return values.to(parameter.device, parameter.dtype)

    query, key, value, grad = (drawn(SMALL) for _ in range(4))
    worst = 0.0
    for causal in (True, False):
        rest = causal, None, width**-0.5
        out, lse = OBVIOUS.forward(query, key, value, *rest)
        right = out, lse, *OBVIOUS.backward(grad, query, key, value, out, lse, *rest)
        kernel = kernel_for(query)
        found = kernel.forward(query, key, value, *rest)
        all_found = *found, *kernel.backward(grad, query, key, value, *found, *rest)
        pairs = zip(right, all_found, strict=True)
        worst = max(worst, *(float((x.float() - y.float()).abs().max()) for x, y in pairs))
    return None if worst <= limit_for(policy) else f"its attention is off by {worst:.3g}"
