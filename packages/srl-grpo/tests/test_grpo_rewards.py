"""The rewards of a run: by name, weighted, the user's own; what is logged, kept and refused."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from srl_data.command.config import validate
from srl_data.command.errors import ConfigError
from srl_data.prompt_record import record_of, write_record
from srl_data.prompts import TEMPLATES
from srl_data.records import PromptAnswer, write_records
from srl_grpo.config.reward import RewardSection
from srl_grpo.config.train import TrainConfig
from srl_grpo.data.record_kinds import ANSWER, SRL
from srl_grpo.data.training_template import training_template
from srl_grpo.rollout.rewards import NamedReward, RewardError, Rewards, make_rewards
from srl_grpo.run.directory import RunDirectory
from srl_reward import FunctionReward

OWN = """
import math
import os
import random

def shorter(completions, **columns):
    return [1.0 / (1 + len(text)) if "<think>" in text else None for text in completions]

def carries(completions, target_step):
    return [float("carry" in text and bool(step)) for text, step in zip(completions, target_step)]

def exact(completions, id, meta, prompts, completion_ids):
    return [len(ids) for ids in completion_ids]

def never(completions, **columns):
    return [None] * len(completions)

def raises(completions, **columns):
    return [columns["nowhere"] for _ in completions]

def short(completions, **columns):
    return [0.0]

def infinite(completions, **columns):
    return [math.inf] * len(completions)

def words(completions, **columns):
    return ["good"] * len(completions)

def nothing(completions, **columns):
    return None

def chance(completions, **columns):
    with open(os.environ["ASKED"], "a") as file:
        file.write(f"{os.getpid()} {len(completions)}\\n")
    return [random.random() for _ in completions]

def late(completions, **columns):
    late.calls += 1
    if late.calls == 3:
        raise KeyError("the judge is away")
    return [float(len(text)) for text in completions]

late.calls = 0
"""


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A user's file of rewards."""
    path = tmp_path / "own.py"
    path.write_text(OWN)
    return path


def section(**options: object) -> RewardSection:
    return validate(options, RewardSection, "reward")


numbers = st.integers(-1000, 1000).map(lambda n: n / 8)  # whose sums are exact
columns_of_values = st.integers(1, 4).flatmap(
    lambda rewards: st.tuples(
        st.lists(numbers, min_size=rewards, max_size=rewards),
        st.lists(
            st.lists(st.none() | numbers, min_size=rewards, max_size=rewards),
            min_size=1,
            max_size=5,
        ),
    )
)


@given(columns_of_values)
def test_the_reward_is_the_weighted_sum_of_those_that_apply(drawn) -> None:
    weights, rows = drawn
    parts = [
        NamedReward(f"r{n}", f"r{n}", FunctionReward(lambda completions, v=list(values): v), w)
        for n, (w, values) in enumerate(zip(weights, zip(*rows, strict=True), strict=True))
    ]
    judged = Rewards(parts).score(["x"] * len(rows))
    for row, found in zip(rows, judged, strict=True):
        terms = [w * value for w, value in zip(weights, row, strict=True) if value is not None]
        if not terms:
            assert found is None
            continue
        assert found is not None
        assert found.reward == math.fsum(terms)
        assert list(found.values.values()) == row
        assert found.details is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"reward": "stpe"}, "did you mean 'step'?"),
        ({"reward": "my.rewards.f"}, "your own is module:name or file.py:name"),
        ({"reward": []}, "at least 1 item"),
        ({"reward": ["step", "step"]}, "'step' is given 2 times"),
        ({"reward": ["step", "format"], "reward_weights": [1]}, "1 reward_weights for 2 rewards"),
        ({"reward_weights": 0}, "every one of reward_weights is 0"),
        ({"reward_weights": [float("nan")]}, "finite"),
        ({"reward": "format", "metric": "indel"}, "format has no such option"),
        ({"reward": "aime", "grader": "math"}, "give --reward r1_zero or question_only or"),
        ({"reward": "own.py:f", "max_chars": 5}, "reward.max_chars is 5"),
        ({"reward": "exact", "format_weight": 0.5}, "give --reward r1_zero"),
        ({"reward": "r1_zero", "format_weight": -0.5}, "greater than or equal to 0"),
        ({"reward": "r1_zero", "answer_weight": float("inf")}, "finite"),
    ],
)
def test_what_cannot_be_rewarded_is_refused_with_the_config(options, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        section(**options)
    assert message in str(caught.value)


def test_one_name_in_yaml_is_one_reward() -> None:
    assert section(reward="format").reward == ("format",)
    assert section(reward="format", reward_weights=2).weights == (2.0,)
    assert section().options_of("step") == {
        "metric": "ratio",
        "max_chars": 20_000,
        "autojunk": False,
        "strip_number": True,
    }
    assert section(max_chars=0).options_of("step")["max_chars"] is None


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["nowhere.py:f"], "no such file: nowhere.py"),
        (["nowhere:f"], "No module named 'nowhere'"),
        (["{own}:missing"], "there is no 'missing'"),
        (["{own}:math"], "expected a function"),
        (["{own}:exact", "exact"], "would both be logged as reward/exact_reward"),
    ],
)
def test_what_cannot_be_loaded_is_refused(own: Path, names: list[str], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        make_rewards(section(reward=[name.format(own=own) for name in names]))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("raises", "raised KeyError: 'nowhere' (own.py:19); its columns are problem"),
        ("short", "returned 1 values for 2 completions"),
        ("infinite", "returned inf, expected a finite number"),
        ("words", "returned 'good', expected a number"),
        ("nothing", "returned None, expected a list"),
    ],
)
def test_a_users_reward_that_fails_is_named(own: Path, name: str, message: str) -> None:
    rewards = make_rewards(section(reward=f"{own}:{name}"))
    with pytest.raises(RewardError) as caught:
        rewards.score(["a", "b"], problem=["?", "?"])
    assert message in str(caught.value)
    assert name in str(caught.value)


