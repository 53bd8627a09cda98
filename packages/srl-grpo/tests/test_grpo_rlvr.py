"""The command of reinforcement learning on answers, word for word, on a folder of native splits.

The checkpoint that it starts from comes from `srl-grpo sft`: a small model that writes the format
and is right about every other time.
"""

import json
import re
import shlex

import pytest
import yaml

from srl_grpo.config.sections import BuildSection
from srl_grpo.run.checkpoint import read_state, steps_of, verify
from srl_grpo.run.directory import RunDirectory, read_rollouts
from srl_grpo.toy.model import build_model

CHAT = (
    "{% for m in messages %}{{ m['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}=={% endif %}"
)
COMMAND = (
    "train --reward boxed_think --data data --problem-field problem --answer-field answer "
    "--template chat --sft-checkpoint DIR --output-dir OUT --num-epochs 1 --batch-size 1 "
    "--group-size 4 --ppo-steps 2 --max-new-tokens 16 --sampling-temperature 0.7 --top-p 0.9 "
    "--learning-rate 1e-5 --train-max-samples 6 --test-max-samples 4 --eval-steps 2 "
    "--saving-steps 3 --logging-steps 5 --seed 42 --use-base-kl --kl-penalty 0.02"
)
"""As it stands in the guide, a local folder in the place of the hub's data and sizes for a test."""


def write_lines(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory, world):
    """`final/` of a supervised run over right and wrong answers alike."""
    from srl_grpo import SftConfig, sft

    folder = tmp_path_factory.mktemp("checkpoint")
    build = BuildSection(
        hidden_size=32, num_heads=2, num_kv_heads=2, num_layers=1, max_positions=4096
    )
    model, tokenizer = build_model(build, seed=1)
    tokenizer.chat_template = CHAT
    model.save_pretrained(folder / "model")
    tokenizer.save_pretrained(folder / "model")
    rows = [
        {"prompt": f"{n}+1=?", "response": f"<think>join</think> \\boxed{{{answer}}}"}
        for n in range(1, 5)
        for answer in (n + 1, 7)
    ]
    write_lines(folder / "pairs.jsonl", rows)
    tree = {
        "model": {"path": str(folder / "model")},
        "data": {"path": str(folder / "pairs.jsonl"), "template": "chat", "max_seq_len": 48},
        "num_steps": 70,
        "batch_size": 8,
        "engine": {"gradient_accumulation_steps": 1},
        "optimizer": {"learning_rate": 1e-2},
        "tracking": {"tensorboard": False},
        "output_dir": str(folder / "sft"),
    }
    with pytest.MonkeyPatch.context() as patch:
        from srl_grpo.learner import distributed

        patch.setattr(distributed, "start", lambda: world)
        patch.setattr(distributed, "stop", lambda: None)
        sft(SftConfig.model_validate(tree))
    return folder / "sft" / "final"


@pytest.fixture
def command(tmp_path, checkpoint):
    """The command's words, with the data that it names in the working folder."""
    for split, numbers in (("train", range(1, 9)), ("test", range(1, 6))):
        rows = [{"problem": f"{n % 4 + 1}+1=?", "answer": str(n % 4 + 2)} for n in numbers]
        write_lines(tmp_path / "data" / f"{split}.jsonl", rows)
    return shlex.split(COMMAND.replace("DIR", str(checkpoint)))


