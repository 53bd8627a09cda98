"""`srl-grpo expert-iteration` as a user meets it: what a round trains on, keeps and says."""

import json
from collections import Counter
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from srl_data.arithmetic import problems
from srl_data.records import write_records
from srl_eval.generate import Completion
from srl_grpo.config.expert import SelectionSection
from srl_grpo.config.reward import RewardSection
from srl_grpo.learner.updater import Updater
from srl_grpo.rollout.correct import fates_of
from srl_grpo.rollout.groups import Group, Scored
from srl_grpo.rollout.questions import final_answer
from srl_grpo.rollout.rewards import make_rewards
from srl_grpo.run.checkpoint import verify
from srl_grpo.run.directory import RunDirectory
from srl_grpo.run.trackers import read_metrics
from srl_grpo.stages.round import round_seed

BUILD = {"hidden_size": 16, "num_layers": 1, "num_heads": 2, "num_kv_heads": 1}
OWN = """
def plain(completions, **_):
    return [float(c == c.strip() != '' and not set("<*|") & set(c)) for c in completions]

def never(completions, **_):
    return [0.0 for _ in completions]

def hinted(completions, prompts, **_):
    return [float("The answer is" in prompt) for prompt in prompts]
"""
TREE = {
    "n_ei_steps": 2,
    "model": {"build": BUILD},
    "data": {"template": "question_only", "max_prompt_length": 160},
    "synthetic": {"num_problems": 6, "num_heldout": 2, "digits": [2, 2]},
    "rollout": {"batch_size": 4, "group_size": 6, "max_new_tokens": 12, "stop": [*"aeiou12345 "]},
    "reward": {"reward": "own.py:plain"},
    "selection": {"min_reward": 1.0},
    "sft": {"batch_size": 3, "epochs": 2},
    "optimizer": {"learning_rate": 1e-2},
    "tracking": {"tensorboard": False},
}


@pytest.fixture
def start(tmp_path, call) -> Path:
    """A model's folder that writes letters, digits and ends, as often as each other."""
    pairs = [{"id": str(n), "prompt": f"{n}+1=?", "response": "4 a b"} for n in range(4)]
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(pair) + "\n" for pair in pairs))
    tree = {
        "model": {"build": BUILD},
        "data": {"path": "pairs.jsonl", "max_seq_len": 64, "template": "question_only"},
        "tracking": {"tensorboard": False},
    }
    (tmp_path / "sft.yaml").write_text(yaml.safe_dump(tree))
    assert call("sft", "--config", "sft.yaml", "--output-dir", "begin", "--num-steps", 1)[0] == 0
    return tmp_path / "begin/final"


@pytest.fixture
def expert(tmp_path, call):
    """Runs the command in `out` with sections laid over `TREE`: exit code, output, errors."""
    (tmp_path / "own.py").write_text(OWN)

    def run(*flags, out="out", **changes):
        tree = json.loads(json.dumps(TREE))
        for name, section in changes.items():
            if section is None:
                tree.pop(name)
            elif isinstance(section, dict):
                tree[name] = section if section is ENDS else tree.get(name, {}) | section
            else:
                tree[name] = section
        (tmp_path / "ei.yaml").write_text(yaml.safe_dump(tree))
        return call("expert-iteration", "--config", "ei.yaml", "--output-dir", out, *flags)

    return run


def rows(run: Path) -> list[dict[str, float]]:
    return list(read_metrics(run / "metrics.jsonl"))


def kept(run: Path, step: int) -> list[dict]:
    return [
        json.loads(line) for line in RunDirectory(Path(run)).kept(step).read_text().splitlines()
    ]


def written(run: Path, step: int) -> list[dict]:
    return list(RunDirectory(run).read_rollouts(step))


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


ENDS = {"batch_size": 6, "group_size": 24, "max_new_tokens": 12}
"""Completions that end by the end token alone, as pairs do; few of them do."""


def same(one: Path, other: Path) -> bool:
    first, second = weights(one), weights(other)
    return all(torch.equal(first[name], second[name]) for name in first)


