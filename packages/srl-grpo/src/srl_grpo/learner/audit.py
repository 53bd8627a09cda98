"""Whether the gradient that an optimizer step takes is that of plain torch, tensor by tensor.

Micro-batches that an offloaded optimizer lost, and shares of a batch that were weighted wrongly,
made the baselines of much of the field wrong (arXiv 2604.23747), and no loss curve shows it. Here
one batch goes through the updater and the engine in every arrangement: ZeRO stages, offload,
numbers of micro-batches, padded and packed rows, over the processes that there are. Two readings
are compared with the oracle: what DeepSpeed has accumulated, and what its optimizer has then taken.
Left out: who shows it, and the user's own model.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from typing import cast

import torch
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from srl_grpo.config.sections import EngineSection, OptimizerSection
from srl_grpo.learner.batch import Sample
from srl_grpo.learner.distributed import World
from srl_grpo.learner.engine import TrainingEngine
from srl_grpo.learner.policy import Policy
from srl_grpo.learner.updater import UpdateOptions, Updater
from srl_grpo.objective.likelihood import ResponseLoss

Gradients = dict[str, Tensor]
"""By the name of the parameter; float64, on the CPU."""

LIMITS = {torch.float32: 1e-6, torch.float64: 1e-12}
"""Greatest relative distance of a tensor. In bfloat16 there is none: a healthy engine lies at some
0.01, which is the rounding of activations."""

PAIRS = (
    ((5, 6, 7, 11, 12), (8, 9, 30, 31, 32, 33, 0)),
    ((14,), (0,)),
    ((15, 3, 2, 9), (16, 17, 18, 19, 0)),
    ((4, 4), (11, 0)),
    ((9, 2, 6), (3, 21, 0)),
    ((9,), (13, 25, 2, 0)),
    ((8, 8, 20), (1, 0)),
)
"""Prompts and responses of unlike lengths, an odd number of them: a mean of means shows."""


@dataclass(frozen=True)
class Arrangement:
    """One way to take the same optimizer step."""

    zero_stage: int = 0
    offload: bool = False
    micro_batches: int = 1
    packing: bool = False

    def __str__(self) -> str:
        parts = [f"ZeRO-{self.zero_stage}", "offload" if self.offload else ""]
        parts += [f"{self.micro_batches} micro-batches", "packed" if self.packing else "padded"]
        return ", ".join(part for part in parts if part)


ARRANGEMENTS = tuple(
    Arrangement(stage, offload, count, packing)
    for stage, offload, count, packing in product(range(4), (False, True), (1, 2, 4), (False, True))
    if stage or not offload
)
"""All that a config can ask for."""


@dataclass(frozen=True)
class Reading:
    """How far one arrangement lies from the oracle."""

    arrangement: Arrangement
    accumulated: float
    """Greatest distance of a parameter's gradient before the step: norm of the difference over
    the oracle's norm."""
    taken: float
    """The same of the gradient that the optimizer has taken, by its first moment after one step."""
    parameter: str
    """The parameter that lies furthest away."""

    def holds(self, limit: float) -> bool:
        """Whether both lie within the limit; a NaN does not."""
        return self.accumulated <= limit and self.taken <= limit


