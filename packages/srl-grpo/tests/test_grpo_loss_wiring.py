"""What a config's loss and its options become in a run, and which of them are refused."""

import math
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import pytest
from pydantic import ValidationError

from srl_grpo.config.algorithm import AlgorithmSection
from srl_grpo.config.losses import PUBLISHED
from srl_grpo.config.train import TrainConfig

TINY: dict[str, Any] = {
    "num_steps": 1,
    "model": {"build": {"hidden_size": 32, "num_layers": 1, "intermediate_size": 32}},
    "data": {"template": "bare", "max_prompt_length": 96},
    "synthetic": {"num_problems": 6, "num_heldout": 2, "digits": [2, 3]},
    "rollout": {"batch_size": 2, "group_size": 4, "max_new_tokens": 60, "max_starved_steps": 0},
    "optimizer": {"learning_rate": 1e-3},
    "tracking": {"tensorboard": False},
}


def gains(rows: list[dict[str, Any]], scale: str = "group") -> list[tuple[float, int]]:
    """Advantage and length of each trained completion, from rewards alone."""
    kept = [row for row in rows if row["kept"]]
    rewards = [row["reward"] for row in kept]
    groups: dict[str, list[float]] = {}
    for row in kept:
        groups.setdefault(row["id"], []).append(row["reward"])
    found = []
    for row in kept:
        own = groups[row["id"]]
        spread = {"group": stdev(own), "batch": stdev(rewards), "none": 1 - 1e-4}[scale] + 1e-4
        found.append(((row["reward"] - mean(own)) / spread, row["tokens"]))
    return found


def first_loss(name: str, rows: list[dict[str, Any]], longest: int, scale: str) -> float:
    """The loss of one optimizer step, where every ratio is 1: minus the weighed advantages."""
    found = gains(rows, scale)
    tokens, count = sum(n for _, n in found), len(found)
    per_token = {
        "dapo": 1 / tokens,
        "bnpo": 1 / tokens,
        "luspo": 1 / count,
        "dr_grpo": 1 / (count * longest),
    }
    share = per_token.get(name)
    return -sum(a * (n * share if share else 1 / count) for a, n in found)


@pytest.mark.parametrize("name", ["dapo", "bnpo", "grpo", "grpo_clip", "gspo", "luspo", "dr_grpo"])
def test_a_first_step_has_the_loss_that_the_paper_says(watched, tmp_path: Path, name: str) -> None:
    seen = watched({**TINY, "algorithm": {"loss": name}}, tmp_path / "run")
    rows, scale = seen.records(1), PUBLISHED[name].scale
    expected = first_loss(name, rows, 60, scale)
    assert seen.metrics[0]["loss"] == pytest.approx(expected, abs=1e-5)
    advantages = [row["advantage"] for row in rows if row["kept"]]
    assert advantages == pytest.approx([a for a, _ in gains(rows, scale)], rel=1e-6)


@pytest.mark.parametrize("scale", ["group", "batch", "none"])
def test_advantages_are_scaled_as_the_config_says(watched, tmp_path: Path, scale: str) -> None:
    seen = watched({**TINY, "algorithm": {"advantage_scale": scale}}, tmp_path / "run")
    rows = seen.records(1)
    advantages = [row["advantage"] for row in rows if row["kept"]]
    assert advantages == pytest.approx([a for a, _ in gains(rows, scale)], rel=1e-6)
    assert seen.metrics[0]["loss"] == pytest.approx(first_loss("dapo", rows, 60, scale), abs=1e-5)


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_loss_trains_over_several_optimizer_steps(watched, tmp_path: Path, name: str) -> None:
    """Every number is finite, weights move, and metrics are means that know their tokens."""
    algorithm = {"loss": name, "ppo_steps": 2, "train_batch_size": 4, "beta": 0.05}
    group = {"group_size": 1} if name == "no_baseline" else {}
    tree = {**TINY, "algorithm": algorithm, "rollout": {**TINY["rollout"], **group}}
    seen = watched({**tree, "checkpoint": {"checkpoint_every": 1}}, tmp_path / "run")
    (metrics,) = seen.metrics
    assert metrics["grad_norm"] > 0
    assert metrics["approx_kl"] > 0  # the policy has moved, and this is seen without a ratio too
    assert 0 < metrics["entropy"] < 4.5
    assert metrics["sampling/logprob_difference"] < 1e-4  # of the policy that sampled
    assert metrics["sampling/ratio_mean"] == pytest.approx(1.0, abs=1e-4)
    now = dict(seen.trainer.engine.policy.model.named_parameters())
    assert any(not v.equal(now[k].detach()) for k, v in seen.start.items())