RUN: dict[str, Any] = {
    "num_steps": 2,
    "model": {"build": {"hidden_size": 16, "num_layers": 1, "max_positions": 400}},
    "data": {"template": "bare", "max_prompt_length": 96},
    "synthetic": {"num_problems": 5, "num_heldout": 2},
    "rollout": {"batch_size": 2, "group_size": 4, "max_new_tokens": 60},
    "evaluation": {"eval_every": 1},
    "tracking": {"tensorboard": False},
}
"""A run of a second."""


def test_two_rewards_of_the_users_own_are_logged_summed_and_kept(watched, tmp_path, own) -> None:
    names = [f"{own}:shorter", f"{own}:carries", "step"]
    reward = {"reward": names, "reward_weights": [3.0, 0.5, 1.0]}
    seen = watched({**RUN, "reward": reward}, tmp_path / "run")
    for step, metrics in enumerate(seen.metrics, start=1):
        rows = seen.records(step)
        for row in rows:
            shorter, carries, similarity = row["rewards"].values()
            assert (shorter is None) == ("<think>" not in row["completion"])
            assert carries == ("carry" in row["completion"])
            assert row["reward"] == 3.0 * (shorter or 0.0) + 0.5 * carries + similarity
        for name in ("shorter", "carries", "step"):
            values = [v for row in rows if (v := row["rewards"][name]) is not None]
            assert metrics[f"reward/{name}"] == pytest.approx(sum(values) / len(values))
        shares = sum(row["exact"] for row in rows) / len(rows)
        assert metrics["reward/exact"] == shares > 0  # as the step reward says
        total = sum(row["reward"] for row in rows) / len(rows)
        assert metrics["reward"] == pytest.approx(total)
        assert {"eval/reward", "eval/reward/carries", "eval/reward/step"} <= metrics.keys()


def test_functions_alone_say_nothing_of_exact_and_invalid(watched, tmp_path, own) -> None:
    names = [f"{own}:exact", f"{own}:never"]
    seen = watched({**RUN, "num_steps": 1, "reward": {"reward": names}}, tmp_path / "run")
    (metrics,), rows = seen.metrics, seen.records(1)
    assert [row["reward"] for row in rows] == [row["tokens"] for row in rows]
    assert {(row["exact"], row["reason"], row["rewards"]["never"]) for row in rows} == {(None,) * 3}
    assert metrics["reward/exact_reward"] == sum(r["tokens"] for r in rows) / len(rows)
    assert [metrics[f"reward/{name}"] for name in ("exact", "invalid", "never")] == [None] * 3
    assert "eval/reward" in metrics
    assert "eval/exact" not in metrics


def boxed(prompt, sample: int) -> tuple[str, bool]:
    """The right answer, a wrong one, one that is cut off, and none."""
    answer = str(prompt.columns["answer"])
    texts = [f"So \\boxed{{{answer}}}", "\\boxed{7}", f"\\boxed{{{answer}}}", "12"]
    return texts[sample], sample != 2


