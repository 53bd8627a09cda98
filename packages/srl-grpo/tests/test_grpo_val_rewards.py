"""Several samples of each held-out prompt, pass@k, and rewards by their parts."""

import pytest

from srl_data.records import PromptAnswer, write_records
from srl_grpo.heldout.before_after import summary_table
from srl_grpo.heldout.evaluation import val_rewards
from srl_reward import render_step_output

RUN = {
    "num_steps": 1,
    "model": {"build": {"hidden_size": 16, "num_layers": 1, "max_positions": 400}},
    "rollout": {"batch_size": 2, "group_size": 4, "max_new_tokens": 60, "chunk_size": 4},
    "tracking": {"tensorboard": False},
}


def thought(box: str) -> str:
    return f"<think>so</think> \\boxed{{{box}}}"


@pytest.fixture
def answered(tmp_path):
    """Four training problems and three held-out ones, whose right answers are 2n."""
    paths = {}
    for name, numbers in (("train", range(20, 24)), ("val", range(30, 33))):
        paths[name] = tmp_path / f"{name}.jsonl"
        records = [
            PromptAnswer(id=f"{name}/{n}", problem=f"{n}+{n}=?", answer=str(2 * n)) for n in numbers
        ]
        write_records(paths[name], records)
    data = {"path": str(paths["train"]), "val_path": str(paths["val"])}
    return {**RUN, "data": {**data, "template": "question_only", "max_prompt_length": 96}}


def script(prompt, sample: int) -> tuple[str, bool]:
    """Problem 30 + r is right in its first r samples, in form but wrong in one more."""
    if prompt.id.startswith("train"):
        return [(thought(prompt.columns["answer"]), True), ("no", True)][sample % 2]
    right = int(prompt.id.removeprefix("val/")) - 30
    if sample < right:
        return thought(prompt.columns["answer"]), True
    return (thought("7") if sample == right else "no"), True


def test_samples_of_a_held_out_prompt_give_means_and_pass_at_k(watched, tmp_path, answered):
    tree = {
        **answered,
        "reward": {"reward": "boxed_think"},
        "evaluation": {"eval_every": 1, "eval_samples": 4, "before_after": True},
    }
    seen = watched(tree, tmp_path / "run", script=script)
    (metrics,) = seen.metrics
    # Right among four samples: 0, 1 and 2; in form: 1, 2 and 3.
    expected = {
        "eval/reward": 3 / 12,
        "eval/exact": 3 / 12,
        "eval/reward_answer": 3 / 12,
        "eval/reward_format": 6 / 12,
        "val_reward_total": 3 / 12,
        "val_reward_answer": 3 / 12,
        "val_reward_format": 6 / 12,
        "eval/pass@1": 3 / 12,
        "eval/pass@2": (0 + 3 / 6 + 5 / 6) / 3,
        "eval/pass@4": 2 / 3,
        "eval/greedy_reward": 2 / 3,  # one sample each, as is the greedy one
        "train_reward_total": 0.5,
        "train_reward_answer": 0.5,
        "train_reward_format": 0.5,
    }
    assert {name: metrics[name] for name in expected} == pytest.approx(expected)
    held = [tuple(prompt.ids) for prompt in seen.trainer.held_out.prompts]
    asked = [
        (ids, seed)
        for call in seen.engine.calls
        if call.sampling.temperature and set(call.prompts) <= set(held)
        for ids, seed in zip(call.prompts, call.seeds, strict=True)
    ]
    once = asked[: len(asked) // 3]  # before, in and after the only step
    assert [ids for ids, _ in once] == [ids for ids in held for _ in range(4)]
    assert once == asked[len(once) : 2 * len(once)]
    assert len({seed for _, seed in once}) == 12


def test_the_first_sample_has_the_same_seed_however_many_there_are(watched, tmp_path, answered):
    found = {}
    for count in (1, 3):
        evaluation = {"eval_every": 1, "eval_samples": count}
        tree = {**answered, "reward": {"reward": "boxed_think"}, "evaluation": evaluation}
        tree["rollout"] = {**RUN["rollout"], "chunk_size": None}
        seen = watched(tree, tmp_path / str(count), script=script)
        held = {tuple(prompt.ids) for prompt in seen.trainer.held_out.prompts}
        (call,) = (
            c for c in seen.engine.calls if c.sampling.temperature and set(c.prompts) <= held
        )
        assert len(set(call.seeds)) == 3 * count
        found[count] = list(zip(call.prompts, call.seeds, strict=True))[::count]
        assert ("eval/pass@1" in seen.metrics[0]) == (count > 1)
    assert found[1] == found[3]


@pytest.mark.parametrize(
    ("rewards", "parts"),
    [
        (["exact"], {"answer": 0.5}),
        (["format", "exact"], {"answer": 0.5, "format": 0.25}),
        (["exact", "format"], {"answer": 0.5, "format": 0.25}),
        (["boxed_think", "exact"], {"answer": 0.25, "format": 0.25}),
    ],
)
def test_parts_come_from_whichever_reward_tells_them(watched, tmp_path, answered, rewards, parts):
    """Of two that tell the same part the first one's; weights are the total's alone."""

    def mixed(prompt, sample: int) -> tuple[str, bool]:
        box = f"\\boxed{{{prompt.columns['answer']}}}"
        return [f"<think>so</think> {box}", f"no {box}", "no", "12"][sample % 4], True

    section = {"reward": rewards, "reward_weights": [3.0, 0.5][: len(rewards)]}
    seen = watched({**answered, "reward": section}, tmp_path / "run", script=mixed)
    (metrics,) = seen.metrics
    assert metrics["train_reward_total"] == metrics["reward"]
    found = {
        name: metrics[f"train_reward_{name}"]
        for name in ("answer", "format")
        if f"train_reward_{name}" in metrics
    }
    assert found == parts


def test_steps_have_no_parts(watched, tmp_path):
    tree = {
        **RUN,
        "data": {"template": "bare", "max_prompt_length": 96},
        "synthetic": {"num_problems": 3, "num_heldout": 2},
        "evaluation": {"eval_every": 1},
    }
    seen = watched(
        tree,
        tmp_path / "run",
        script=lambda p, n: (render_step_output("so", p.columns["target_step"] + "1" * n), True),
    )
    (metrics,) = seen.metrics
    assert metrics["val_reward_total"] == metrics["eval/reward"]
    assert not {"train_reward_answer", "val_reward_answer", "eval/reward_answer"} & metrics.keys()


def test_names_of_val_rewards():
    assert val_rewards({"reward": 0.5, "reward_format": 1.0, "exact": 0.5}) == {
        "val_reward_total": 0.5,
        "val_reward_format": 1.0,
    }
    assert val_rewards({"loss": 0.5}) == {}


def test_a_metric_of_one_end_alone_is_not_compared():
    table = summary_table({"pass@2": 0.5, "reward": 0.1}, {"reward": 0.2}, {"reward": (0.0, 0.2)})
    assert table.row_count == 1


def test_samples_are_counted_from_one(call, tiny):
    code, _, errors = call("train", "--config", tiny(), "--eval-samples", 0, "--dry-run")
    assert code == 2
    assert "--eval-samples" in errors
    assert "greater than or equal to 1" in errors
