"""What is subtracted from rewards before advantages, and completions that are not trained on."""

import copy
import math
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from srl_grpo.config.train import TrainConfig
from srl_grpo.learner.batch import Sample
from srl_grpo.rollout.algorithm import FinishedOnly, GroupRelative, NoBaseline, samples_of
from srl_grpo.rollout.penalties import OverlongPenalty, Penalised, penalised, soft_overlong
from srl_reward import render_step_output

LONGEST = 60
TINY: dict[str, Any] = {
    "num_steps": 1,
    "model": {"build": {"hidden_size": 32, "num_layers": 1, "intermediate_size": 32}},
    "data": {"template": "bare", "max_prompt_length": 96},
    "synthetic": {"num_problems": 6, "num_heldout": 2, "digits": [2, 3]},
    "rollout": {
        "batch_size": 2,
        "group_size": 4,
        "max_new_tokens": LONGEST,
        "max_starved_steps": 0,
    },
    "optimizer": {"learning_rate": 1e-2},
    "tracking": {"tensorboard": False},
}


def one_of_each_length(prompt, sample: int) -> tuple[str, bool]:
    """The expert's step behind a longer and longer thought; the last one is cut off."""
    target = str(prompt.columns["target_step"])
    text = render_step_output("c" * (1 + 9 * sample), target[: len(target) - sample])
    return text[:LONGEST], sample < 3


def cut_off(prompt, sample: int) -> tuple[str, bool]:
    """Nothing comes to its end; with a reward that knows no length the rewards differ."""
    target = str(prompt.columns["target_step"])
    return render_step_output("c", target[: len(target) - sample]), False