@pytest.mark.parametrize("graders", [("boxed_integer", "boxed_integer"), (None, None)])
def test_answers_are_learned_from_problems_with_their_answers(watched, tmp_path, graders) -> None:
    files = {name: tmp_path / f"{name}.jsonl" for name in ("train", "val")}
    for name, path in files.items():
        records = [
            PromptAnswer(id=f"{name}/{n}", problem=f"{n}+{n}=?", answer=str(2 * n), grader=grader)
            for n, grader in enumerate([*graders, graders[0]], start=20)
        ]
        write_records(path, records)
    data = {"path": str(files["train"]), "val_path": str(files["val"])}
    tree = {
        **{key: value for key, value in RUN.items() if key != "synthetic"},
        "data": {**data, "template": "question_only"},
        "rollout": {**RUN["rollout"], "stop": []},
        "reward": {"reward": ["exact", "format"], "reward_weights": [1.0, 0.25]},
        "evaluation": {"eval_every": 1, "before_after": True},
    }
    tree["data"]["max_prompt_length"] = 96
    seen = watched(tree, tmp_path / "run", script=boxed)
    for step, metrics in enumerate(seen.metrics, start=1):
        rows = seen.records(step)
        assert [row["reward"] for row in rows] == [1.0, 0.0, 0.0, 0.0] * 2
        assert [row["reason"] for row in rows[:4]] == [None, None, "truncated", "no_answer"]
        assert {row["target"] for row in rows} <= {"40", "42", "44"}
        assert metrics["reward/exact_reward"] == metrics["reward/exact"] == 0.25
        assert metrics["reward/format"] == 0.0
        assert metrics["eval/reward"] == metrics["eval/exact"] == 1.0
        assert "eval/final_answer" not in metrics  # no steps, no chains
    summary = json.loads((seen.path / "summary.json").read_text())
    assert summary["after"]["reward"] == 1.0


def test_a_reward_that_fails_ends_the_run_with_the_step_and_a_checkpoint(
    call, tiny, tmp_path, own
) -> None:
    """The third call, without evaluations: the third step of one round each."""
    rollout = {"max_rounds": 1}
    config = tiny(num_steps=5, rollout=rollout, reward={"reward": f"{own}:late"})
    code, _, err = call("train", "--config", config, "--output-dir", tmp_path / "run")
    assert code == 1
    last = err.strip().splitlines()[-1]
    assert f"step 3: the reward '{own}:late' raised KeyError: 'the judge is away' (own.py:" in last
    assert "step 2 is kept, continue with: srl-grpo train" in last
    assert (tmp_path / "run" / "step_2" / "MANIFEST.json").is_file()


def test_a_changed_reward_is_told_when_a_run_is_resumed(call, tiny, tmp_path, own) -> None:
    config = tiny(num_steps=1, reward={"reward": f"{own}:carries"})
    run = ("train", "--output-dir", tmp_path / "run")
    assert call(*run, "--config", config)[0] == 0
    own.write_text(f"{OWN}\n# changed\n")
    again = ("--resume", "auto", "--num-steps", 2, "--reward-weights", 2)
    code, out, err = call(*run, *again)
    assert code == 0, err
    assert "reward.reward_weights: [] -> [2.0]" in out
    assert f"file of the reward {own}:carries" in out


@pytest.mark.parametrize("dry", [(), ("--dry-run",)])
@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--reward", "nowhere.py:f"], 2, "no such file: nowhere.py"),
        (["--reward", "stpe"], 2, "did you mean 'step'?"),
        (["--reward", "step", "--reward", "aime"], 2, "'target_step' (step) and 'answer' (aime)"),
        (["--reward", "aime", "--template", "srl"], 2, "--template srl asks for another answer"),
        (["--template", "boxed"], 2, "than SRL instances hold; leave it out for 'srl'"),
    ],
)
def test_a_reward_is_checked_before_anything_is_loaded(
    call, tiny, dry, arguments, code: int, message: str
) -> None:
    found, _, err = call("train", "--config", tiny(), *arguments, *dry)
    assert (found, err.count("\n")) == (code, 1)
    assert message in err


def test_records_of_another_kind_than_the_reward_reads_are_named(call, tiny, tmp_path) -> None:
    path = tmp_path / "answers.jsonl"
    write_records(path, [PromptAnswer(id="a", problem="1+1=?", answer="2")])
    config = tiny(synthetic=None, data={"path": str(path)})
    code, _, err = call("train", "--config", config)
    assert code == 3
    assert "its first record is one of the prompt-answer records, and the run reads" in err
    assert "SRL instances (--reward step)" in err


