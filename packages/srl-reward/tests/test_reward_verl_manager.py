"""verl's own loader and reward managers run `compute_score` as the README configures it.

Skipped where verl isn't installed: it pins versions of torch and ray for training, so it is no
dependency of this workspace. `.ci/run slow` installs what the reward managers import, and no more,
beside the environment and runs this file with it.
"""

import asyncio
import re
from pathlib import Path

import pytest

from srl_reward.verl import compute_score

pytestmark = [
    pytest.mark.slow,
    # verl's, ray's and torch's own warnings are not this package's to judge.
    pytest.mark.filterwarnings("ignore"),
]
README = Path(__file__).parents[1] / "README.md"
WHY = "verl is not installed; `.ci/run slow` runs this with it"
TEXTS = ["<think>a</think>2. x+y", "nothing of the sort..."]
DETAILS = {
    "score": [1.0, -1.0],
    "exact": [1.0, 0.0],
    "invalid": [0.0, 1.0],
    "reason": ["", "missing_think"],
}


class Bytes:
    """A tokenizer whose ids are bytes."""

    def decode(self, ids: list[int], skip_special_tokens: bool = True) -> str:
        return bytes(int(i) for i in ids).decode()


def _data():  # type: ignore[no-untyped-def]
    torch = pytest.importorskip("torch")
    numpy = pytest.importorskip("numpy")
    tensordict = pytest.importorskip("tensordict", reason=WHY)
    verl = pytest.importorskip("verl", reason=WHY)
    width = max(map(len, TEXTS))
    tensors = {
        "prompts": torch.full((2, 3), 65),
        "responses": torch.tensor([list(text.encode().ljust(width)) for text in TEXTS]),
        "attention_mask": torch.ones(2, 3 + width, dtype=torch.long),
    }
    columns = {
        "reward_model": [{"ground_truth": "2. x+y"}] * 2,
        "data_source": ["srl_s1k"] * 2,
        "extra_info": [{}, {}],
    }
    return verl.DataProto(
        batch=tensordict.TensorDict(tensors, batch_size=2),
        non_tensor_batch={
            name: numpy.array(values, dtype=object) for name, values in columns.items()
        },
    )


def test_the_naive_reward_manager_takes_score_and_details() -> None:
    data = _data()
    naive = pytest.importorskip("verl.workers.reward_manager.naive", reason=WHY)
    result = naive.NaiveRewardManager(Bytes(), 0, compute_score)(data, return_dict=True)
    assert result["reward_tensor"].sum(-1).tolist() == [1.0, -1.0]
    assert dict(result["reward_extra_info"]) == DETAILS


@pytest.mark.skipif(not README.exists(), reason="tests run away from the checkout")
def test_the_readmes_settings_lead_verls_reward_loop_to_compute_score() -> None:
    data = _data()
    omegaconf = pytest.importorskip("omegaconf", reason=WHY)
    loader = pytest.importorskip("verl.trainer.ppo.reward", reason=WHY)
    loop = pytest.importorskip("verl.experimental.reward_loop.reward_manager.naive", reason=WHY)
    settings = re.findall(
        r"^reward\.custom_reward_function\.\S+$", README.read_text(), re.MULTILINE
    )
    assert len(settings) == 2
    config = omegaconf.OmegaConf.from_dotlist(settings)
    score = loader.get_custom_reward_fn(config)

    async def scored() -> list[dict[str, object]]:
        manager = loop.NaiveRewardManager(config, Bytes(), score)
        return [await manager.run_single(data[at : at + 1]) for at in range(2)]

    results = asyncio.run(scored())
    assert [result["reward_score"] for result in results] == DETAILS["score"]
    assert [result["reward_extra_info"] for result in results] == [
        {name: values[at] for name, values in DETAILS.items()} for at in range(2)
    ]