def by_group(rows: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """The records of groups that were trained on."""
    found: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        if row["kept"]:
            found.setdefault(row["id"], []).append(row)
    return list(found.values())


def advantages_of(values: list[float]) -> list[float]:
    return [(value - mean(values)) / (stdev(values) + 1e-4) for value in values]


@given(st.integers(0, 40), st.integers(1, 30), st.integers(1, 30))
def test_the_soft_penalty_is_the_papers(length: int, longest: int, buffer: int) -> None:
    """DAPO, equation 13, with its sign turned: 0, (|y| - (Lmax - Lcache)) / Lcache, 1."""
    buffer = min(buffer, longest)
    found = soft_overlong(length, longest, buffer)
    if length <= longest - buffer:
        assert found == 0.0
    elif length <= longest:
        assert found == pytest.approx(-((longest - buffer) - length) / buffer)
    else:
        assert found == 1.0


def test_the_soft_penalty_by_hand() -> None:
    assert [soft_overlong(n, 10, 4) for n in (0, 6, 7, 8, 9, 10, 11)] == [
        *(0.0, 0.0, 0.25, 0.5, 0.75, 1.0, 1.0),
    ]


def test_advantages_are_those_of_the_rewards_less_the_penalties(make_group) -> None:
    groups = [
        make_group([1.0, 0.0], completions=[(7,) * 8, (7, 0)]),
        make_group([2.0, 0.0], completions=[(7, 0), (7,) * 10]),
    ]
    algorithm = GroupRelative(advantage_eps=1e-9)
    samples = samples_of(groups, algorithm)
    overlong = OverlongPenalty(10, 4, whole=2.0)
    found, metrics = penalised(samples, groups, algorithm, [overlong, overlong])
    assert [s.penalty for s in found] == [2.0, 0.0, 0.0, 4.0]  # twice 1 of 8, 2 of 10 tokens
    half = 0.5**0.5
    # Rewards of -1 and 0, then of 2 and -4.
    assert [s.advantage for s in found] == pytest.approx([-half, half, half, -half])
    assert metrics == {"penalty/overlong": 0.75}
    assert [m.reward for g in groups for m in g.members] == [1.0, 0.0, 2.0, 0.0]
    assert penalised(samples, groups, algorithm, []) == (samples, {})


def test_penalties_are_taken_from_the_reward_itself_without_a_baseline(make_group) -> None:
    groups = [make_group([1.0], completions=[(7,) * 9])]
    samples = samples_of(groups, NoBaseline())
    found, _ = penalised(samples, groups, NoBaseline(), [OverlongPenalty(10, 4)])
    assert found[0].advantage == 0.25


def test_what_a_penalty_found_out_of_a_sample_goes_on(make_group) -> None:
    groups = [make_group([1.0, 0.0])]

    def scored(samples) -> Penalised:
        known = [Sample(s.prompt_ids, s.completion_ids, old_logprobs=(-1.0,) * 2) for s in samples]
        return Penalised(known, [0.0, 1.0], {})

    algorithm = GroupRelative()
    found, _ = penalised(samples_of(groups, algorithm), groups, algorithm, [scored])
    assert [s.old_logprobs for s in found] == [(-1.0, -1.0)] * 2


def test_a_run_penalises_length_as_its_options_say(watched, tmp_path: Path) -> None:
    options = {"overlong_buffer": 30, "overlong_length": 56, "overlong_penalty": 0.5}
    seen = watched({**TINY, "algorithm": options}, tmp_path / "run", script=one_of_each_length)
    plain = watched(TINY, tmp_path / "plain", script=one_of_each_length)
    rows = seen.records(1)
    penalties = {row["penalty"] for row in rows}
    assert len(penalties) > 2
    for group in by_group(rows):
        taken = [0.5 * min(1.0, max(0, row["tokens"] - 26) / 30) for row in group]
        assert [row["penalty"] for row in group] == pytest.approx(taken)
        left = [row["reward"] - amount for row, amount in zip(group, taken, strict=True)]
        assert [row["advantage"] for row in group] == pytest.approx(advantages_of(left))
    kept = [row for row in rows if row["kept"]]
    assert seen.metrics[0]["penalty/overlong"] == pytest.approx(mean(r["penalty"] for r in kept))
    assert seen.metrics[0]["reward"] == plain.metrics[0]["reward"]
    tokens = sum(row["tokens"] for row in kept)
    expected = -sum(row["advantage"] * row["tokens"] for row in kept) / tokens
    assert seen.metrics[0]["loss"] == pytest.approx(expected, abs=1e-5)
    assert "penalty/overlong" not in plain.metrics[0]
    assert {row["penalty"] for row in plain.records(1)} == {0.0}


ESTIMATES = {
    "k1": lambda d: -d,
    "k2": lambda d: d * d / 2,
    "k3": lambda d: math.exp(d) - d - 1,
}
"""Of `d = log(reference / policy)`."""


@pytest.mark.parametrize("steps", [1, 2])
@pytest.mark.parametrize("estimator", ESTIMATES)
def test_the_divergence_of_a_whole_completion_is_taken_from_its_reward(
    watched, tmp_path: Path, estimator: str, steps: int
) -> None:
    """On the second step, whose policy has moved from the one that the run began with.

    The policy's log-probabilities are those that the scripted engine took of it, one row at a time.
    """
    algorithm = {"beta": 0.3, "kl_in_reward": True, "kl_estimator": estimator, "ppo_steps": steps}
    seen = watched({**TINY, "num_steps": 2, "algorithm": algorithm}, tmp_path / "run")
    reference = copy.deepcopy(seen.engine)
    with torch.no_grad():
        for name, parameter in reference.model.named_parameters():
            parameter.copy_(seen.start[name])
    sampled = [call for call in seen.rollouts if call.weights_version == 2]
    pairs = [p for call in sampled for p in zip(call.prompts, call.completions, strict=True)]
    rows = seen.records(2)
    assert len(pairs) == len(rows)
    sums = [
        sum(
            ESTIMATES[estimator](r - p)
            for r, p in zip(
                reference.logprobs(prompt, done.token_ids, 1.0), done.logprobs, strict=True
            )
        )
        for prompt, done in pairs
    ]
    kept = [place for place, row in enumerate(rows) if row["kept"]]
    assert [rows[n]["penalty"] for n in kept] == pytest.approx(
        [0.3 * sums[n] for n in kept], abs=2e-5
    )
    assert max(abs(rows[n]["penalty"]) for n in kept) > 1e-3
    for group in by_group(rows):
        left = [row["reward"] - row["penalty"] for row in group]
        assert [row["advantage"] for row in group] == pytest.approx(advantages_of(left))
    metrics = seen.metrics[1]
    assert metrics["penalty/kl"] == pytest.approx(mean(rows[n]["penalty"] for n in kept))
    tokens = sum(rows[n]["tokens"] for n in kept)
    assert metrics["kl"] == pytest.approx(sum(sums[n] for n in kept) / tokens, abs=1e-6)
    assert seen.metrics[0]["penalty/kl"] == pytest.approx(0.0, abs=1e-6)
    if steps == 1:  # no term of the loss beside it
        expected = -sum(rows[n]["advantage"] * rows[n]["tokens"] for n in kept) / tokens
        assert metrics["loss"] == pytest.approx(expected, abs=1e-5)


def test_groups_are_chosen_by_rewards_and_not_by_what_is_taken_off(watched, tmp_path) -> None:
    """Every completion is right, in more words or fewer: nothing to learn, whatever they cost."""

    def right(prompt, sample: int) -> tuple[str, bool]:
        return render_step_output("c" * (1 + 3 * sample), str(prompt.columns["target_step"])), True

    algorithm = {"beta": 9.0, "kl_in_reward": True, "overlong_buffer": LONGEST}
    seen = watched({**TINY, "algorithm": algorithm}, tmp_path / "run", script=right)
    rows = seen.records(1)
    assert {row["reward"] for row in rows} == {1.0}
    assert not any(row["kept"] for row in rows)
    assert seen.metrics[0]["sampling/starved"] == 1.0


@pytest.mark.parametrize("name", ["dapo", "grpo", "dr_grpo", "luspo"])
def test_truncated_completions_count_in_their_group_and_in_no_denominator(
    watched, tmp_path: Path, name: str
) -> None:
    algorithm = {"loss": name, "mask_truncated": True}
    rows = {"algorithm": algorithm, "engine": {"shared_prompts": "never"}}  # a row a completion
    seen = watched({**TINY, **rows}, tmp_path / "run", script=one_of_each_length)
    kept = [row for row in seen.records(1) if row["kept"]]
    finished = [row for row in kept if row["finish_reason"] != "length"]
    assert len(finished) == 6 < len(kept) == 8
    if name != "dr_grpo":
        for group in by_group(kept):
            rewards = [row["reward"] for row in group]
            assert [row["advantage"] for row in group] == pytest.approx(advantages_of(rewards))
    tokens = sum(row["tokens"] for row in finished)
    shares = {"dapo": 1 / tokens, "dr_grpo": 1 / (6 * LONGEST), "luspo": 1 / 6}
    expected = -sum(
        row["advantage"] * (row["tokens"] * shares[name] if name in shares else 1 / 6)
        for row in finished
    )
    assert seen.metrics[0]["loss"] == pytest.approx(expected, abs=1e-5)
    assert seen.metrics[0]["completions/masked_ratio"] == 0.25
    trained = [ids for ids in seen.forwards if ids.shape[1] > 1]
    assert sum(len(ids) for ids in trained) == 6


def test_a_group_of_truncated_completions_alone_is_not_used(make_group) -> None:
    groups = [make_group([1.0, 0.0]), make_group([1.0, 0.0]), make_group([1.0, 1.0])]
    for member in groups[0].members:
        object.__setattr__(member.completion, "finish_reason", "length")
    object.__setattr__(groups[1].members[0].completion, "finish_reason", "length")
    for algorithm, plain in ((GroupRelative(), [True, True, False]), (NoBaseline(2), [True] * 3)):
        assert algorithm.usable(groups) == plain
        assert FinishedOnly(algorithm).usable(groups) == [False, *plain[1:]]
        assert FinishedOnly(algorithm).advantages(groups) == algorithm.advantages(groups)
        assert FinishedOnly(algorithm).group_size == algorithm.group_size
    assert [s.truncated for s in samples_of(groups, GroupRelative())] == [
        *(True, True, True, False, False, False),
    ]


def test_a_run_of_truncated_completions_alone_makes_no_update(watched, tmp_path: Path) -> None:
    tree = {**TINY, "reward": {"reward": "format"}}
    rollout = {**TINY["rollout"], "max_starved_steps": 1}
    options = {"mask_truncated": True, "baseline": "none"}
    from srl_grpo.stages.starvation import StarvedError

    seen = watched(
        {**tree, "rollout": rollout, "algorithm": options},
        tmp_path / "run",
        script=cut_off,
        ends=StarvedError,
    )
    assert seen.steps == []
    assert not any(row["kept"] for row in seen.records(1))


PLACES = {"model": {"path": "m"}, "data": {"path": "d"}, "rollout": {"max_new_tokens": 100}}
REFUSED = [
    ({"kl_in_reward": True}, "kl_in_reward is True and there is no KL term; give --beta too"),
    ({"reference_every": 5}, "reference_every is 5 and there is no KL term; give --beta too"),
    ({"beta": 0.1, "kl_in_reward": True, "kl_corrected": True}, "take --kl-corrected out"),
    ({"overlong_length": 50}, "give --overlong-buffer too"),
    ({"overlong_penalty": 0.5}, "give --overlong-buffer too"),
    ({"overlong_buffer": 60, "overlong_length": 50}, "overlong_buffer 60 is longer than"),
    ({"overlong_buffer": 10, "overlong_length": 101}, "overlong_length 101 must lie between"),
    ({"overlong_buffer": 101}, "overlong_length 100 must lie between overlong_buffer 101"),
]


@pytest.mark.parametrize(("given", "told"), REFUSED)
def test_options_that_cannot_hold_are_refused(given, told) -> None:
    with pytest.raises(ValidationError) as refused:
        TrainConfig.model_validate({**PLACES, "algorithm": given})
    assert told in str(refused.value)


def test_plain_k1_in_the_loss_is_warned_of() -> None:
    told = []
    for more in ({}, {"kl_corrected": True}, {"kl_in_reward": True}, {"kl_estimator": "k2"}):
        algorithm = {"beta": 0.1, "kl_estimator": "k1", **more}
        config = TrainConfig.model_validate({**PLACES, "algorithm": algorithm})
        told.append(len(config.algorithm.cautions))
    assert told == [1, 0, 0, 0]
