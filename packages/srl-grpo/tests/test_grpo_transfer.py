"""What is sent to a vLLM in other processes, and how the ranks that it serves share its answers."""

from dataclasses import dataclass

import pytest
import torch
from transformers import Qwen3MoeConfig, Qwen3MoeForCausalLM

from srl_eval.generate import Completion, Sampling, TransformersEngine
from srl_grpo.config.sections import EngineSection, OptimizerSection
from srl_grpo.learner.engine import TrainingEngine
from srl_grpo.learner.policy import Policy
from srl_grpo.rollout.engines import AllRanks
from srl_grpo.rollout.parity import Parity
from srl_grpo.rollout.placement import Placement
from srl_grpo.rollout.transfer import BUFFER, FollowerEngine, PolicySource


def training_of(model, world, stage: int = 0) -> TrainingEngine:
    options = {"zero_optimization": {"stage3_param_persistence_threshold": 0}} if stage else {}
    section = EngineSection(zero_stage=stage, deepspeed=options)
    return TrainingEngine(Policy(model), section, OptimizerSection(), world)


def experts():
    sizes = {"vocab_size": 64, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 2}
    moe = {"moe_intermediate_size": 16, "num_experts_per_tok": 2, "num_experts": 4}
    return Qwen3MoeForCausalLM(Qwen3MoeConfig(**sizes, **heads, **moe))


@pytest.mark.parametrize("stage", [0, 3])
@pytest.mark.parametrize("kind", ["dense", "experts", "bfloat16"])
def test_what_is_told_of_tensors_is_what_comes(tiny_model, world, kind: str, stage: int) -> None:
    """NCCL's receiver takes memory and cuts buffers by it: a difference would hang or be noise."""
    model = experts() if kind == "experts" else tiny_model(0)
    if kind == "bfloat16":
        model = model.to(torch.bfloat16)
    source = PolicySource(training_of(model, world, stage))
    for _ in range(2):  # again at every sync
        told = [(each.name, each.dtype, each.shape) for each in source.metadata()]
        assert told == [(name, each.dtype, tuple(each.shape)) for name, each in source]
    names = [name for name, _, _ in told]
    assert len(set(names)) == len(names)
    if kind == "experts":
        assert "model.layers.0.mlp.experts.3.down_proj.weight" in names


def test_values_are_those_of_now(tiny_model, world) -> None:
    model = tiny_model(0)
    source = PolicySource(training_of(model, world))
    with torch.no_grad():
        model.get_input_embeddings().weight.fill_(2.0)
    assert torch.all(dict(source)["model.embed_tokens.weight"] == 2.0)


def test_a_buffer_holds_the_largest_tensor(tiny_model, world, monkeypatch) -> None:
    source = PolicySource(training_of(tiny_model(0), world))
    assert source.buffer == BUFFER
    monkeypatch.setattr("srl_grpo.rollout.transfer.BUFFER", 16)
    assert source.buffer == max(value.nbytes for _, value in source)


@dataclass
class Two:
    """Two ranks that one engine serves, as each sees the other."""

    rank: int
    theirs: object = None
    size: int = 2

    def gather(self, value):
        return [value, self.theirs] if self.rank == 0 else [self.theirs, value]


def row(token: int) -> Completion:
    return Completion((token,), (0.0,), "length", 0)


class Echo:
    """Completes a prompt by its first token."""

    chunk_size = 2

    def generate(self, prompts, _sampling, _seeds):
        return [row(prompt[0]) for prompt in prompts]


def test_ranks_that_do_not_lead_ask_nothing_and_get_all() -> None:
    rows, sampling = [[number] for number in range(5)], Sampling(1)
    starts = {start: [row(n) for n in range(start, min(start + 2, 5))] for start in (0, 2, 4)}
    leader = AllRanks(Echo(), Two(0, ({}, None)), 2, leads=True)
    follower = AllRanks(FollowerEngine(2), Two(1, (starts, None)), 2, leads=False)
    for ranks in (leader, follower):
        found = ranks.generate(rows, sampling, range(5))
        assert [each.token_ids for each in found] == [(n,) for n in range(5)]
    with pytest.raises(AssertionError, match="another rank asks"):
        FollowerEngine(2).generate(rows, sampling, range(5))


def test_a_sync_is_checked_on_every_rank_by_what_the_leading_one_was_answered(
    tiny_model, world
) -> None:
    training = training_of(tiny_model(0), world)
    engine = TransformersEngine(training.policy.model, pad_token_id=1)
    told = Parity(training, 64).answer(engine, [3, 10, 17], 4)
    assert len(told.token_ids) == 4
    for rank, sampler in ((0, engine), (1, FollowerEngine(4))):
        training.world = Two(rank, [] if rank == 0 else [told])
        parity = Parity(training, 64, placement=Placement("nccl", 2, leads=rank == 0))
        assert parity.answer(sampler, [3, 10, 17], 4) == told
