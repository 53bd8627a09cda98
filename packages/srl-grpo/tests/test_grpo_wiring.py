"""Whole small runs, watched: what each phase of a step hands to the next."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from srl_data.prompt_record import read_record
from srl_grpo.data.sampler import PromptSampler
from srl_grpo.learner.updater import mean_metrics
from srl_reward import render_step_output

TINY: dict[str, Any] = {
    "num_steps": 2,
    "model": {"build": {"hidden_size": 32, "num_layers": 1, "intermediate_size": 32}},
    "data": {"template": "bare", "max_prompt_length": 96},
    "synthetic": {"num_problems": 6, "num_heldout": 2, "digits": [2, 3]},
    "rollout": {
        "batch_size": 4,
        "group_size": 4,
        "max_new_tokens": 60,
        "chunk_size": 8,
        "max_starved_steps": 0,
    },
    "optimizer": {"learning_rate": 1e-3},
    "tracking": {"tensorboard": False},
}


def config(**sections) -> dict[str, Any]:
    """`TINY` with keys of its sections replaced."""
    tree = dict(TINY)
    for name, value in sections.items():
        tree[name] = {**tree.get(name, {}), **value} if isinstance(value, dict) else value
    return tree


def policy_at(seen, step: int):
    """The policy after so many steps, by plain transformers."""
    if step:
        return AutoModelForCausalLM.from_pretrained(seen.path / f"step_{step}")
    model = AutoModelForCausalLM.from_pretrained(seen.path / "step_1")
    model.load_state_dict(seen.start, strict=False)
    return model


@torch.no_grad()
def distribution(model, prompt: tuple[int, ...], ids: tuple[int, ...], temperature: float = 1.0):
    """Log-probabilities over the vocabulary before each of the tokens `ids`; shape N x V."""
    logits_TV = model(torch.tensor([[*prompt, *ids]])).logits[0]
    return (logits_TV / temperature).log_softmax(-1)[len(prompt) - 1 : -1]


def trained_rows(seen, version: int) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Prompt and completion ids of every sample made with a version of the weights."""
    return [
        (prompt, completion.token_ids)
        for call in seen.rollouts
        if call.weights_version == version
        for prompt, completion in zip(call.prompts, call.completions, strict=True)
    ]


def picked(table_NV, ids: tuple[int, ...]):
    return table_NV.gather(-1, torch.tensor(ids)[:, None])[:, 0]


# Sampling and scoring.


def test_each_completion_is_scored_against_its_own_prompt(watched, tmp_path: Path) -> None:
    seen = watched(config(num_steps=1), tmp_path / "run")
    assert len(seen.rollouts) == 2, "a round of two chunks"
    rows = seen.records(1)
    assert len({row["id"] for row in rows}) == 4
    assert [row["exact"] for row in rows] == [True, False, False, False] * 4
    assert [row["reward"] for row in rows[::4]] == [1.0] * 4
    prompts = {prompt.id: prompt for prompt in seen.trainer.prompts}
    for row in rows:
        assert row["prompt"] == prompts[row["id"]].text
        assert row["target"] == prompts[row["id"]].columns["target_step"]


def test_what_is_trained_on_are_the_prompts_with_their_own_completions(watched, tmp_path) -> None:
    rows = {"shared_prompts": "never"}
    seen = watched(config(num_steps=1, engine=rows), tmp_path / "run")
    pad = seen.trainer.tokenizer.pad_token_id
    trained = [
        tuple(token for token in row if token != pad)
        for ids in seen.forwards
        for row in ids.tolist()
    ]
    assert sorted(trained) == sorted(prompt + ids for prompt, ids in trained_rows(seen, 1))


def test_prompts_come_in_the_order_of_the_seed(watched, tmp_path: Path) -> None:
    seen = watched(config(num_steps=1), tmp_path / "run")
    other = watched(config(num_steps=1, seed=43), tmp_path / "other")
    for run, seed in ((seen, 42), (other, 43)):
        order = PromptSampler(len(run.trainer.prompts), seed).draw(4)
        asked = [row["id"] for row in run.records(1)[::4]]
        assert asked == [run.trainer.prompts[index].id for index in order]
    assert seen.records(1)[0]["id"] != other.records(1)[0]["id"]