@pytest.mark.parametrize(
    ("correction", "weight"),
    [
        ("token_truncate", 0.98),  # every token exp(-0.03) = 0.970, cut to the floor
        ("token_mask", 0.0),
        ("sequence_mask", 0.0),
    ],
)
def test_the_samplers_weights_are_cut_or_count_nothing(
    watched, tmp_path: Path, correction: str, weight: float
) -> None:
    bounds = {"sampler_cap": 2.0, "sampler_floor": 0.98, "max_logprob_difference": 0}
    plain, corrected = (
        watched({**TINY, "algorithm": more}, tmp_path / name, shift=0.03)
        for name, more in (
            ("plain", {"max_logprob_difference": 0}),
            ("corrected", {**bounds, "sampler_correction": correction}),
        )
    )
    expected = plain.metrics[0]["loss"] * weight
    assert corrected.metrics[0]["loss"] == pytest.approx(expected, rel=1e-4, abs=1e-9)
    assert corrected.metrics[0]["sampler_weight/mean"] == pytest.approx(weight, rel=1e-4)
    assert corrected.metrics[0]["sampler_weight/beyond"] == pytest.approx(1.0)
    assert plain.metrics[0]["sampling/ratio_p50"] == pytest.approx(0.970446, rel=1e-4)


def test_a_ratio_that_leaves_its_healthy_range_is_told_once(watched, tmp_path, capsys) -> None:
    tree = {**TINY, "num_steps": 2, "algorithm": {"max_logprob_difference": 0}}
    for shift, told in ((0.0, 0), (0.0005, 0), (0.002, 1), (-0.002, 1)):
        capsys.readouterr()
        watched(tree, tmp_path / str(shift), shift=shift)
        shown = capsys.readouterr().out
        assert shown.count("a healthy run in float32 stays within 0.999 to 1.001") == told
        if told:
            ratio = f"{math.exp(-shift):.4g}"
            assert "step 1: the trainer's over the sampler's probability" in shown
            assert f"below {ratio}, another above {ratio};" in shown
            assert "--sampler-cap 2" in shown


def test_the_kl_term_is_the_estimator_of_the_config(watched, tmp_path: Path) -> None:
    """On the second step, whose policy has moved from the reference: k1 has a sign, k2 has none."""
    found = {}
    for name in ("k1", "k2", "k3"):
        algorithm = {"beta": 0.1, "kl_estimator": name}
        tree = {**TINY, "num_steps": 2, "algorithm": algorithm}
        found[name] = watched(tree, tmp_path / name).metrics[1]["kl"]
    assert len({round(value, 9) for value in found.values()}) == 3
    assert found["k2"] > 0
    assert found["k3"] > 0


def test_the_corrected_kl_term_differs_after_several_optimizer_steps(watched, tmp_path) -> None:
    found = {}
    for corrected in (False, True):
        algorithm = {"beta": 0.5, "ppo_steps": 3, "kl_corrected": corrected}
        seen = watched({**TINY, "algorithm": algorithm}, tmp_path / str(corrected))
        found[corrected] = seen.metrics[0]["kl"]
    assert found[False] != found[True]
    assert found[False] == pytest.approx(found[True], rel=0.5)


REFUSED = [
    ({"loss": "sapo", "epsilon_low": 0.2}, "epsilon_low is 0.2, but the loss sapo has no such"),
    ({"loss": "dapo", "vespo_k_pos": 1.0}, "give --loss vespo"),
    ({"loss": "cispo", "clip_delta": 9.0}, "clip_delta is 9.0, but the loss cispo"),
    ({"loss": "reinforce_with_baseline", "epsilon_high": 0.2}, "has no such constant"),
    ({"clip_delta": 1.2}, "clip_delta 1.2 must lie above 1 + epsilon_high = 1.28"),
    ({"epsilon_high": 1.0, "clip_delta": 1.9}, "must lie above 1 + epsilon_high = 2"),
    ({"loss": "no_baseline", "baseline": "group"}, "give --loss reinforce_with_baseline"),
    ({"loss": "reinforce_with_baseline", "baseline": "none"}, "give --loss no_baseline"),
    ({"loss": "no_baseline", "advantage_scale": "batch"}, "the reward itself is the advantage"),
    ({"kl_corrected": True}, "give --beta too"),
    ({"sampler_correction": "token_mask"}, "give --sampler-cap too"),
    ({"sampler_floor": 0.5}, "give --sampler-cap too"),
    ({"sampler_cap": 0.5, "sampler_floor": 0.8}, "sampler_floor 0.8 lies above sampler_cap 0.5"),
    (
        {"loss": "vespo", "sampler_cap": 2.0, "sampler_correction": "sequence_mask"},
        "give token_truncate or token_mask",
    ),
    ({"loss": "ppo"}, "Input should be 'dapo'"),
]


@pytest.mark.parametrize(("given", "told"), REFUSED)
def test_an_option_that_cannot_hold_is_refused(given, told) -> None:
    with pytest.raises(ValidationError) as refused:
        AlgorithmSection.model_validate(given)
    assert told in str(refused.value)


def test_one_completion_per_prompt_wants_a_loss_without_a_baseline() -> None:
    tree = {"model": {"path": "m"}, "data": {"path": "d"}, "rollout": {"group_size": 1}}
    with pytest.raises(ValidationError, match="group_size = 1"):
        TrainConfig.model_validate(tree)
    for algorithm in ({"loss": "no_baseline"}, {"baseline": "none"}):
        config = TrainConfig.model_validate({**tree, "algorithm": algorithm})
        assert config.algorithm.compares_with == "none"
