"""`compute_score`, called as verl's naive reward manager calls it."""

import pytest

from srl_reward import REWARDS
from srl_reward.verl import compute_score


def test_an_expert_step_is_the_default_ground_truth() -> None:
    result = compute_score(
        data_source="srl_s1k",
        solution_str="<think>a</think>2. **T** x",
        ground_truth="2. **T** x",
        extra_info={"index": 3, "split": "train"},
    )
    assert result == {"score": 1.0, "exact": 1.0, "invalid": 0.0, "reason": ""}
    assert compute_score("srl_s1k", "no tags", "2. x") == {
        "score": -1.0,
        "exact": 0.0,
        "invalid": 1.0,
        "reason": "missing_think",
    }


def test_the_data_source_or_extra_info_chooses_the_reward() -> None:
    assert compute_score("aime24", r"\boxed{033}", 33)["score"] == 1.0
    assert compute_score("openai/gsm8k", "#### 5", "5")["score"] == 1.0
    assert compute_score("aime24", r"\boxed{033}", "33", {"reward": "exact"})["score"] == 0.0
    boxed = {"reward": "boxed_think", "think_prefilled": True}
    assert compute_score("x", r"a</think>\boxed{5}", "5", boxed)["score"] == 1.0
    r1_zero = "<think>a</think><answer>5</answer>"
    exact = {"reward": "r1_zero", "grader": "exact"}
    assert compute_score("x", r1_zero, "5", exact)["score"] == 1.0
    assert compute_score("x", r"\boxed{033}", 33, {}, reward="aime", router=None)["score"] == 1.0
    cut = {"truncated": True}
    assert compute_score("x", "<think>a</think>x", "x", cut)["reason"] == "truncated"


@pytest.mark.parametrize("name", sorted(REWARDS))
def test_every_registered_reward_is_one_of_verls(name: str) -> None:
    """The gold text is `ground_truth`, whatever column the reward reads elsewhere."""
    if name in ("math", "answer", "r1_zero", "question_only"):
        pytest.importorskip("math_verify")
    right = {"step": "1. 5", "format": "1. 5", "gsm8k": "#### 5"}.get(name, r"\boxed{5}")
    action = "<answer>5</answer>" if name == "r1_zero" else right
    gold = right if name == "step" else "5"
    good = compute_score("x", f"<think>a</think>{action}", gold, {"reward": name})
    assert good["score"] == 1.0
    assert compute_score("x", "<think>a", gold, {"reward": name})["score"] < good["score"]


def test_extra_info_names_the_grader_of_a_reward_that_brings_none() -> None:
    pytest.importorskip("math_verify")
    for name, text in (("r1_zero", "<think>a</think><answer>1/2</answer>"), ("question_only", "")):
        output = text or r"\boxed{1/2}"
        info = {"reward": name, "grader": "exact"}
        assert compute_score("x", output, "0.5", info)["score"] == 0.0
        assert compute_score("x", output, "0.5", {"reward": name})["score"] == 1.0


def test_your_own_reward_is_named_as_elsewhere(tmp_path) -> None:
    file = tmp_path / "own.py"
    file.write_text(
        "def same(completions, ground_truth):\n"
        "    return [float(c == g) for c, g in zip(completions, ground_truth)]\n"
    )
    own = {"reward": f"{file}:same"}
    assert [compute_score("x", text, "a", own)["score"] for text in "ab"] == [1.0, 0.0]


def test_misuse_is_named() -> None:
    with pytest.raises(ValueError, match=r"'stp'; did you mean 'step'\?"):
        compute_score("x", "y", "z", {"reward": "stp"})
    with pytest.raises(ValueError, match="ground_truth is None"):
        compute_score("x", "y", None)
