"""What every reward is called with: completions, columns, and the misuse each must name."""

import asyncio
import pickle
from typing import cast

import pytest

from srl_reward import (
    AnswerReward,
    BoxedThinkReward,
    FormatReward,
    QuestionOnlyReward,
    R1ZeroReward,
    Reward,
    StepReward,
)

GOOD = {
    StepReward: ("<think>a</think>2. x", "2. x", 1.0),
    FormatReward: ("<think>a</think>2. x", None, 1.0),
    AnswerReward: (r"<think>a</think>\boxed{5}", "5", 1.0),
    BoxedThinkReward: (r"<think>a</think>\boxed{5}", "5", 1.0),
    QuestionOnlyReward: (r"<think>a</think>\boxed{5}", "5", 1.0),
    R1ZeroReward: ("<think>a</think><answer>5</answer>", "5", 1.0),
}
REWARDS: list[Reward] = [
    StepReward("gold"),
    StepReward("gold", metric="indel"),
    FormatReward(),
    AnswerReward("gold", grader="exact"),
    BoxedThinkReward("gold"),
    QuestionOnlyReward("gold", grader="exact"),
    R1ZeroReward("gold", grader="exact"),
]
every_reward = pytest.mark.parametrize("reward", REWARDS, ids=lambda each: type(each).__name__)
WITH_GOLD = [reward for reward in REWARDS if not isinstance(reward, FormatReward)]
reading = pytest.mark.parametrize("reward", WITH_GOLD)


def call(reward: Reward, completions: object, **columns: object) -> list[float | None]:
    return reward(cast("list[str]", completions), **columns)


@every_reward
def test_plain_and_conversational_completions_are_worth_the_same(reward: Reward) -> None:
    text, gold, value = GOOD[type(reward)]
    thinking, rest = text.removeprefix("<think>").split("</think>")
    completions = [
        text,
        [{"role": "assistant", "content": text}],
        ({"role": "assistant", "content": [{"type": "text", "text": text}]},),
        [{"role": "assistant", "content": rest, "reasoning_content": thinking}],
    ]
    again = pickle.loads(pickle.dumps(reward))
    for each in (reward, again):
        assert call(each, completions, gold=[gold] * 4) == [value] * 4
    assert (again.__name__, again.think_prefilled) == (reward.__name__, reward.think_prefilled)


@every_reward
def test_a_prefilled_tag_means_the_same_to_all(reward: Reward) -> None:
    text, gold, value = GOOD[type(reward)]
    opened = text.removeprefix("<think>")
    ways: list[dict[str, object]] = [
        {"think_prefilled": [True]},
        {"think_prefilled": True},
        {"prompts": ["Q\n<think>\n"]},
    ]
    for columns in ways:
        assert call(reward, [opened], gold=[gold], **columns) == [value]
    (scored,) = reward.score([text.removesuffix("x").split("</think>")[0]], gold=[gold])
    assert scored is not None
    assert scored.reason == "unclosed_think"


@every_reward
@pytest.mark.parametrize("key", ["reasoning_content", "reasoning"])
def test_thinking_that_a_server_took_apart_is_no_prefilled_tag(reward: Reward, key: str) -> None:
    text, gold, value = GOOD[type(reward)]
    thinking, rest = text.removeprefix("<think>").split("</think>")
    message = {"role": "assistant", "content": rest, key: thinking}
    assert call(reward, [[message]], gold=[gold], think_prefilled=[True]) == [value]


@every_reward
def test_a_cut_off_output_is_worth_nothing_to_any(reward: Reward) -> None:
    text, gold, _ = GOOD[type(reward)]
    for columns in ({"truncated": [1]}, {"finish_reason": ["length"]}):
        (scored,) = reward.score([text], gold=[gold], **columns)
        assert scored is not None
        assert (scored.reason, scored.exact) == ("truncated", False)
        assert scored.reward <= 0


@every_reward
def test_calls_may_overlap_in_an_event_loop(reward: Reward) -> None:
    text, gold, value = GOOD[type(reward)]

    async def together() -> list[list[float | None]]:
        calls = [asyncio.to_thread(reward, [text] * 9, gold=[gold] * 9) for _ in range(8)]
        return await asyncio.gather(*calls)

    assert asyncio.run(together()) == [[value] * 9] * 8


