"""Rewards by name and a user's own: which is made, with which options, and what is refused."""

import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from srl_reward import REWARDS, FunctionReward, Reward, StepReward, make_reward
from srl_reward.answer_reward import AnswerReward
from srl_reward.format_reward import R1ZeroReward


def test_every_name_makes_its_reward() -> None:
    made = {name: make_reward(name) for name in REWARDS if name != "math"}
    assert isinstance(made["step"], StepReward)
    graders = {name: r.grader for name, r in made.items() if isinstance(r, AnswerReward)}
    assert graders == {"answer": None, "exact": "exact", "aime": "aime", "gsm8k": "gsm8k"}
    assert [pickle.loads(pickle.dumps(r)).__name__ for r in made.values()] == [
        r.__name__ for r in made.values()
    ]


def test_options_reach_the_constructor() -> None:
    step = make_reward("step", metric="indel", autojunk=True, max_chars=7, target="gold")
    assert isinstance(step, StepReward)
    assert (step.metric, step.autojunk, step.max_chars, step.target) == ("indel", True, 7, "gold")
    zero = make_reward("r1_zero", grader="aime", format_weight=0.5)
    assert isinstance(zero, R1ZeroReward)
    assert (zero.grader, zero.format_weight) == ("aime", 0.5)


def test_the_column_that_a_reward_reads_is_its_constructors_default() -> None:
    columns = {name: registered.default_column for name, registered in REWARDS.items()}
    assert columns.pop("step") == "target_step"
    assert columns.pop("format") is None
    assert set(columns.values()) == {"answer"}


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("stop", {}, "unknown reward 'stop'; did you mean 'step'?"),
        ("format", {"metric": "indel"}, "'format' takes no option metric"),
        ("aime", {"grader": "math"}, "'aime' takes no option grader"),
        ("step", {"metric": "cosine"}, "metric is 'cosine'"),
        ("nowhere:", {}, "expected module:name or file.py:name"),
        ("json:dumps", {"metric": "indel"}, "takes no option metric"),
    ],
)
def test_what_cannot_be_made_is_named(name: str, options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message.replace("?", r"\?")):
        make_reward(name, **options)


def test_a_users_own_may_be_a_function_an_object_or_a_class(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "from srl_reward import FormatReward, Scored\n"
        "def length(completions, **columns): return [len(c) for c in completions]\n"
        "form = FormatReward(valid=3.0)\n"
        "class Form(FormatReward): pass\n"
        "async def later(completions, **columns): return [0.0]\n"
    )
    length = make_reward(f"{file}:length")
    assert isinstance(length, FunctionReward)
    assert (length(["ab", ""]), length.__name__) == ([2.0, 0.0], "length")
    valid = ["<think>a</think>1. b"]
    assert make_reward(f"{file}:form")(valid) == [3.0]
    assert make_reward(f"{file}:Form", valid=0.5)(valid) == [0.5]
    with pytest.raises(ValueError, match="not async"):
        make_reward(f"{file}:later")


def test_a_function_that_returns_nonsense_is_refused_at_its_call() -> None:
    for value, error in (("a", TypeError), (float("inf"), ValueError)):
        with pytest.raises(error, match="expected a"):
            FunctionReward(lambda completions, value=value: [value] * len(completions))(["x"])
    with pytest.raises(ValueError, match="returned 0 values for 1 completions"):
        FunctionReward(lambda completions: [])(["x"])
    assert issubclass(FunctionReward, Reward)


def test_the_package_imports_light() -> None:
    code = (
        "import sys; import srl_reward; heavy = {'torch', 'numpy', 'rapidfuzz', 'math_verify', "
        "'sympy', 'pydantic'}; print(*(heavy & {*sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