def taught(call, model: Path, out: str, step: int, *flags) -> Path:
    """What `srl-grpo sft` makes of `model` on the pairs that round `step` of `out` kept."""
    data = RunDirectory(Path(out)).kept(step)
    code, _, err = call(
        *("sft", "--model", model, "--data", data, "--output-dir", f"taught_{step}"),
        *("--seed", round_seed(42, step - 1), "--batch-size", 3, "--num-epochs", 2),
        *("--lr", 1e-2, "--micro-batch-tokens", 16384, "--no-tensorboard", *flags),
        *("--template", "question_only", "--max-seq-len", 200),
    )
    assert code == 0, err
    return Path(f"taught_{step}/final")


@pytest.mark.parametrize("stage", [0, 2, 3])
def test_a_round_is_supervised_fine_tuning_on_what_it_kept(expert, call, start, tmp_path, stage):
    zero = ("--zero-stage", stage)
    flags = ("--model", start, "--optimizer-state", "fresh", *zero)
    code, _, err = expert(*flags, model=None, rollout=ENDS)
    assert code == 0, err
    assert same(tmp_path / "out/ei_step_1", taught(call, start, "out", 1, *zero))
    assert same(tmp_path / "out/final", taught(call, tmp_path / "out/ei_step_1", "out", 2, *zero))
    (first, _) = rows(tmp_path / "out")
    losses = [row["train/loss"] for row in rows(Path("taught_1"))]
    assert first["ei/sft_steps"] == len(losses)
    assert min(losses) <= first["ei/sft_loss"] <= max(losses)


def test_the_optimizer_s_state_is_carried_where_it_is_not_asked_to_be_fresh(
    expert, call, start, tmp_path
):
    assert expert("--model", start, model=None, rollout=ENDS)[0] == 0
    assert same(tmp_path / "out/ei_step_1", taught(call, start, "out", 1))
    assert not same(tmp_path / "out/final", taught(call, tmp_path / "out/ei_step_1", "out", 2))


@pytest.mark.parametrize(("stage", "dtype"), [(0, "float32"), (3, "float32"), (1, "bfloat16")])
def test_a_round_from_the_base_forgets_the_rounds_before(
    expert, call, start, tmp_path, stage, dtype
):
    engine = ("--zero-stage", stage, "--dtype", dtype)
    code, _, err = expert(
        "--model", start, "--start-from", "base", *engine, model=None, rollout=ENDS
    )
    assert code == 0, err
    assert same(tmp_path / "out/final", taught(call, start, "out", 2, *engine))
    assert not same(tmp_path / "out/ei_step_1", tmp_path / "out/final")


def test_what_is_right_is_kept_and_nothing_else(expert, tmp_path):
    assert expert()[0] == 0
    for step, row in enumerate(rows(tmp_path / "out"), 1):
        records = written(tmp_path / "out", step)
        right = [r for r in records if r["reward"] == 1.0 and r["finish_reason"] == "stop"]
        assert right, "else this test sees nothing"
        firsts = {(r["id"], r["completion"]): r for r in reversed(right)}
        pairs = Counter((pair["meta"]["question"], pair["response"]) for pair in kept("out", step))
        assert pairs == Counter(firsts.keys())
        assert row["ei/filtered_samples"] == len(firsts)
        assert row["ei/duplicates"] == len(right) - len(firsts)
        assert row["ei/avg_reward"] == sum(r["reward"] for r in records) / len(records)
        assert {r["kept"] for r in records if r["reward"] == 0.0} == {False}


def test_a_cap_keeps_the_first_of_each_question(expert, tmp_path):
    assert expert("--max-per-question", 1, "--n-ei-steps", 1)[0] == 0
    asked = Counter(pair["meta"]["question"] for pair in kept("out", 1))
    assert set(asked.values()) == {1}
    (row,) = rows(tmp_path / "out")
    assert row["ei/over_cap"] > 0