@reading
def test_no_gold_value_means_no_reward(reward: Reward) -> None:
    text, gold, value = GOOD[type(reward)]
    assert call(reward, [text, text], gold=[None, gold]) == [None, value]


@reading
@pytest.mark.parametrize("gold", [float("nan"), ["5"], {"answer": "5"}, b"5"])
def test_a_gold_value_that_is_no_text_is_refused_not_skipped(reward: Reward, gold: object) -> None:
    with pytest.raises(TypeError, match=r"column 'gold' holds .*, expected a text, or None"):
        call(reward, ["x"], gold=[gold])


def test_a_gold_number_is_an_answer_but_no_step() -> None:
    assert call(AnswerReward(grader="exact"), [r"\boxed{5}"], answer=[5]) == [1.0]
    with pytest.raises(TypeError, match=r"column 'target_step' holds 5 \(int\)"):
        call(StepReward(), ["x"], target_step=[5])


@reading
def test_columns_that_are_missing_or_too_short_are_named(reward: Reward) -> None:
    with pytest.raises(TypeError, match=f"{type(reward).__name__} reads the column 'gold'"):
        call(reward, ["x"], golden=["y"])
    with pytest.raises(ValueError, match="column 'gold' has 1 values for 2 completions"):
        call(reward, ["x", "x"], gold=["y"])
    with pytest.raises(TypeError, match=r"column 'gold' is 5 \(int\), expected a list"):
        call(reward, ["x"], gold=5)


@every_reward
@pytest.mark.parametrize(
    ("completions", "message"),
    [
        ("text", r"completions is 'text' \(str\), expected a list of completions"),
        (None, "completions is None"),
        ({"a": 1}, "completions is .* \\(dict\\)"),
        (["a", None], r"completions\[1\] is None \(NoneType\), expected a text or a list of"),
        ([b"a"], r"completions\[0\] is b'a' \(bytes\)"),
        ([["a"]], r"completions\[0\] is \['a'\] \(list\)"),
        ([{"role": "assistant", "content": "a"}], r"completions\[0\] is .* \(dict\)"),
    ],
)
def test_what_is_no_completion_is_named(reward: Reward, completions: object, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        call(reward, completions, gold=["x"])


@every_reward
def test_flags_that_are_no_flags_are_named(reward: Reward) -> None:
    _, gold, _ = GOOD[type(reward)]
    for name in ("truncated", "think_prefilled"):
        for value in ("no", 2, "length"):
            with pytest.raises(TypeError, match=rf"column '{name}' holds .*, expected True, False"):
                call(reward, ["x"], gold=[gold], **{name: [value]})
        with pytest.raises(ValueError, match=f"column '{name}' has 1 values for 2"):
            call(reward, ["x", "x"], gold=[gold] * 2, **{name: [True]})


def test_numpys_flags_are_flags() -> None:
    numpy = pytest.importorskip("numpy")
    text, gold, _ = GOOD[StepReward]
    flags = [numpy.bool_(True), numpy.False_]
    assert call(StepReward(), [text] * 2, target_step=[gold] * 2, truncated=flags) == [-1.0, 1.0]


def test_the_parts_of_a_reward_are_told_and_logged() -> None:
    logged: dict[str, float] = {}
    columns = {"answer": ["5", "5"], "log_metric": logged.__setitem__}
    assert call(R1ZeroReward(grader="exact"), [GOOD[R1ZeroReward][0], "bad"], **columns) == [
        1.0,
        0.0,
    ]
    assert logged["r1_zero_reward/format"] == logged["r1_zero_reward/answer"] == 0.5
    (boxed,) = BoxedThinkReward().score([r"<think>a</think>\boxed{6}"], answer=["5"])
    assert boxed is not None
    assert boxed.parts == {"format": 1.0, "answer": 0.0}
    (answer,) = AnswerReward(grader="aime").score([r"\boxed{05}"], answer=[5])
    assert answer is not None
    assert answer.parts == {"answer": 1.0}