def test_the_next_step_knows_how_many_groups_were_usable(watched, tmp_path: Path) -> None:
    """Half of the groups are alike, so that the second step's first round draws twice as many."""

    def half(prompt, sample: int) -> tuple[str, bool]:
        target = str(prompt.columns["target_step"])
        alike = prompt.index % 2 == 0
        text = target if alike or sample == 0 else target + "7"
        return render_step_output("so", text), True

    tree = config(num_steps=2, rollout={"batch_size": 2, "max_rounds": 8})
    state = watched(tree, tmp_path / "run", script=half).trainer.progress
    assert 0.2 < state.keep_rate.usable / state.keep_rate.sampled < 0.8


def test_the_count_of_starved_steps_ends_with_an_update(watched, tmp_path: Path) -> None:
    script, tree = Starving(), config(num_steps=3, rollout={"max_rounds": 1})
    seen = watched(tree, tmp_path / "run", script=script, before=script.watch)
    assert [m["sampling/starved_steps"] for m in seen.metrics] == [1.0, 2.0, 0.0]
    assert seen.trainer.state.updates == 1


class Starving:
    """Completions that are alike until the third step."""

    trainer: Any = None

    def watch(self, trainer) -> None:
        self.trainer = trainer

    def __call__(self, prompt, sample: int) -> tuple[str, bool]:
        alike = self.trainer.state.step < 2 or sample == 0
        target = str(prompt.columns["target_step"])
        return render_step_output("so", target if alike else target + "7"), True


def test_every_completion_of_a_run_has_a_seed_of_its_own(watched, tmp_path: Path) -> None:
    tree = config(rollout={"max_rounds": 3})
    seen = watched(tree, tmp_path / "run", script=lambda *_: ("no", True))
    other = watched(config(num_steps=1, seed=43), tmp_path / "other")
    seeds, others = ([n for c in run.rollouts for n in c.seeds] for run in (seen, other))
    assert [m["sampling/rounds"] > 1 for m in seen.metrics] == [True, True]
    assert len(set(seeds)) == len(seeds) == sum(len(seen.records(step)) for step in (1, 2))
    assert not set(others) & set(seeds)


def test_held_out_steps_are_sampled_once_and_decoded_greedily_once(watched, tmp_path) -> None:
    rollout = {"temperature": 0.7, "top_p": 0.9}
    seen = watched(
        config(num_steps=1, rollout=rollout, evaluation={"eval_every": 1}),
        tmp_path / "run",
        script=lambda prompt, _: render(prompt),
    )
    asked = [(c.sampling.temperature, c.sampling.top_p) for c in seen.evaluations]
    cold = asked.index((0.0, 1.0))
    assert set(asked[:cold]) == {(0.7, 0.9)}
    assert set(asked[cold:]) == {(0.0, 1.0)}
    held = [tuple(prompt.ids) for prompt in seen.trainer.held_out.prompts]
    assert [ids for call in seen.evaluations[:cold] for ids in call.prompts] == held
    greedy = [ids for call in seen.evaluations[cold:] for ids in call.prompts]
    assert greedy[: len(held)] == held
    assert seen.metrics[0]["eval/reward"] == seen.metrics[0]["eval/greedy_exact"] == 1.0


