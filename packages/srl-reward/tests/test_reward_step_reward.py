"""`StepReward`: values, reasons, columns, and both kinds of completions."""

import asyncio
import difflib
import pickle
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from srl_reward import InvalidReason, Scored, StepReward, render_step_output

EXPERT = "2. **Sum** 12+30=42"


def test_the_reward_is_difflibs_ratio_of_action_and_expert_step() -> None:
    outputs = [render_step_output("hm", action) for action in ("2. **Sum** 12+30=41", "x", EXPERT)]
    wanted = [
        difflib.SequenceMatcher(None, action, "**Sum** 12+30=42", autojunk=False).ratio()
        for action in ("**Sum** 12+30=41", "x")
    ]
    assert StepReward()(outputs, target_step=[EXPERT] * 3) == [*wanted, 1.0]


def test_the_argument_order_is_model_then_expert() -> None:
    model, expert = "tide", "diet"
    forth = difflib.SequenceMatcher(None, model, expert, autojunk=False).ratio()
    back = difflib.SequenceMatcher(None, expert, model, autojunk=False).ratio()
    assert forth != back
    assert StepReward()([f"<think></think>{model}"], target_step=[expert]) == [forth]


def test_autojunk_is_off_unless_asked_for() -> None:
    expert = "so we add the two numbers and carry the one. " * 8
    model = expert.replace("two", "2").strip()
    (plain,) = StepReward()([f"<think></think>{model}"], target_step=[expert])
    (junk,) = StepReward(autojunk=True)([f"<think></think>{model}"], target_step=[expert])
    assert plain is not None
    assert junk is not None
    assert plain > 0.9 > junk


def test_invalid_output_gets_the_invalid_reward_and_its_reason() -> None:
    outputs = ["no tags", "<think>a</think>", "<think>a</think>1. x\n2. y"]
    scored = StepReward(invalid=-2).score(outputs, target_step=[EXPERT] * 3)
    assert [each and (each.reward, each.reason) for each in scored] == [
        (-2, InvalidReason.MISSING_THINK),
        (-2, InvalidReason.EMPTY_ACTION),
        (-2, InvalidReason.SEVERAL_STEPS),
    ]


def test_details_name_what_was_written_and_whether_it_is_exact() -> None:
    outputs = ["<think> hm </think>**Step 2:** **Sum** 12+30=42", "<think></think>**Sum** 12"]
    right, wrong = StepReward().score(outputs, target_step=[EXPERT] * 2)
    action = "**Step 2:** **Sum** 12+30=42"
    assert right == Scored(1.0, None, True, "hm", action, 2)
    assert wrong is not None
    assert (wrong.exact, wrong.action, wrong.number) == (False, "**Sum** 12", None)


def test_numbers_count_where_they_are_not_stripped() -> None:
    (reward,) = StepReward(strip_number=False)(["<think></think>3. a"], target_step=["2. a"])
    assert reward == 0.75


def test_no_target_means_no_reward() -> None:
    outputs = [f"<think></think>{EXPERT}"] * 2
    assert StepReward()(outputs, target_step=[None, EXPERT]) == [None, 1.0]


def test_another_column_can_hold_the_target() -> None:
    assert StepReward("expert")([f"<think></think>{EXPERT}"], expert=[EXPERT]) == [1.0]


def test_conversational_completions_are_read() -> None:
    text = f"<think>a</think>{EXPERT}"
    completions = [
        [{"role": "assistant", "content": text}],
        [{"role": "assistant", "content": [{"type": "text", "text": text}]}],
        [{"role": "assistant", "content": EXPERT, "reasoning_content": "a"}],
        [{"role": "assistant", "content": None}],
        [],
    ]
    assert StepReward()(completions, target_step=[EXPERT] * 5) == [1.0, 1.0, 1.0, -1.0, -1.0]


def test_truncated_output_is_invalid() -> None:
    outputs = [f"<think>a</think>{EXPERT}"] * 2
    reward = StepReward()
    assert reward(outputs, target_step=[EXPERT] * 2, truncated=[True, False]) == [-1.0, 1.0]
    reasons = ["length", "stop"]
    assert reward(outputs, target_step=[EXPERT] * 2, finish_reason=reasons) == [-1.0, 1.0]


