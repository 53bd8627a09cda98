"""The loss of supervised training, against cross-entropy in float64 with masked labels."""

import pytest
import torch
from torch.nn.functional import cross_entropy

from srl_grpo.config.sections import EngineSection, OptimizerSection
from srl_grpo.learner.batch import Sample
from srl_grpo.learner.engine import TrainingEngine
from srl_grpo.learner.policy import Policy
from srl_grpo.learner.updater import UpdateOptions, Updater
from srl_grpo.objective.likelihood import ResponseLoss

PAIRS = [
    ((5, 6, 7), (8, 9, 0)),
    ((14,), (0,)),
    ((15, 3, 2, 9), (16, 17, 18, 19, 20, 0)),
    ((4, 4), (11, 0)),
    ((9, 2, 6), (3, 0)),
]


def masked_cross_entropy(model):
    """Mean over all response tokens of the batch, one row at a time, in float64."""
    losses = []
    for prompt, response in PAIRS:
        ids = torch.tensor([[*prompt, *response]])
        labels = ids.clone()
        labels[:, : len(prompt)] = -100
        logits = model(input_ids=ids, use_cache=False).logits
        losses.append(cross_entropy(logits[0, :-1], labels[0, 1:], reduction="sum"))
    return torch.stack(losses).sum() / sum(len(response) for _, response in PAIRS)


@pytest.mark.parametrize("options", [{}, {"token_budget": 12}, {"micro_batches": 3}])
def test_loss_and_gradient_norm_are_those_of_masked_cross_entropy(tiny_model, world, options):
    oracle = tiny_model().double()
    expected = masked_cross_entropy(oracle)
    expected.backward()
    norm = torch.nn.utils.get_total_norm([p.grad for p in oracle.parameters()])
    engine = TrainingEngine(Policy(tiny_model()), EngineSection(), OptimizerSection(), world)
    updater = Updater(engine, ResponseLoss(), UpdateOptions(batch_size=5, **options), pad_id=1)
    metrics = updater([Sample(*pair) for pair in PAIRS], 0, 0.0)
    assert metrics["loss"] == pytest.approx(expected.item(), rel=1e-6)
    assert metrics["grad_norm"] == pytest.approx(norm.item(), rel=1e-6)
