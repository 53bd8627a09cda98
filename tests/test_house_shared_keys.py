"""What several commands ask is one key: the same choices and the same words in every help."""

import pytest

from srl_data.build import BuildConfig
from srl_data.command.config import Section, leaves
from srl_data.grade_config import GradeConfig
from srl_data.inspection import InspectConfig
from srl_eval.config import EvalConfig
from srl_grpo.config.train import TrainConfig

SHARED: dict[str, tuple[type[Section], ...]] = {
    "on-error": (BuildConfig, GradeConfig, InspectConfig, TrainConfig),
    "revision": (EvalConfig, TrainConfig),
    "chat-template": (EvalConfig, InspectConfig, TrainConfig),
    "chat-template-kwargs": (EvalConfig, InspectConfig, TrainConfig),
}


@pytest.mark.parametrize("flag", SHARED)
def test_a_key_of_several_commands_is_said_once(flag: str) -> None:
    found = [leaf for config in SHARED[flag] for leaf in leaves(config) if leaf.flag == flag]
    assert len(found) == len(SHARED[flag])
    asked = {(str(leaf.annotation), leaf.field.default, leaf.field.description) for leaf in found}
    assert len(asked) == 1
    assert found[0].field.description