def test_the_command_works_as_it_is_written(call, command, tmp_path):
    code, out, errors = call(*command)
    assert code == 0, errors
    run = tmp_path / "OUT"
    config = yaml.safe_load((run / "config.yaml").read_text())
    told = {
        ("reward", "reward"): ["boxed_think"],
        ("data", "problem_field"): "problem",
        ("data", "answer_field"): "answer",
        ("data", "template"): "chat",
        ("data", "train_max_samples"): 6,
        ("rollout", "batch_size"): 1,
        ("rollout", "group_size"): 4,
        ("rollout", "max_new_tokens"): 16,
        ("rollout", "temperature"): 0.7,
        ("rollout", "top_p"): 0.9,
        ("algorithm", "ppo_steps"): 2,
        ("algorithm", "beta"): 0.02,
        ("optimizer", "learning_rate"): 1e-5,
        ("evaluation", "eval_every"): 2,
        ("evaluation", "eval_limit"): 4,
        ("checkpoint", "checkpoint_every"): 3,
        ("tracking", "logging_steps"): 5,
    }
    assert {path: config[path[0]][path[1]] for path in told} == told
    assert (config["num_epochs"], config["num_steps"], config["seed"]) == (1, None, 42)

    metrics = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    steps = [line["step"] for line in metrics]
    assert steps == list(range(1, len(steps) + 1))
    state = read_state(run / f"step_{len(steps)}")
    assert (state.inputs.train_prompts, state.inputs.val_prompts) == (6, 4)
    assert state.stage_state["position"] >= 6  # the epoch is over, prompts of refills counted
    drawn = sum(line["sampling/prompts_per_kept_group"] for line in metrics if line["loss"])
    assert len(metrics) <= 6 <= drawn
    assert [line["step"] for line in metrics if "val_reward_total" in line] == steps[1::2]
    assert [line["step"] for line in metrics if "eval/reward" in line] == steps[1::2]
    assert set(steps[2::3]) <= set(steps_of(run)) <= {*steps[2::3], *steps[1::2], steps[-1]}
    for line in metrics:
        assert 0 < line["train_reward_answer"] <= line["train_reward_format"]
        assert line["train_reward_total"] == line["reward"] == line["train_reward_answer"]
        assert line["sampling/logprob_difference"] < 1e-4  # within the sets that were kept
        assert line["sampling/kept_tokens"] > 1
        assert line["kl"] >= 0
    assert metrics[-1]["kl"] > 0  # it has moved away from the checkpoint
    prompts = {
        row["prompt"]
        for path in RunDirectory(run).rollout_files().values()
        for row in read_rollouts(path)
    }
    assert prompts <= {f"{n}+1=?\n==" for n in range(1, 5)}  # the problem alone, as the chat has it
    verify(run / f"step_{len(steps)}")
    assert (run / "final" / "model.safetensors").is_file()
    shown = {int(step) for step in re.findall(r"^step +(\d+)/", out, flags=re.MULTILINE)}
    assert shown == {1, steps[-1], *steps[1::2], *steps[4::5]}


@pytest.mark.parametrize(
    ("instead", "message"),
    [
        ({"--reward": "boxed_thinking"}, "did you mean 'boxed_think'?"),
        ({"--problem-field": "question"}, "no column 'question' (--problem-field)"),
        ({"--answer-field": "gold"}, "no column 'gold' (--answer-field)"),
        ({"--template": "chatt"}, "unknown template 'chatt'"),
        ({"--sft-checkpoint": "nowhere"}, "nowhere"),
        ({"--data": "nothing"}, "nothing"),
        ({"--num-epochs": "0"}, "greater than or equal to 1"),
        ({"--num-epochs": "1 --num-steps 3"}, "both say how long to train"),
        ({"--batch-size": "2 --rollout-batch-size 4"}, "is not batch_size 2 x group_size 4 = 8"),
        ({"--batch-size": "3 --rollout-batch-size 6"}, "is not a multiple of group_size 4"),
        ({"--group-size": "1"}, "give --group-size 2 or more, or --baseline none"),
        ({"--ppo-steps": "0"}, "greater than or equal to 1"),
        ({"--max-new-tokens": "0"}, "greater than or equal to 1"),
        ({"--max-new-tokens": "100000"}, "exceed"),
        ({"--sampling-temperature": "0"}, "greater than or equal to 0.000001"),
        ({"--top-p": "0"}, "greater than 0"),
        ({"--learning-rate": "0"}, "greater than 0"),
        ({"--train-max-samples": "0"}, "greater than or equal to 1"),
        ({"--test-max-samples": "0"}, "greater than or equal to 1"),
        ({"--eval-steps": "-1"}, "greater than or equal to 0"),
        ({"--saving-steps": "-1"}, "greater than or equal to 0"),
        ({"--logging-steps": "0"}, "greater than or equal to 1"),
        ({"--seed": "-1"}, "greater than or equal to 0"),
        ({"--kl-penalty": "0"}, "use_base_kl"),
        ({"--kl-penalty": "-1"}, "greater than or equal to 0"),
        (
            {"--ppo-steps": "2 --gradient-accumulation-steps 3"},
            "cannot be cut into 3 micro-batches of one size",
        ),
        (
            {"--ppo-steps": "2 --gradient-accumulation-steps 2 --micro-batch-tokens 99"},
            "either says where a micro-batch ends",
        ),
    ],
    ids=lambda value: " ".join(map("=".join, value.items())) if isinstance(value, dict) else None,
)
def test_each_flag_refuses_what_it_cannot_mean(call, command, instead, message):
    for flag, value in instead.items():
        command[command.index(flag) + 1] = value
    code, _, errors = call(*shlex.split(" ".join(command)))
    assert code in (2, 3), errors
    assert message in " ".join(errors.split()), errors
    assert "Traceback" not in errors
