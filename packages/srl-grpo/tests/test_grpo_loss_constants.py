"""What each loss takes where a config says nothing, and that a config names what there is."""

from typing import get_args

import pytest

from srl_grpo.config import losses
from srl_grpo.config.algorithm import AlgorithmSection
from srl_grpo.config.losses import PUBLISHED
from srl_grpo.objective import advantage, importance, kl
from srl_grpo.objective.loss import KINDS
from srl_grpo.stages.rl_setup import loss_of

CONSTANTS = {
    "dapo": (0.2, 0.28),
    **dict.fromkeys(("grpo", "bnpo", "dr_grpo", "grpo_clip"), (0.2, 0.2)),
    "gspo": (3e-4, 4e-4),
    "luspo": (2e-3, 2.5e-3),
    "cispo": (1.0, 4.0),  # no lower bound, and 5 above
    "sapo": (1.0, 1.05),
    "vespo": (2.0, 3.0, 3.0, 2.0),
    "reinforce_with_baseline": (),
    "no_baseline": (),
}
"""Clip ranges, temperatures of positive and other advantages, k and lambda of either sign."""


def test_every_loss_has_what_it_computes_and_its_constants() -> None:
    assert set(CONSTANTS) == set(KINDS) == set(PUBLISHED) == set(get_args(losses.LossName))


def test_a_config_knows_the_words_of_the_objective() -> None:
    assert get_args(losses.Scale) == get_args(advantage.Scale)
    assert get_args(losses.Correction) == get_args(importance.Correction)
    assert get_args(losses.Estimator) == get_args(kl.Estimator) == tuple(kl.ESTIMATORS)


@pytest.mark.parametrize("name", CONSTANTS)
def test_the_constants_are_the_published_ones(name: str) -> None:
    assert tuple(AlgorithmSection(loss=name).constants.values()) == CONSTANTS[name]
    assert AlgorithmSection(loss=name).scales_by == ("none" if name == "dr_grpo" else "group")


@pytest.mark.parametrize("name", CONSTANTS)
def test_the_config_gives_a_loss_its_own_constants(name: str) -> None:
    options, own = loss_of(AlgorithmSection(loss=name)).options, PUBLISHED[name].constants
    assert {key: getattr(options, key) for key in own} == own
    for key in own:
        value = 5.7 if key == "clip_delta" else 0.7
        given = AlgorithmSection.model_validate({"loss": name, key: value})
        assert getattr(loss_of(given).options, key) == value
