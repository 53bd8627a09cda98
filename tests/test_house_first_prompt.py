"""The training guide shows the first prompt as `--dry-run` shows it, for three kinds of template.

The blocks of the guide are what the command prints for small models with such templates; a token is
a byte there. Where they differ, the failure shows what the command prints now.
"""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from subprocess import CompletedProcess

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import AddedToken, PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

from srl_data.records import SrlInstance, write_records

Run = Callable[[str | Sequence[str]], CompletedProcess[str]]
GUIDE = Path(__file__).resolve().parent.parent / "docs/guides/prompts.md"
MARKS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
TURNS = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
OPEN = "{% if add_generation_prompt %}<|im_start|>assistant\n"
KINDS = {
    "chatml-base": TURNS + OPEN + "{% endif %}",
    "drops-system": TURNS.replace("in messages", "in messages if m.role != 'system'")
    + OPEN
    + "{% endif %}",
    "dated-thinker": "<|im_start|>system\nToday is {{ strftime_now('%Y-%m-%d') }}.<|im_end|>\n"
    + TURNS
    + OPEN
    + "{% if enable_thinking %}<think>\n{% else %}<think>\n\n</think>\n\n{% endif %}{% endif %}",
}
INSTANCE = SrlInstance(
    id="sum/2",
    problem="What is 12 + 34?",
    previous_steps=["1. **Ones** 2 + 4 = 6."],
    target_step="2. **Tens** 1 + 3 = 4.",
    step_index=2,
    num_steps=3,
)


def write_model(folder: Path, chat_template: str) -> None:
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {piece: n for n, piece in enumerate([*MARKS, *alphabet])}
    core = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(tokenizer_object=core, eos_token=MARKS[0], pad_token=MARKS[0])
    fast.add_tokens([AddedToken(text, special=True) for text in MARKS])
    fast.chat_template = chat_template
    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=len(fast),
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=8,
        eos_token_id=0,
        pad_token_id=0,
        bos_token_id=None,
    )
    Qwen3ForCausalLM(config).save_pretrained(folder)
    fast.save_pretrained(folder)


def blocks() -> dict[str, str]:
    """The guide's first prompts by the model that they are of."""
    found = re.findall(r"```text\n(# first prompt.*?)```", GUIDE.read_text("utf-8"), re.DOTALL)
    return {re.search(r"template of (\S+)", block).group(1): block for block in found}  # type: ignore[union-attr]


@pytest.mark.parametrize("kind", KINDS)
def test_the_guide_shows_what_a_dry_run_shows(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run_inside: Run
) -> None:
    monkeypatch.chdir(tmp_path)
    write_model(tmp_path / kind, KINDS[kind])
    write_records(tmp_path / "data.jsonl", [INSTANCE])
    command = ["srl-grpo", "train", "--model", kind, "--data", "data.jsonl", "--dry-run"]
    if kind == "dated-thinker":
        closed = run_inside(command)
        assert closed.returncode == 3
        assert "--chat-template-kwargs '{\"enable_thinking\": true}'" in closed.stderr
        command += ["--chat-template-kwargs", '{"enable_thinking": true}']
    done = run_inside(command)
    assert done.returncode == 0, done.stderr
    shown = done.stdout[done.stdout.index("# first prompt") :]
    shown = re.sub(r"\d{4}-\d\d-\d\d", "2026-11-28", shown)
    assert shown == blocks().get(kind, "")