def test_a_run_leaves_checkpoints_that_load_and_metrics_of_each_round(expert, tmp_path):
    assert expert()[0] == 0
    out = tmp_path / "out"
    assert sorted(path.name for path in out.glob("*step_*")) == ["ei_step_1", "ei_step_2"]
    for name in ("ei_step_1", "ei_step_2", "final"):
        verify(out / name)
    AutoModelForCausalLM.from_pretrained(out / "final")
    assert json.loads((out / "best.json").read_text())["path"].startswith("ei_step_")
    names = ("ei/avg_reward", "ei/filtered_samples", "ei/sft_loss", "ei/eval_accuracy", "entropy")
    for row in rows(out):
        assert set(names) <= row.keys()
        assert row["ei/eval_accuracy"] == row["eval/accuracy"]


def test_a_batch_above_the_data_asks_each_question_once(expert, tmp_path):
    code, out, _ = expert("--batch-size", 512)
    assert code == 0
    assert "--batch-size 512 is above the 6 questions of the data" in out
    for step in (1, 2):
        asked = Counter(record["id"] for record in written(tmp_path / "out", step))
        assert sorted(asked.values()) == [6] * 6


def test_a_round_asks_no_question_twice_where_a_pass_ends_in_it(expert, tmp_path):
    assert expert("--batch-size", 5, "--n-ei-steps", 3)[0] == 0
    for step in (1, 2, 3):
        asked = Counter(record["id"] for record in written(tmp_path / "out", step))
        assert sorted(asked.values()) == [6] * 5


def test_a_round_with_nothing_right_stops_the_run_with_a_way_on(expert, tmp_path):
    code, _, err = expert(reward={"reward": "own.py:never"})
    assert code == 1
    assert "round 1: no completion was right, so there was nothing to train on" in err
    assert "--when-none-right continue" in err
    assert "--resume auto" in err
    verify(tmp_path / "out/ei_step_1")


def test_a_run_in_which_no_round_trained_is_no_success(expert, tmp_path):
    flags = ("--when-none-right", "continue")
    code, out, err = expert(*flags, reward={"reward": "own.py:never"})
    assert code == 1
    assert out.count("no completion was right; nothing to train on") == 2
    assert "round 2: no completion was right" in err
    assert len(rows(tmp_path / "out")) == 2
    again = expert(*flags, "--resume", "auto", reward={"reward": "own.py:never"})
    assert again[0] == 1
    assert not (tmp_path / "out/final").exists()


def test_questions_never_solved_are_asked_with_their_answer_as_a_hint(
    expert, tmp_path, monkeypatch
):
    taught_prompts, real = [], Updater.__call__

    def update(self, samples, *options):
        taught_prompts.extend(sample.prompt_ids for sample in samples)
        return real(self, samples, *options)

    monkeypatch.setattr(Updater, "__call__", update)
    code, _, err = expert("--rationalise", "--n-ei-steps", 1, reward={"reward": "own.py:hinted"})
    assert code == 0, err
    records = written(tmp_path / "out", 1)
    plain, second = records[:24], records[24:]
    assert {r["rationalised"] for r in plain} == {False}
    assert {r["id"] for r in plain} == {r["id"] for r in second}
    for record in second:
        assert f"The answer is {record['target']}." in record["prompt"]
    pairs = kept("out", 1)
    assert pairs
    assert {pair["meta"]["rationalised"] for pair in pairs} == {True}
    assert all("answer is" not in pair["prompt"] for pair in pairs)
    assert {len(ids) for ids in taught_prompts} == {len("22+95=?")}
    (row,) = rows(tmp_path / "out")
    assert row["ei/rationalised"] == row["ei/filtered_samples"] == len(pairs)
    assert row["ei/avg_reward"] == 0.0  # hints do not count


def test_a_question_once_solved_is_not_asked_with_a_hint(expert, tmp_path):
    assert expert("--rationalise", "--batch-size", 6, "--num-rollouts", 2)[0] == 0
    solved: set[str] = set()
    hinted_at_all = 0
    for step in (1, 2):
        pairs = [pair["meta"] for pair in kept("out", step)]
        solved |= {pair["question"] for pair in pairs if not pair["rationalised"]}
        hinted = {r["id"] for r in written(tmp_path / "out", step) if r["rationalised"]}
        assert hinted == {r["id"] for r in written(tmp_path / "out", step)} - solved
        hinted_at_all += len(hinted)
    assert solved
    assert hinted_at_all


