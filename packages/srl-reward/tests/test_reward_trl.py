"""TRL's `GRPOTrainer(reward_funcs=[StepReward()])`: three steps on a tiny model."""

import functools
import math
import re
from pathlib import Path

import pytest

from srl_reward import FormatReward, StepReward

pytestmark = [
    pytest.mark.slow,
    # TRL's and torch's own warnings are not this package's to judge.
    pytest.mark.filterwarnings("ignore"),
]

README = Path(__file__).parents[1] / "README.md"


def test_grpo_trainer_takes_the_rewards_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trl = pytest.importorskip("trl")
    torch = pytest.importorskip("torch")
    datasets = pytest.importorskip("datasets")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    torch.manual_seed(0)
    data = datasets.Dataset.from_dict(
        {"prompt": ["1+1", "2+2", "1+2", "2+1"], "target_step": ["1. 2", "1. 4", "1. 3", None]}
    )
    seen: list[list[float | None]] = []

    class Recorded(StepReward):
        def __call__(self, completions, **columns):  # type: ignore[no-untyped-def]
            assert set(columns) >= {"prompts", "target_step", "completion_ids"}
            seen.append(super().__call__(completions, **columns))
            return seen[-1]

    trainer = trl.GRPOTrainer(
        model=_model(),
        processing_class=_tokenizer(),
        reward_funcs=[Recorded(), FormatReward()],
        train_dataset=data,
        args=trl.GRPOConfig(
            output_dir=str(tmp_path),
            max_steps=3,
            per_device_train_batch_size=4,
            num_generations=2,
            max_completion_length=8,
            logging_steps=1,
            report_to=[],
            use_cpu=True,
            bf16=False,
            save_strategy="no",
            disable_tqdm=True,
        ),
    )
    trainer.train()
    assert trainer.state.global_step == 3
    assert len(seen) == 3
    assert {reward for batch in seen for reward in batch} <= {-1.0, None}
    logs = [log for log in trainer.state.log_history if "rewards/step_reward/mean" in log]
    assert [log["rewards/step_reward/mean"] for log in logs] == [-1.0] * 3
    assert [log["rewards/format_reward/mean"] for log in logs] == [0.0] * 3
    assert [log["step_reward/invalid"] for log in logs] == [1.0] * 3
    assert all(math.isfinite(log["grad_norm"]) for log in logs)


@pytest.mark.skipif(not README.exists(), reason="tests run away from the checkout")
def test_the_readmes_example_runs_with_a_model_of_ones_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trl = pytest.importorskip("trl")
    datasets = pytest.importorskip("datasets")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.chdir(tmp_path)
    _model().save_pretrained("model")
    _tokenizer().save_pretrained("model")
    # No hub and no bf16 here: the model's name and the precision are all that differs.
    config = functools.partial(
        trl.GRPOConfig, max_steps=1, use_cpu=True, bf16=False, report_to=[], max_completion_length=4
    )
    monkeypatch.setattr(trl, "GRPOConfig", config)
    (example,) = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    assert "Qwen/Qwen2.5-0.5B-Instruct" in example
    names: dict[str, object] = {
        "dataset": datasets.Dataset.from_dict({"prompt": ["1+1"] * 8, "target_step": ["1. 2"] * 8})
    }
    exec(example.replace("Qwen/Qwen2.5-0.5B-Instruct", "model"), names)
    trainer = names["trainer"]
    assert isinstance(trainer, trl.GRPOTrainer)
    (log,) = [log for log in trainer.state.log_history if "rewards/step_reward/mean" in log]
    shown = {name for name in log if "step_reward/" in name}
    assert shown >= {"rewards/step_reward/mean", "step_reward/exact", "step_reward/invalid"}


def _tokenizer():  # type: ignore[no-untyped-def]
    tokenizers = pytest.importorskip("tokenizers")
    transformers = pytest.importorskip("transformers")
    words = ["<pad>", "<eos>", *"0123456789+. x"]
    core = tokenizers.Tokenizer(
        tokenizers.models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="x")
    )
    core.pre_tokenizer = tokenizers.pre_tokenizers.Split("", "isolated")
    core.decoder = tokenizers.decoders.Fuse()
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=core, pad_token="<pad>", eos_token="<eos>", unk_token="x"
    )


def _model():  # type: ignore[no-untyped-def]
    transformers = pytest.importorskip("transformers")
    config = transformers.Qwen2Config(
        vocab_size=16,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        pad_token_id=0,
        eos_token_id=1,
    )
    return transformers.Qwen2ForCausalLM(config)