def small_model() -> PreTrainedModel:
    """A seeded Llama of ten thousand parameters, tied embeddings and grouped heads, in float32.

    It has no biases of keys, as Qwen2 has: their gradients nearly cancel, and float32 alone leaves
    1e-6 of them.
    """
    config = AutoConfig.for_model(
        "llama",
        vocab_size=41,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        initializer_range=0.05,
        tie_word_embeddings=True,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return cast("PreTrainedModel", AutoModelForCausalLM.from_config(config).eval())


def audit_gradients(
    world: World,
    dtype: torch.dtype = torch.float32,
    arrangements: Sequence[Arrangement] = ARRANGEMENTS,
    make_model: Callable[[], PreTrainedModel] = small_model,
    pairs: Sequence[tuple[Sequence[int], Sequence[int]]] = PAIRS,
) -> list[Reading]:
    """A reading of each arrangement, the same on every rank. Collective; takes some 0.2 s each.

    In float64 DeepSpeed's own code runs as it is, with every float32 that it asks for made a
    float64 (`widened`): it has no such type itself, and holds all sums of gradients in float32.

    Args:
        world: the processes of the run.
        dtype: of the parameters. `LIMITS` says what a healthy engine stays within.
        arrangements: those to look at.
        make_model: makes the same model each time, without noise in training mode.
        pairs: prompts and responses, in token ids.
    """
    with widened():
        oracle = plain_gradients(cast_to(make_model(), dtype).double(), pairs)
    readings = []
    for arrangement in arrangements:
        with widened(dtype == torch.float64):
            model = cast_to(make_model(), dtype)
            torch.nn.Module.to(model, device=world.device)
            found, taken = engine_gradients(model, pairs, arrangement, world)
        distances = {name: distance(found[name], whole) for name, whole in oracle.items()}
        steps = {name: distance(taken[name], whole) for name, whole in oracle.items()}
        worst = max(oracle, key=lambda name: max(distances[name], steps[name]))
        readings.append(Reading(arrangement, max(distances.values()), max(steps.values()), worst))
    return readings


def cast_to(model: PreTrainedModel, dtype: torch.dtype) -> PreTrainedModel:
    """`model` with its parameters in another type."""
    for parameter in model.parameters():
        parameter.data = parameter.data.to(dtype)
    return model


def distance(found: Tensor, oracle: Tensor) -> float:
    """Norm of the difference over the norm of the oracle."""
    return float((found - oracle).norm() / oracle.norm())


def plain_gradients(
    model: PreTrainedModel, pairs: Sequence[tuple[Sequence[int], Sequence[int]]]
) -> Gradients:
    """The oracle: cross-entropy with masked labels, one row at a time, none of our code."""
    count = sum(len(response) for _, response in pairs)
    for prompt, response in pairs:
        ids_1T = torch.tensor([[*prompt, *response]])
        labels_T = torch.tensor([*[-100] * len(prompt), *response])
        logits_1TV = model(input_ids=ids_1T, use_cache=False).logits
        loss = torch.nn.functional.cross_entropy(logits_1TV[0, :-1], labels_T[1:], reduction="sum")
        (loss / count).backward()
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


def engine_gradients(
    model: PreTrainedModel,
    pairs: Sequence[tuple[Sequence[int], Sequence[int]]],
    arrangement: Arrangement,
    world: World,
) -> tuple[Gradients, Gradients]:
    """What the engine accumulates of the batch, and what its optimizer takes of it. Collective."""
    # Small parameters stay whole under ZeRO-3 otherwise, and would prove nothing.
    sharded = {"stage3_param_persistence_threshold": 0} if arrangement.zero_stage == 3 else {}
    section = EngineSection(
        zero_stage=arrangement.zero_stage,
        offload_optimizer=arrangement.offload,
        deepspeed={"zero_optimization": sharded},
    )
    optimizer = OptimizerSection(max_grad_norm=1e9)  # never clipped
    engine = TrainingEngine(Policy(model), section, optimizer, world)
    options = UpdateOptions(
        batch_size=len(pairs),
        micro_batches=arrangement.micro_batches,
        packing=arrangement.packing,
    )
    samples = [Sample(tuple(prompt), tuple(response)) for prompt, response in pairs]
    Updater(engine, ResponseLoss(), options, pad_id=0).accumulate(samples)
    accumulated = engine.gradients()
    engine.step(0.0)
    share = 1 - optimizer.betas[0]
    taken = {name: moment / share for name, moment in engine.first_moments().items()}
    return as_oracle(accumulated), as_oracle(taken)


def as_oracle(gradients: Gradients) -> Gradients:
    """Copies in float64 on the CPU."""
    return {name: gradient.to("cpu", torch.float64) for name, gradient in gradients.items()}


ASKED: tuple[tuple[object, str, object], ...] = (
    (torch, "float32", torch.float64),
    (torch, "float", torch.float64),
    (torch.Tensor, "float", torch.Tensor.double),
)
"""How code asks torch for float32: whose attribute, its name, and what float64 has there."""


@contextmanager
def widened(on: bool = True) -> Iterator[None]:
    """Meanwhile, whoever asks torch for float32 is given float64, in this process."""
    if not on:
        yield
        return
    kept = [getattr(owner, name) for owner, name, _ in ASKED]
    for owner, name, other in ASKED:
        setattr(owner, name, other)
    try:
        yield
    finally:
        for (owner, name, _), value in zip(ASKED, kept, strict=True):
            setattr(owner, name, value)
