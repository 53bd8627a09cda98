"""The functions of CS336's assignment 5: shapes, edges, and that they are the trainer's own."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

import srl_grpo
from srl_eval.generate import Sampling
from srl_grpo import (
    LossOptions,
    Tokens,
    compute_entropy,
    compute_group_normalized_rewards,
    compute_grpo_clip_loss,
    compute_policy_gradient_loss,
    get_response_log_probs,
    group_advantages,
    grpo_microbatch_train_step,
    log_generations,
    masked_mean,
    masked_normalize,
    policy_loss,
    sft_microbatch_train_step,
    token_weights,
    tokenize_prompt_and_output,
)
from srl_grpo.learner.batch import MicroBatch
from srl_grpo.learner.policy import Policy

MASK = torch.tensor([[False, True, True, True], [True, True, False, False]])


def rows(seed: int) -> torch.Tensor:
    return torch.randn(2, 4, generator=torch.Generator().manual_seed(seed)).double()


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    """A word a token: w5, w6, …; padding 1, end 0."""
    words = {"<end>": 0, "<pad>": 1} | {f"w{n}": n for n in range(2, 23)}
    core = Tokenizer(models.WordLevel(words, unk_token="<pad>"))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=core, eos_token="<end>", pad_token="<pad>")


def test_all_twelve_are_public() -> None:
    twelve = {
        *("tokenize_prompt_and_output", "compute_entropy", "get_response_log_probs"),
        *("masked_normalize", "masked_mean", "sft_microbatch_train_step"),
        *("compute_group_normalized_rewards", "compute_naive_policy_gradient_loss"),
        *("compute_grpo_clip_loss", "compute_policy_gradient_loss"),
        *("grpo_microbatch_train_step", "log_generations"),
    }
    assert twelve <= set(srl_grpo.__all__)
    assert all(callable(getattr(srl_grpo, name)) for name in srl_grpo.__all__)


@pytest.mark.parametrize("dim", [None, 0, 1, -1])
def test_masked_sums_and_means_by_hand(dim) -> None:
    values = rows(0)
    kept = values * MASK
    total, count = (kept.sum(), MASK.sum()) if dim is None else (kept.sum(dim), MASK.sum(dim))
    torch.testing.assert_close(masked_normalize(values, MASK, 7.0, dim), total / 7)
    torch.testing.assert_close(masked_mean(values, MASK.int(), dim), total / count)


def test_a_mean_of_nothing_is_nan_and_what_is_masked_never_counts() -> None:
    values = torch.tensor([[1.0, math.nan], [math.inf, 2.0]], requires_grad=True)
    mask = torch.tensor([[1, 0], [0, 0]])
    found = masked_mean(values, mask, dim=1)
    assert found[0] == 1.0
    assert found[1].isnan()
    masked_normalize(values, mask).backward()
    assert values.grad is not None
    assert values.grad.tolist() == [[1.0, 0.0], [0.0, 0.0]]


@given(st.lists(st.floats(-200, 200), min_size=1, max_size=6))
def test_the_entropy_is_that_of_the_softmax(logits) -> None:
    found = compute_entropy(torch.tensor([logits], dtype=torch.float64))
    weights = [math.exp(x - max(logits)) for x in logits]
    shares = [w / sum(weights) for w in weights]
    expected = -sum(p * math.log(p) for p in shares if p)
    assert found.tolist() == [pytest.approx(expected, abs=1e-9)]


def test_rewards_are_normalised_in_their_groups_by_the_unbiased_deviation() -> None:
    def reward_fn(response: str, truth: str) -> dict[str, float]:
        return dict.fromkeys(("reward", "format_reward", "answer_reward"), float(response == truth))

    texts, truths = ["a", "b", "c", "c", "c", "b"], ["a", "a", "a", "c", "c", "c"]
    for by_std in (True, False):
        found, raw, metadata = compute_group_normalized_rewards(
            reward_fn, texts, truths, 3, 1e-6, by_std
        )
        assert raw.tolist() == [1, 0, 0, 1, 1, 0]
        deviation = math.sqrt(1 / 3) + 1e-6 if by_std else 1.0
        expected = [2 / 3, -1 / 3, -1 / 3, 1 / 3, 1 / 3, -2 / 3]
        assert found.tolist() == pytest.approx([e / deviation for e in expected], abs=1e-6)
        ours = group_advantages(raw.reshape(2, 3), 1e-6, "group" if by_std else "none")
        assert torch.equal(ours.reshape(-1), found)
        assert metadata["reward_mean"] == metadata["answer_reward_mean"] == 0.5
    with pytest.raises(ValueError, match="6 responses are no whole number of groups of 4"):
        compute_group_normalized_rewards(reward_fn, texts, truths, 4, 1e-6, True)


@pytest.mark.parametrize("loss_type", ["no_baseline", "reinforce_with_baseline", "grpo_clip"])
@pytest.mark.parametrize("constant", [None, 5.0])
def test_a_train_step_has_the_gradient_of_the_trainers_loss(loss_type, constant) -> None:
    """Two micro-batches of two rows, against the same four rows over flat tokens."""
    advantages = torch.tensor([[1.5], [-0.7]]).double()
    old, gradients, losses = rows(1), [], []
    for seed in (0, 2):
        policy = rows(seed).requires_grad_()
        loss, metadata = grpo_microbatch_train_step(
            policy, MASK, 2, loss_type, advantages, advantages, old, 0.2, constant
        )
        assert ("clip_fraction" in metadata) == (loss_type == "grpo_clip")
        assert policy.grad is not None
        gradients.append(policy.grad[MASK])
        losses.append(loss)
    policy = torch.cat([rows(0)[MASK], rows(2)[MASK]]).requires_grad_()
    lengths = MASK.sum(1).repeat(2)
    normalisation = "sequence-mean" if constant is None else "constant"
    weights = torch.tensor(token_weights(lengths.tolist(), normalisation, 5)).double()
    tokens = Tokens(
        policy,
        torch.cat([old[MASK]] * 2),
        advantages[:, 0].repeat(2).repeat_interleave(lengths),
        weights.repeat_interleave(lengths),
    )
    whole, _ = policy_loss(loss_type, tokens, LossOptions(0.2, 0.2))
    whole.backward()
    torch.testing.assert_close(sum(losses), whole.detach())
    torch.testing.assert_close(torch.cat(gradients), policy.grad)


def test_gradients_of_train_steps_accumulate() -> None:
    policy = rows(0).requires_grad_()
    loss, metadata = sft_microbatch_train_step(policy, MASK, 4, 10.0)
    assert loss.item() == pytest.approx(-(rows(0) * MASK).sum().item() / 10 / 2 / 4)
    assert metadata["token_loss"].item() == pytest.approx(-rows(0)[MASK].mean().item())
    assert policy.grad is not None
    torch.testing.assert_close(policy.grad, -MASK.double() / 80)
    sft_microbatch_train_step(policy, MASK, 4, None)
    torch.testing.assert_close(policy.grad, -MASK.double() * (1 / 80 + 1 / 8))


def test_the_clip_says_where_it_cut() -> None:
    ratio = torch.tensor([[0.5, 1.0, 1.5], [0.5, 1.0, 1.5]])
    advantages, old = torch.tensor([[1.0], [-1.0]]), torch.zeros(2, 3)
    loss, metadata = compute_grpo_clip_loss(advantages, ratio.log(), old, 0.2)
    torch.testing.assert_close(loss, torch.tensor([[-0.5, -1.0, -1.2], [0.8, 1.0, 1.5]]))
    assert metadata["is_clipped"].tolist() == [[False, False, True], [True, False, False]]


@pytest.mark.parametrize(
    ("loss_type", "given", "told"),
    [
        ("no_baseline", {}, "needs raw_rewards"),
        ("reinforce_with_baseline", {"raw_rewards": rows(0)}, "needs advantages"),
        ("grpo_clip", {"advantages": rows(0), "cliprange": 0.2}, "needs old_log_probs"),
        ("grpo_clip", {"advantages": rows(0), "old_log_probs": rows(0)}, "needs cliprange"),
        ("ppo", {}, "expected no_baseline, reinforce_with_baseline or grpo_clip"),
    ],
)
def test_a_loss_says_what_it_lacks(loss_type, given, told) -> None:
    with pytest.raises(ValueError, match=told):
        compute_policy_gradient_loss(rows(0), loss_type, **given)


def test_prompts_and_outputs_are_padded_and_shifted(tokenizer) -> None:
    found = tokenize_prompt_and_output(["w5 w6", "w7"], ["w8 w9", "w10"], tokenizer)
    assert found["input_ids"].tolist() == [[5, 6, 8], [7, 10, 1]]
    assert found["labels"].tolist() == [[6, 8, 9], [10, 1, 1]]
    assert found["response_mask"].tolist() == [[False, True, True], [True, False, False]]
    nothing = tokenize_prompt_and_output(["w5 w6"], [""], tokenizer)
    assert nothing["response_mask"].tolist() == [[False]]


def test_log_probabilities_are_those_that_the_trainer_takes(tiny_model, tokenizer) -> None:
    model = tiny_model().double()
    batch = tokenize_prompt_and_output(["w5 w6 w7", "w9"], ["w8 w12", "w10 w11 w3 w2"], tokenizer)
    found = get_response_log_probs(model, batch["input_ids"], batch["labels"], True)
    assert found["log_probs"].shape == found["token_entropy"].shape == batch["labels"].shape
    rows_of_ids = [((5, 6, 7), (8, 12)), ((9,), (10, 11, 3, 2))]
    logprobs_N, entropy_N = Policy(model)(MicroBatch.of_rows(rows_of_ids, pad_id=1))
    mask = batch["response_mask"]
    torch.testing.assert_close(found["log_probs"][mask], logprobs_N, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(found["token_entropy"][mask], entropy_N, rtol=1e-5, atol=1e-5)
    assert not found["token_entropy"].requires_grad
    plain = get_response_log_probs(model, batch["input_ids"], batch["labels"], False)
    assert plain.keys() == {"log_probs"}


def test_generations_are_logged_with_what_they_are_worth(tiny_model, tokenizer) -> None:
    def reward_fn(response: str, truth: str) -> dict[str, float]:
        right = float(truth in response.split())
        return {"reward": right, "format_reward": 1.0, "answer_reward": right}

    model, prompts = tiny_model(), ["w5 w6", "w7", "w9 w9"]
    greedy = Sampling(6, temperature=0.0, stop_token_ids=(0,))
    first = log_generations(model, tokenizer, prompts, ["w2"] * 3, reward_fn, greedy)
    truths = [str(first["generations"][0]["response"]).split()[0], "none", "none"]
    found = log_generations(model, tokenizer, prompts, truths, reward_fn, greedy)
    table = found["generations"]
    assert [row["prompt"] for row in table] == prompts
    assert [row["response"] for row in table] == [r["response"] for r in first["generations"]]
    assert [row["answer_reward"] for row in table] == [1.0, 0.0, 0.0]
    assert found["answer_reward"] == found["reward"] == pytest.approx(1 / 3)
    assert found["format_reward"] == 1.0
    lengths = [row["length"] for row in table]
    assert found["length_correct"] == lengths[0]
    assert found["length_incorrect"] == pytest.approx(sum(lengths[1:]) / 2)
    assert 0 < found["token_entropy"] < math.log(23)
    ids = torch.tensor([[7, *tokenizer.encode(table[1]["response"])]])
    entropy = get_response_log_probs(model, ids[:, :-1], ids[:, 1:], True)["token_entropy"][0]
    if lengths[1] == 6:  # not ended by the end token, which the response leaves out
        assert table[1]["token_entropy"] == pytest.approx(entropy.mean().item(), rel=1e-5)
