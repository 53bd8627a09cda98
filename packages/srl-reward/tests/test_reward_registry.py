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
    fixed = {"exact": "exact", "aime": "aime", "gsm8k": "gsm8k"}
    assert graders == {"question_only": None, "answer": None, **fixed}
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
        ("question_only", {"format_weight": 1.0}, "'question_only' takes no option format_weight"),
        ("r1_zero", {"format_weight": -1.0}, "format_weight is -1.0"),
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


def test_a_users_file_is_run_once_as_a_script_there_would_be(tmp_path: Path) -> None:
    (tmp_path / "beside.py").write_text("FACTOR = 2\n")
    file = tmp_path / "kept.py"
    file.write_text(
        "from __future__ import annotations\n"
        "from dataclasses import dataclass\n"
        "from beside import FACTOR\n"
        "runs = []\n"
        "runs.append(1)\n"
        "@dataclass\n"
        "class Scale:\n"
        "    factor: float = FACTOR\n"
        "def scaled(completions, **_): return [Scale().factor * len(c) for c in completions]\n"
        "def count(completions, **_): return [len(runs)] * len(completions)\n"
        "anonymous = lambda completions, **_: [0.5] * len(completions)\n"
    )
    assert make_reward(f"{file}:scaled")(["abc"]) == [6.0]
    assert make_reward(f"{file}:count")(["abc"]) == [1.0]
    assert make_reward(f"{file}:anonymous").__name__ == "anonymous"
    assert not [folder for folder in sys.path if folder == str(tmp_path)]


def test_a_module_of_the_working_folder_is_found(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "of_this_folder.py").write_text(
        "def one(completions): return [1] * len(completions)"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [folder for folder in sys.path if folder])
    assert make_reward("of_this_folder:one")(["a"], answer=["b"]) == [1.0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def f(:", "raised SyntaxError: .*broken.py"),
        ("import nowhere_at_all", "No module named 'nowhere_at_all'"),
        ("x = 1\n1 / 0", r"raised ZeroDivisionError: division by zero \(broken.py:2\)"),
        ("raise SystemExit(2)", r"raised SystemExit: 2 \(broken.py:1\)"),
        (
            "from srl_reward import Reward\nclass f(Reward): pass",
            "its constructor raised TypeError: .*abstract",
        ),
    ],
)
def test_a_users_file_that_fails_is_one_line(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "broken.py"
    file.write_text(text)
    with pytest.raises(ValueError, match=message) as caught:
        make_reward(f"{file}:f")
    assert "\n" not in str(caught.value)


def test_a_function_is_given_the_columns_that_it_takes() -> None:
    def one(completions, answer, weight=2.0):
        return [weight * (text == right) for text, right in zip(completions, answer, strict=True)]

    reward = FunctionReward(one)
    assert reward.required_columns == ("answer",)
    assert reward(["a", "b"], answer=["a", "a"], problem=["?", "?"]) == [2.0, 0.0]
    assert FunctionReward(lambda completions, **columns: [len(columns)])(["a"], x=[1]) == [1.0]


def test_an_array_is_as_good_as_a_list() -> None:
    numpy = pytest.importorskip("numpy")
    reward = FunctionReward(lambda completions: numpy.ones(len(completions), dtype="float32"))
    assert reward(["a", "b"]) == [1.0, 1.0]
    for value in ("text", None, {"a": 1.0}, 0.5):
        with pytest.raises(TypeError, match="expected a list with a number or None"):
            FunctionReward(lambda completions, value=value: value)(["a"])


def test_required_columns_are_those_that_a_reward_is_constructed_with() -> None:
    assert make_reward("step", target="gold").required_columns == ("gold",)
    assert make_reward("format").required_columns == ()
    for name in ("answer", "exact", "boxed_think", "r1_zero", "question_only"):
        assert make_reward(name, answer="key").required_columns == ("key",)


def test_the_package_imports_light() -> None:
    code = (
        "import sys; import srl_reward; heavy = {'torch', 'numpy', 'rapidfuzz', 'math_verify', "
        "'sympy', 'pydantic'}; print(*(heavy & {*sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