def test_a_prefilled_tag_is_known_from_option_column_or_prompt() -> None:
    outputs = [f"a</think>{EXPERT}"]
    targets = [EXPERT]
    assert StepReward()(outputs, target_step=targets) == [-1.0]
    assert StepReward(think_prefilled=True)(outputs, target_step=targets) == [1.0]
    assert StepReward()(outputs, target_step=targets, think_prefilled=[True]) == [1.0]
    assert StepReward()(outputs, target_step=targets, prompts=["Q: <think>\n"]) == [1.0]
    chat = [[{"role": "user", "content": "<think>"}]]
    assert StepReward()(outputs, target_step=targets, prompts=chat) == [-1.0]


def test_misuse_raises_and_names_the_column() -> None:
    with pytest.raises(TypeError, match="'target_step', but was given \\['answer'\\]"):
        StepReward()(["x"], answer=["y"])
    with pytest.raises(ValueError, match="2 values for 1 completions"):
        StepReward()(["x"], target_step=["y", "z"])
    with pytest.raises(ValueError, match="metric is 'cosine'"):
        StepReward(metric="cosine")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="max_chars is 0"):
        StepReward(max_chars=0)


def test_text_past_the_cap_counts_as_unlike() -> None:
    target = "ab" * 50
    outputs = [f"<think></think>{target}", f"<think></think>{target * 2}"]
    full = StepReward(max_chars=100)(outputs, target_step=[target] * 2)
    assert full == [1.0, pytest.approx(2 / 3)]
    assert StepReward(max_chars=None)(outputs, target_step=[target] * 2) == [
        1.0,
        pytest.approx(2 / 3),
    ]


@pytest.mark.parametrize(
    ("metric", "value"), [("indel", 0.75), ("levenshtein", 0.75), ("token_set", 0.75)]
)
def test_other_metrics_come_from_rapidfuzz(metric: str, value: float) -> None:
    reward = StepReward(metric=metric)  # type: ignore[arg-type]
    assert reward(["<think></think>abcd"], target_step=["abce"]) == [value]
    assert reward(["<think></think>abcd"], target_step=["abcd"]) == [1.0]


def test_rewards_pickle_and_carry_their_name() -> None:
    reward = pickle.loads(pickle.dumps(StepReward("t", name="srl")))
    assert reward.__name__ == "srl"
    assert StepReward().__name__ == "step_reward"
    assert reward([f"<think></think>{EXPERT}"], t=[EXPERT]) == [1.0]


def test_a_batch_gives_what_single_calls_give_in_threads_too() -> None:
    outputs = [f"<think></think>{EXPERT[:n]}x" for n in range(len(EXPERT))]
    reward = StepReward()
    single = [reward([output], target_step=[EXPERT])[0] for output in outputs]

    async def together() -> list[list[float | None]]:
        calls = [
            asyncio.to_thread(reward, outputs, target_step=[EXPERT] * len(outputs))
            for _ in range(4)
        ]
        return await asyncio.gather(*calls)

    assert asyncio.run(together()) == [single] * 4


def test_shares_are_logged_through_trls_hook() -> None:
    logged: dict[str, float] = {}
    log: Callable[[str, float], None] = logged.__setitem__
    outputs = [f"<think></think>{EXPERT}", "bad"]
    StepReward()(outputs, target_step=[EXPERT] * 2, log_metric=log)
    assert logged == {"step_reward/exact": 0.5, "step_reward/invalid": 0.5}


@given(st.text(max_size=40), st.text(max_size=40))
def test_no_text_raises_and_every_reward_is_in_range(text: str, target: str) -> None:
    for completion in (text, f"<think>{text}</think>{text}"):
        (reward,) = StepReward()([completion], target_step=[target])
        assert reward is not None
        assert reward == -1.0 or 0.0 <= reward <= 1.0


def test_empty_batches_are_fine() -> None:
    assert StepReward()([], target_step=[]) == []