def test_held_out_prompts_keep_their_seeds_from_one_evaluation_to_the_next(
    watched, tmp_path: Path
) -> None:
    seen = watched(config(evaluation={"eval_every": 1}), tmp_path / "run")
    sampled = [call.seeds for call in seen.evaluations if call.sampling.temperature]
    assert sampled[: len(sampled) // 2] == sampled[len(sampled) // 2 :]
    seeds = [seed for seeds in sampled[: len(sampled) // 2] for seed in seeds]
    assert len(set(seeds)) == len(seeds) == len(seen.trainer.held_out.prompts)


@pytest.mark.parametrize("start", [1, 2])
def test_a_held_out_problem_is_solved_by_a_chain_of_own_steps(
    watched, tmp_path: Path, start: int
) -> None:
    seen = watched(
        config(num_steps=1, evaluation={"eval_every": 1, "chain_start": start}),
        tmp_path / "run",
        script=lambda prompt, sample: render(prompt) if sample == 0 else ("no", True),
    )
    assert seen.metrics[0]["eval/final_answer"] == 1.0
    held = seen.trainer.held_out.prompts
    greedy = [ids for c in seen.evaluations if c.sampling.greedy for ids in c.prompts]
    chains = greedy[len(held) :]
    # The expert's own steps: the prompts of a chain are those of the data, a step after another.
    later = [prompt for prompt in held if prompt.columns["step_index"] >= start]
    assert sorted(chains) == sorted(tuple(prompt.ids) for prompt in later)


def render(prompt, sample: int = 0) -> tuple[str, bool]:
    """The expert's step, always."""
    step = "no" if isinstance(prompt, str) else str(prompt.columns["target_step"])
    return render_step_output("carry", step), True


def some_alike(prompt, sample: int) -> tuple[str, bool]:
    """Groups of every other prompt are right throughout; of the rest, one sample in four."""
    return render(prompt) if prompt.index % 2 or sample == 0 else ("no", True)


def test_reward_and_lengths_are_those_of_every_group_seen(watched, tmp_path: Path) -> None:
    seen = watched(config(num_steps=1), tmp_path / "run", script=some_alike)
    (metrics,), rows = seen.metrics, seen.records(1)
    assert {row["kept"] for row in rows} == {True, False}
    assert metrics["reward"] == pytest.approx(sum(row["reward"] for row in rows) / len(rows))
    assert metrics["reward/exact"] == sum(row["exact"] for row in rows) / len(rows)
    assert metrics["completions/mean_length"] == pytest.approx(
        sum(row["tokens"] for row in rows) / len(rows)
    )
    assert metrics["num_tokens"] == sum(row["tokens"] for row in rows)


def test_tokens_and_epochs_are_counted_over_the_whole_run(watched, tmp_path: Path) -> None:
    seen = watched(config(num_steps=3), tmp_path / "run")
    tokens = [sum(row["tokens"] for row in seen.records(step)) for step in (1, 2, 3)]
    assert [m["num_tokens"] for m in seen.metrics] == [
        tokens[0],
        sum(tokens[:2]),
        sum(tokens),
    ]
    size = len(seen.trainer.prompts)
    assert [m["epoch"] for m in seen.metrics] == pytest.approx([4 / size, 8 / size, 12 / size])


# The update.


def test_every_step_samples_from_the_weights_after_the_one_before(watched, tmp_path) -> None:
    seen = watched(config(num_steps=3), tmp_path / "run")
    assert [call.weights_version for call in seen.rollouts] == [1, 1, 2, 2, 3, 3]
    assert all(m["sampling/logprob_difference"] < 1e-5 for m in seen.metrics)


def test_the_copy_that_samples_under_zero_3_is_the_policy_in_its_own_type(
    watched, tmp_path: Path
) -> None:
    tree = config(
        model={"dtype": "bfloat16"},
        engine={"zero_stage": 3},
        optimizer={"learning_rate": 0.01},
        checkpoint={"checkpoint_every": 1},
    )
    seen = watched(tree, tmp_path / "run")
    sampled = dict(seen.engine.model.named_parameters())
    assert {value.dtype for value in sampled.values()} == {torch.bfloat16}
    before, after = (
        dict(
            AutoModelForCausalLM.from_pretrained(
                seen.path / f"step_{step}", dtype=torch.bfloat16
            ).named_parameters()
        )
        for step in (1, 2)
    )
    for name, value in after.items():
        assert torch.equal(value, sampled[name]), name
    assert not all(torch.equal(value, before[name]) for name, value in after.items())


@pytest.mark.parametrize("stage", [1, 2, 3])
def test_bfloat16_is_trained_through_float32_masters(watched, tmp_path: Path, stage: int) -> None:
    # A rate so small that no bfloat16 weight would move by it.
    tree = config(
        num_steps=1,
        model={"dtype": "bfloat16"},
        engine={"zero_stage": stage},
        optimizer={"learning_rate": 1e-6},
    )
    seen = watched(tree, tmp_path / "run")
    assert seen.settings[0]["bf16"]["enabled"] is True
    assert {frozenset(step.dtypes) for step in seen.steps} == {frozenset({torch.float32})}


def test_the_gradient_norm_of_several_optimizer_steps_is_their_plain_mean() -> None:
    steps = [(3.0, {"loss": 1.0, "grad_norm": 1.0}), (1.0, {"loss": 5.0, "grad_norm": 4.0})]
    assert mean_metrics(steps) == {"loss": 2.0, "grad_norm": 2.5}


def test_entropy_and_loss_are_means_over_the_tokens_of_the_batch(watched, tmp_path: Path) -> None:
    tree = config(
        num_steps=1,
        engine={"micro_batch_tokens": 150, "shared_prompts": "never"},
        rollout={"temperature": 0.7},
        algorithm={"advantage_eps": 0.25},
    )
    seen = watched(tree, tmp_path / "run")
    assert len(seen.forwards) > 2, "several micro-batches"
    start = policy_at(seen, 0)
    tables = [distribution(start, *row, temperature=0.7) for row in trained_rows(seen, 1)]
    entropies_N = torch.cat([-(table.exp() * table).sum(-1) for table in tables])
    assert seen.metrics[0]["entropy"] == pytest.approx(entropies_N.mean().item(), rel=1e-4)
    advantages = [row["advantage"] for row in seen.records(1)]
    lengths = [row["tokens"] for row in seen.records(1)]
    gain = sum(a * n for a, n in zip(advantages, lengths, strict=True)) / sum(lengths)
    assert seen.metrics[0]["loss"] == pytest.approx(-gain, abs=1e-5)


def test_with_sequence_means_every_completion_weighs_the_same(watched, tmp_path: Path) -> None:
    tree = config(num_steps=1, algorithm={"loss": "grpo"})
    seen = watched(tree, tmp_path / "run")
    advantages = [row["advantage"] for row in seen.records(1)]
    assert seen.metrics[0]["loss"] == pytest.approx(-sum(advantages) / 16, abs=1e-5)
    assert seen.metrics[0]["loss"] == pytest.approx(0.0, abs=1e-5)
    start = policy_at(seen, 0)
    tables = [distribution(start, *row) for row in trained_rows(seen, 1)]
    means = [-(table.exp() * table).sum(-1).mean().item() for table in tables]
    assert seen.metrics[0]["entropy"] == pytest.approx(sum(means) / 16, rel=1e-4)


def test_the_kl_term_refers_to_the_policy_that_the_run_began_with(watched, tmp_path) -> None:
    tree = config(
        algorithm={"beta": 0.1},
        rollout={"temperature": 0.7},
        optimizer={"learning_rate": 0.01},
        checkpoint={"checkpoint_every": 1},
    )
    seen = watched(tree, tmp_path / "run")
    assert seen.metrics[0]["kl"] == pytest.approx(0.0, abs=1e-6)
    start, policy = policy_at(seen, 0), policy_at(seen, 1)
    terms = []
    for prompt, ids in trained_rows(seen, 2):
        now, then = (
            picked(distribution(model, prompt, ids, 0.7), ids) for model in (policy, start)
        )
        terms.append((then - now).expm1() - (then - now))
    expected = torch.cat(terms).mean().item()
    assert expected > 1e-3
    assert seen.metrics[1]["kl"] == pytest.approx(expected, rel=1e-3)
    advantages = [row["advantage"] for row in seen.records(2)]
    lengths = [row["tokens"] for row in seen.records(2)]
    gain = sum(a * n for a, n in zip(advantages, lengths, strict=True)) / sum(lengths)
    assert seen.metrics[1]["loss"] == pytest.approx(-gain + 0.1 * expected, rel=1e-3)


@pytest.mark.parametrize(
    ("low", "high", "cut"), [(1e-6, 0.9, "low"), (0.9, 1e-6, "high"), (0.9, 5.0, None)]
)
def test_the_clip_range_has_the_bounds_of_the_config(watched, tmp_path, low, high, cut) -> None:
    algorithm = {"ppo_steps": 2, "epsilon_low": low, "epsilon_high": high}
    seen = watched(config(num_steps=1, algorithm=algorithm), tmp_path / "run")
    found = {name: seen.metrics[0][f"clip_ratio/{name}_mean"] > 0.01 for name in ("low", "high")}
    assert found == {name: name == cut for name in ("low", "high")}


def test_the_samplers_log_probabilities_correct_the_loss_up_to_the_cap(watched, tmp_path) -> None:
    """A sampler off by 0.01 weighs every token by exp(-0.01), unless the cap is below."""
    apart = {"max_logprob_difference": 0}  # as far as it likes
    plain, corrected, capped = (
        watched(
            config(num_steps=1, algorithm={"sampler_cap": cap, **apart}),
            tmp_path / name,
            shift=0.01,
        )
        for name, cap in (("plain", None), ("corrected", 2.0), ("capped", 0.5))
    )
    loss = plain.metrics[0]["loss"]
    assert abs(loss) > 0.01
    assert corrected.metrics[0]["loss"] == pytest.approx(loss * 0.990050, rel=1e-4)
    assert capped.metrics[0]["loss"] == pytest.approx(loss * 0.5, rel=1e-4)
    assert plain.metrics[0]["sampling/logprob_difference"] == pytest.approx(0.01, rel=1e-3)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [1.0, 1.0, 1.0, 1.0]),
        ({"schedule": "linear"}, [1.0, 0.75, 0.5, 0.25]),
        ({"schedule": "cosine"}, [1.0, 0.8535534, 0.5, 0.1464466]),
        ({"schedule": "cosine", "warmup_steps": 2}, [0.5, 1.0, 1.0, 0.5]),
    ],
)
def test_the_optimizer_takes_the_scheduled_rate(watched, tmp_path, options, expected) -> None:
    seen = watched(config(num_steps=4, optimizer=options), tmp_path / "run")
    rates = [1e-3 * share for share in expected]
    assert [step.rate for step in seen.steps] == pytest.approx(rates)
    assert [m["learning_rate"] for m in seen.metrics] == pytest.approx(rates)


