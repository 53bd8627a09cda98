"""A small model and a tokenizer of characters, made on the spot.

Left out: loading a model that exists, which is `srl_grpo.learner.model`'s.
"""

import torch
from transformers import (
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from srl_data.command.errors import DataError
from srl_grpo.config.sections import BuildSection
from srl_grpo.toy.characters import END, PAD, alphabet_named, character_core


def character_tokenizer(alphabet: list[str]) -> PreTrainedTokenizerFast:
    """A tokenizer whose tokens are the entries of `alphabet` (characters and marks)."""
    return PreTrainedTokenizerFast(
        tokenizer_object=character_core(alphabet),
        eos_token=END,
        pad_token=PAD,
        clean_up_tokenization_spaces=False,
    )


def build_model(
    build: BuildSection, seed: int, attention: str = "auto"
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """A small seeded Qwen3 model in float32 and its character tokenizer.

    DataError in one line where this machine has not the attention that is asked for.

    Not Qwen2: for that model type transformers 5 loads every tokenizer as Qwen2's own byte-level
    one, whatever the folder says, and a reloaded checkpoint would read other ids.
    """
    tokenizer = character_tokenizer(alphabet_named(build.alphabet))
    config = Qwen3Config(  # type: ignore[call-arg]  # the last one is every config's, untyped
        vocab_size=len(tokenizer),
        hidden_size=build.hidden_size,
        intermediate_size=build.intermediate_size,
        num_hidden_layers=build.num_layers,
        num_attention_heads=build.num_heads,
        num_key_value_heads=build.num_kv_heads,
        head_dim=build.hidden_size // build.num_heads,
        max_position_embeddings=build.max_positions,
        initializer_range=build.initializer_range,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        attn_implementation=None if attention == "auto" else attention,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            model = Qwen3ForCausalLM(config)
        except (ImportError, ValueError) as error:
            reason = str(error).partition("\n")[0]
            raise DataError(
                f"cannot make a model with --attention {attention}: {reason}"
            ) from error
    return model, tokenizer