@pytest.mark.parametrize(
    ("flags", "changes", "told"),
    [
        ((), {"selection": None}, "give --min-reward"),
        (("--start-from", "base", "--optimizer-state", "carried"), {}, "other weights"),
        (("--hint", "no answer"), {}, "expected a text with {answer}"),
        (("--reward", "step"), {"reward": {}}, "no record has all columns"),
        (("--chunk-size", 4), {}, "must be a multiple of rollout.group_size 6"),
        (("--n-ei-steps", 0), {}, "n_ei_steps"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_loaded(
    expert, tmp_path, flags, changes, told
):
    code, _, err = expert(*flags, **changes)
    assert (code, told in err) == (2, True), err
    assert not (tmp_path / "out").exists()


@pytest.fixture
def questions(tmp_path) -> Path:
    path = tmp_path / "questions.jsonl"
    write_records(path, [problem.prompt_answer() for problem in problems(3, 5, split="train")])
    return path


def test_without_held_out_data_no_round_is_evaluated_and_it_is_said(expert, questions, tmp_path):
    flags = ("--data", questions, "--n-ei-steps", 1)
    code, out, err = expert(*flags, synthetic=None)
    assert code == 0, err
    assert "nothing is held out, so no round is evaluated" in out
    assert "ei/eval_accuracy" not in rows(tmp_path / "out")[0]
    recorded = yaml.safe_load((tmp_path / "out/config.yaml").read_text())
    assert recorded["evaluation"]["eval_every"] == 0
    code, _, err = expert(*flags, "--eval-every", 1, out="asked", synthetic=None)
    assert code == 3
    assert "no held-out split, which evaluation needs" in err


def group(*members: tuple[str, str, bool]) -> Group:
    """A group of completions by text, finish reason and whether they are right."""
    return Group(
        0,
        (1,),
        tuple(
            Scored(Completion((2,), (-1.0,), reason, 0), text, float(right), right=right)
            for text, reason, right in members
        ),
    )


STOP, CUT = "stop", "length"


def test_what_becomes_of_a_completion():
    members = group(
        ("a", STOP, True),
        ("b", STOP, False),
        (" a ", STOP, True),
        ("c", CUT, True),
        ("  ", STOP, True),
        ("d", STOP, True),
        ("a", STOP, True),
    )
    one = SelectionSection(max_per_question=1)
    assert fates_of(members, SelectionSection()) == (
        ["kept", "wrong", "duplicate", "cut_off", "wrong", "kept", "duplicate"]
    )
    assert fates_of(members, one) == (
        ["kept", "wrong", "duplicate", "cut_off", "wrong", "over_cap", "duplicate"]
    )
    assert fates_of(members, SelectionSection(deduplicate=False)).count("kept") == 4
    assert fates_of(members, SelectionSection(min_reward=2.0)).count("wrong") == 7


@pytest.mark.parametrize(
    ("weights", "text", "right"),
    [
        ((1.0, 1.0), "<think>x</think>1. \\boxed{3}", True),
        ((1.0, 1.0), "<think>x</think>1. \\boxed{4}", False),
        ((1.0, 1.0), "\\boxed{3}", False),
        ((0.0, 1.0), "\\boxed{3}", True),
        ((1.0, 0.0), "<think>x</think>1. \\boxed{4}", True),
    ],
)
def test_every_reward_that_judges_has_to_be_content(weights, text, right):
    section = RewardSection(reward=("format", "answer"), reward_weights=weights)
    (judged,) = make_rewards(section).score([text], answer=["3"], grader=["exact"])
    assert judged is not None
    assert judged.right is right


@pytest.mark.parametrize(
    ("answer", "shown"),
    [("72", "72"), ("48/2 = <<48/2=24>>24\n#### 72", "72"), ("so \\boxed{x+1}", "x+1"), ("a", "a")],
)
def test_a_hint_shows_the_final_answer_and_no_solution(answer, shown):
    assert final_answer(answer) == shown


def test_rounds_shuffle_by_seeds_of_their_own():
    seeds = [round_seed(seed, step) for seed in (1, 2) for step in (0, 1)]
    assert len(set(seeds)) == 4
    assert all(0 <= seed < 2**63 for seed in seeds)
