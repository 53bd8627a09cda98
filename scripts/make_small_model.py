"""Make a small local model that knows the output format of SRL instances: `--model` without a hub.

A byte-level BPE tokenizer is trained on the instances' own text, a small Qwen3 model on a few
supervised steps of `<think>…</think>` and the expert's step. It writes mathematics-like text of no
worth, but in the right form, so that training, checkpoints and evaluation can be tried on real
data on a laptop. Not a way to get a good model.

    uv run python scripts/make_small_model.py --data data/srl_instances.jsonl --output small-model
"""

import argparse
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

from srl_data.records import SrlInstance, read_records
from srl_grpo import SftConfig, sft

END, PAD, BEGIN = "<|im_end|>", "<|pad|>", "<|im_start|>"
CHAT_TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def make_tokenizer(texts: Iterator[str], size: int) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer of `size` tokens with a chat template."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=[END, PAD, BEGIN],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=END, pad_token=PAD)
    fast.add_tokens(["<think>", "</think>"])  # one token each, but text: decoding keeps them
    fast.chat_template = CHAT_TEMPLATE
    return fast


def make_model(tokenizer: PreTrainedTokenizerFast, hidden: int, layers: int) -> Qwen3ForCausalLM:
    """A seeded random Qwen3 of the given size."""
    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=hidden,
        intermediate_size=4 * hidden,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=hidden // 4,
        max_position_embeddings=4096,
        tie_word_embeddings=True,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
    )
    return Qwen3ForCausalLM(config)


def teach(start: Path, data: Path, steps: int, limit: int, run: Path) -> Path:
    """Supervised steps of 8 instances from the model in `start`; returns the folder of the end."""
    tree = {
        "output_dir": run,
        "num_steps": steps,
        "batch_size": 8,
        "model": {"path": str(start)},
        "data": {
            "path": str(data),
            "template": "srl",
            "thinking_text": "next step",
            "max_seq_len": limit,
        },
        "engine": {"gradient_accumulation_steps": 1},
        "optimizer": {"learning_rate": 3e-3, "schedule": "linear"},
        "checkpoint": {"checkpoint_every": 0},
        "tracking": {"tensorboard": False, "logging_steps": 20},
    }
    sft(SftConfig.model_validate(tree))
    return run / "final"


def main() -> None:
    """Parse, make, teach, save."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="SRL instances, JSON Lines")
    parser.add_argument("--output", type=Path, required=True, help="folder of the new model")
    parser.add_argument("--vocab-size", type=int, default=2048)
    parser.add_argument("--hidden-size", type=int, default=96)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--steps", type=int, default=120)
    parser.add_argument("--max-length", type=int, default=448, help="longest row taught, in tokens")
    options = parser.parse_args()
    instances = list(read_records(options.data, SrlInstance, skippable=False))
    texts = (f"{item.problem}\n{item.target_step}" for item in instances)
    tokenizer = make_tokenizer(texts, options.vocab_size)
    model = make_model(tokenizer, options.hidden_size, options.layers)
    print(f"{model.num_parameters():,} parameters, {len(instances)} instances", flush=True)
    with tempfile.TemporaryDirectory() as work:
        start = Path(work) / "start"
        model.save_pretrained(start)
        tokenizer.save_pretrained(start)
        final = teach(start, options.data, options.steps, options.max_length, Path(work) / "run")
        kept = shutil.ignore_patterns("trainer", "MANIFEST.json")
        shutil.copytree(final, options.output, ignore=kept, dirs_exist_ok=True)


if __name__ == "__main__":
    main()