def test_the_quickstarts_model_is_trained_on_two_rewards(call, tmp_path, own) -> None:
    options = ("--num-steps", 2, "--num-heldout", 2, "--eval-every", 0, "--no-before-after")
    rewards = ("--reward", "step", "--reward", f"{own}:carries", "--reward-weights", "1")
    run = ("train", "--config", "smoke_test", *options, *rewards, "--reward-weights", "-0.25")
    code, _, err = call(*run, "--output-dir", tmp_path / "run")
    assert code == 0, err
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    directory = RunDirectory(tmp_path / "run")
    for metrics in map(json.loads, lines):
        rows = list(directory.read_rollouts(metrics["step"]))
        step, carries = ([row["rewards"][name] for row in rows] for name in ("step", "carries"))
        assert len(set(step)) > 1, "a model that was warmed up writes steps"
        assert [row["reward"] for row in rows] == [
            a - 0.25 * b for a, b in zip(step, carries, strict=True)
        ]
        assert metrics["reward/step"] == pytest.approx(sum(step) / len(step))
        assert metrics["reward/carries"] == pytest.approx(sum(carries) / len(carries))
        assert metrics["reward/invalid"] == sum(r["reason"] is not None for r in rows) / len(rows)


@pytest.mark.slow
def test_a_reward_is_asked_once_for_all_processes(run_command, tmp_path, own) -> None:
    """Its answer is another every time: asked on both ranks, they would keep other groups."""
    asked = tmp_path / "asked"
    options = ("--num-steps", 2, "--num-heldout", 2, "--eval-every", 0, "--no-before-after")
    arguments = ("train", "--config", "smoke_test", *options, "--warm-start-steps", 0)
    rewards = ("--reward", f"{own}:chance", "--nproc-per-node", 2, "--output-dir", tmp_path / "run")
    own.write_text(own.read_text().replace('os.environ["ASKED"]', repr(str(asked))))
    done = run_command(*arguments, *rewards)
    assert done.returncode == 0, done.stderr
    calls = [line.split() for line in asked.read_text().splitlines()]
    assert len({process for process, _ in calls}) == 1
    directory = RunDirectory(tmp_path / "run")
    rows = [row for step in (1, 2) for row in directory.read_rollouts(step)]
    assert sum(int(count) for _, count in calls) == len(rows)


@pytest.mark.parametrize(
    ("given", "recorded", "kind", "expected"),
    [
        (None, None, SRL, "srl"),
        (None, None, ANSWER, "boxed"),
        (None, "bare", SRL, "bare"),
        (None, "srl", ANSWER, "boxed"),
        ("question_only", "srl", ANSWER, "question_only"),
        ("question_only", None, SRL, "question_only"),
    ],
)
def test_the_template_follows_the_records(tmp_path, given, recorded, kind, expected: str) -> None:
    if recorded is not None:
        write_record(tmp_path, record_of(TEMPLATES[recorded]))
    tree = {"model": {"path": str(tmp_path)}, "data": {**RUN["data"], "template": given}}
    config = TrainConfig.model_validate({**RUN, **tree})
    assert training_template(config, kind, None).template.name == expected


def test_a_prompt_of_answers_asks_for_a_box_unless_told_otherwise(call, tiny, tmp_path) -> None:
    path = tmp_path / "answers.jsonl"
    write_records(path, [PromptAnswer(id="a", problem="Is it 1+1?", answer="2")])
    model = {"path": "nowhere/model", "build": None}
    config = tiny(model=model, synthetic=None, data={"path": str(path), "template": None})
    code, out, err = call("train", "--config", config, "--reward", "exact", "--dry-run")
    assert (code, err) == (0, "")
    assert yaml.safe_load(out)["data"]["template"] == "boxed"
    assert yaml.safe_load(out)["reward"]["reward"] == ["exact"]


@pytest.mark.parametrize("reward", ["answer", "format"])
def test_a_grader_that_nobody_has_is_found_before_the_first_step(
    call, tiny, tmp_path, reward: str
) -> None:
    path = tmp_path / "answers.jsonl"
    records = [
        PromptAnswer(id=name, problem="1+1=?", answer="2", grader=grader)
        for name, grader in (("first", "exact"), ("second", "abacus"))
    ]
    write_records(path, records)
    data = {"path": str(path), "template": "question_only"}
    config = tiny(num_steps=1, synthetic=None, data=data, reward={"reward": reward})
    code, _, err = call("train", "--config", config)
    assert code == (3 if reward == "answer" else 0)
    assert ("record 'second': grader is 'abacus'" in err) == (reward == "answer")


def test_records_without_a_grader_are_compared_as_mathematics(own) -> None:
    rewards = make_rewards(section(reward="answer"))
    columns = {"answer": ["7", "7"], "grader": [None, "exact"]}
    values = [judged and judged.reward for judged in rewards.score(["\\boxed{7}"] * 2, **columns)]
    assert values == [1.0, 1.0]
