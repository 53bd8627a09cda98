"""What a round of expert iteration sampled and kept, in numbers."""

from collections.abc import Sequence

from srl_grpo.learner.updater import Metrics
from srl_grpo.rollout.correct import Sifted, counts


def round_metrics(sifted: Sequence[Sifted]) -> Metrics:
    """Metrics under `ei/`; rewards and shares are those of questions without a hint."""
    plain = [item for item in sifted if not item.hinted]
    hinted = [item for item in sifted if item.hinted]
    members = [member for item in plain for member in item.group.members]
    fates, with_hint = counts(plain), counts(hinted)
    kept = fates["kept"] + with_hint["kept"]
    found = {
        "ei/avg_reward": sum(member.reward for member in members) / len(members),
        "ei/filtered_samples": float(kept),
        "ei/correct": 1.0 - (fates["wrong"] + fates["cut_off"]) / len(members),
        "ei/cut_off": float(fates["cut_off"]),
        "ei/duplicates": float(fates["duplicate"]),
        "ei/over_cap": float(fates["over_cap"]),
        "ei/solved": sum(item.solved for item in plain) / len(plain),
        "ei/generated_tokens": float(sum(item.group.tokens for item in sifted)),
        "ei/sample_entropy": sample_entropy(plain),
    }
    if hinted:
        found["ei/rationalised"] = float(with_hint["kept"])
    return found


def sample_entropy(sifted: Sequence[Sifted]) -> float:
    """An estimate of the sampler's entropy per token, in nats, at its temperature.

    The mean of -log p over all sampled tokens, each drawn from the distribution it estimates.
    """
    members = [member for item in sifted for member in item.group.members]
    tokens = sum(len(member.completion.logprobs) for member in members)
    return -sum(sum(member.completion.logprobs) for member in members) / tokens
