"""Which metrics a run's page draws together, in their order; how is `srl_grpo.report.charts`'s."""

from srl_grpo.report.charts import Chart, Line

CHARTS = (
    Chart(
        "Reward",
        (Line("reward", "sampled"), Line("eval/reward", "held out", "held")),
        band="reward_std",
        hero=True,
    ),
    Chart(
        "Exact and invalid",
        (
            Line("reward/exact", "exact"),
            Line("reward/invalid", "invalid", "b"),
            Line("eval/exact", "held-out exact", "held"),
        ),
        kind="share",
        from_zero=True,
        hero=True,
    ),
    Chart(
        "Loss",
        (Line("loss", ""), Line("train/loss", "trained on"), Line("eval/loss", "held out", "held")),
    ),
    Chart(
        "Held-out answers",
        (
            Line("eval/format_reward", "in form", "b"),
            Line("eval/accuracy", "right", "held"),
        ),
        kind="share",
        from_zero=True,
    ),
    Chart(
        "Right answers in a round",
        (
            Line("ei/correct", "completions"),
            Line("ei/solved", "questions solved", "b"),
        ),
        kind="share",
        from_zero=True,
    ),
    Chart(
        "Completions of a round",
        (
            Line("ei/filtered_samples", "kept"),
            Line("ei/rationalised", "kept with a hint", "b"),
        ),
        kind="count",
        from_zero=True,
    ),
    Chart("Loss on what a round kept", (Line("ei/sft_loss", ""),)),
    Chart(
        "Completion length",
        (
            Line("completions/mean_length", "mean"),
            Line("completions/max_length", "longest", "b"),
        ),
        kind="count",
        from_zero=True,
    ),
    Chart("Cut off by length", (Line("completions/clipped_ratio", ""),), "share", from_zero=True),
    Chart("Groups without signal", (Line("frac_reward_zero_std", ""),), "share", from_zero=True),
    Chart("Entropy", (Line("entropy", "nats"),), from_zero=True),
    Chart("Gradient norm", (Line("grad_norm", ""),), from_zero=True),
    Chart("KL to the reference", (Line("kl", ""),), "small", from_zero=True),
    Chart(
        "Clipped ratios",
        (Line("clip_ratio/low_mean", "below"), Line("clip_ratio/high_mean", "above", "b")),
        kind="share",
        from_zero=True,
    ),
    Chart(
        "Learning rate",
        (Line("learning_rate", ""), Line("train/learning_rate", "")),
        "small",
        from_zero=True,
        exact=True,
    ),
    Chart("Tokens a second", (Line("tokens_per_second", ""),), "count", from_zero=True),
    Chart(
        "Prompts sampled for a kept group",
        (Line("sampling/prompts_per_kept_group", ""),),
        from_zero=True,
    ),
    Chart("Rounds of sampling", (Line("sampling/rounds", ""),), from_zero=True),
)
ELSEWHERE = ("time/", "reward/invalid/", "time")
QUIET = {
    "num_tokens",
    "step_time",
    "clip_ratio/region_mean",
    "sampling/tokens_per_kept_group",
    "ei/avg_reward",
    "ei/eval_accuracy",
}
"""Metrics without a chart: they say what others do, or nothing that a curve shows."""
MAX_OTHER = 24
"""Most charts of metrics that no chart above names."""