# Checkpoints.


def test_a_checkpoint_says_how_its_model_was_prompted(watched, tmp_path: Path) -> None:
    seen = watched(config(num_steps=1), tmp_path / "run")
    record = read_record(seen.path / "step_1")
    assert record is not None
    assert record.name == "bare"


def test_every_file_is_on_the_disk_before_the_manifest_says_so(
    watched, tmp_path, monkeypatch
) -> None:
    real, flushed = os.fsync, []

    def fsync(handle: int) -> None:
        flushed.append(Path(f"/proc/self/fd/{handle}").readlink())
        real(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    seen = watched(config(num_steps=1), tmp_path / "run")
    folder = seen.path / "step_1"
    files = json.loads((folder / "MANIFEST.json").read_text())["files"]
    names = [path.name for path in flushed]
    sealed = next(n for n, name in enumerate(names) if "MANIFEST" in name)
    before = {str(path).partition("step_1.tmp/")[2] for path in flushed[:sealed]}
    assert len(files) > 5
    assert set(files) - before == set()


def test_the_best_checkpoint_is_the_one_with_the_highest_held_out_reward(watched, tmp_path) -> None:
    """Nothing right at first, everything in the middle, half of it at the end."""
    evaluations = []

    def script(prompt, sample: int) -> tuple[str, bool]:
        if isinstance(prompt, str) or prompt.columns["problem"] in train:
            return render(prompt) if sample == 0 else ("no", True)
        evaluations.append(prompt.id)
        turn = (len(evaluations) - 1) // (2 * count)  # sampled and greedy
        right = turn == 1 or (turn == 2 and len(evaluations) % 2)
        return render(prompt) if right else ("no", True)

    train: set[object] = set()

    def look(trainer) -> None:
        nonlocal count
        count = len(trainer.held_out.prompts)
        train.update(prompt.columns["problem"] for prompt in trainer.prompts)

    count = 0
    tree = config(
        num_steps=3,
        synthetic={"num_heldout": 3},
        evaluation={"eval_every": 1},
        checkpoint={"checkpoint_every": 0, "keep_last": 1},
    )
    seen = watched(tree, tmp_path / "run", script=script, before=look)
    rewards = [m["eval/reward"] for m in seen.metrics]
    assert rewards[1] == 1.0
    assert rewards[0] == -1.0 < rewards[2] < 1.0
    best = json.loads((seen.path / "best.json").read_text())
    assert (best["step"], best["value"]) == (2, 1.0)
    assert sorted(path.name for path in seen.path.glob("step_*")) == ["step_2", "step_3"]


def test_a_resumed_run_goes_on_with_the_prompts_counts_and_moments_of_the_first(
    watched, tmp_path
) -> None:
    tree = config(
        num_steps=4,
        algorithm={"beta": 0.1, "ppo_steps": 2, "train_batch_size": 6},
        evaluation={"eval_every": 2},
        checkpoint={"checkpoint_every": 2},
    )
    whole = watched(tree, tmp_path / "whole")
    watched({**tree, "num_steps": 2}, tmp_path / "parts")
    again = {**tree, "checkpoint": {"checkpoint_every": 2, "resume": "auto"}}
    parts = watched(again, tmp_path / "parts")
    assert without_times(parts) == without_times(whole)
    for step in (3, 4):
        assert parts.records(step) == whole.records(step)
    sampled = [call.prompts for call in whole.rollouts][-len(parts.rollouts) :]
    assert [call.prompts for call in parts.rollouts] == sampled
    one, other = (seen.path / "step_4" / "model.safetensors" for seen in (parts, whole))
    assert one.read_bytes() == other.read_bytes()


def without_times(seen) -> list[dict[str, float]]:
    clocked = ("time", "step_time", "tokens_per_second")
    return [
        {n: v for n, v in m.items() if n not in clocked and not n.startswith("time/")}
        for m in seen.metrics
    ]
