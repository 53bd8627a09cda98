"""verl's own reward manager runs `compute_score`; skipped where verl isn't installed."""

import pytest

from srl_reward.verl import compute_score

pytestmark = [
    pytest.mark.slow,
    # verl's, ray's and torch's own warnings are not this package's to judge.
    pytest.mark.filterwarnings("ignore"),
]


class Bytes:
    """A tokenizer whose ids are bytes."""

    def decode(self, ids: list[int], skip_special_tokens: bool = True) -> str:
        return bytes(int(i) for i in ids).decode()


def test_the_naive_reward_manager_takes_score_and_details() -> None:
    torch = pytest.importorskip("torch")
    numpy = pytest.importorskip("numpy")
    tensordict = pytest.importorskip("tensordict")
    verl = pytest.importorskip("verl")
    naive = pytest.importorskip("verl.workers.reward_manager.naive")
    texts = ["<think>a</think>2. x+y", "nothing of the sort..."]
    width = max(map(len, texts))
    responses = torch.tensor([list(text.encode().ljust(width)) for text in texts])
    tensors = {
        "prompts": torch.full((2, 3), 65),
        "responses": responses,
        "attention_mask": torch.ones(2, 3 + width, dtype=torch.long),
    }
    columns = {
        "reward_model": [{"ground_truth": "2. x+y"}] * 2,
        "data_source": ["srl_s1k"] * 2,
        "extra_info": [{}, {}],
    }
    data = verl.DataProto(
        batch=tensordict.TensorDict(tensors, batch_size=2),
        non_tensor_batch={
            name: numpy.array(values, dtype=object) for name, values in columns.items()
        },
    )
    result = naive.NaiveRewardManager(Bytes(), 0, compute_score)(data, return_dict=True)
    assert result["reward_tensor"].sum(-1).tolist() == [1.0, -1.0]
    assert dict(result["reward_extra_info"]) == {
        "score": [1.0, -1.0],
        "exact": [1.0, 0.0],
        "invalid": [0.0, 1.0],
        "reason": ["", "missing_think"],
    }
