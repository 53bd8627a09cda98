"""A causal language model with every weight from its files: none made up, none left over.

transformers fills what is missing with random numbers and drops what it does not know, with a
warning; here both are errors. Only what the configuration ties, and what the model class itself
declares ignorable, may be absent or left over.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypedDict, cast

from srl_data.command.errors import DataError
from srl_eval.generate.architectures import load_config, reason
from srl_eval.generate.folders import ModelSource

if TYPE_CHECKING:
    import torch
    from transformers import GenerationConfig, PreTrainedConfig, PreTrainedModel

WRAPPERS = {
    "_orig_mod.": "a model compiled with torch.compile",
    "module.": "a model wrapped for data-parallel training",
    "base_model.model.": "a model wrapped by peft",
    "_fsdp_wrapped_module.": "a model wrapped by FSDP",
    "_forward_module.": "a model wrapped by Fabric",
}
"""Prefixes that wrappers put before the keys, and who does."""


def load_model(
    source: ModelSource,
    *,
    dtype: "torch.dtype | str",
    attention: str = "auto",
    config: "PreTrainedConfig | None" = None,
) -> "PreTrainedModel":
    """The model, whole and finite, its weights in memory of their own; DataError in one line."""
    from transformers import AutoModelForCausalLM

    implementation = {} if attention == "auto" else {"attn_implementation": attention}
    config = without_padding_beyond(config or load_config(source))
    load_generation_config(source)  # told first: transformers would not name the file
    try:
        with quiet_transformers():
            loaded = AutoModelForCausalLM.from_pretrained(
                source.name,
                config=config,
                dtype=dtype,
                use_safetensors=True,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # told below, with both shapes
                trust_remote_code=False,
                **source.fetching,
                **implementation,
            )
    except Exception as error:  # whatever a foreign folder brings about
        raise DataError(f"cannot load model {source.name!r}: {reason(error)}") from error
    model, found = cast("tuple[PreTrainedModel, Found]", loaded)
    check_keys(source.name, found)
    check_finite(source.name, model)
    own_memory(model)
    return model


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Without transformers' table of missing keys: what it says is an error here, in one line."""
    from transformers.utils import logging

    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(before)


def without_padding_beyond(config: "PreTrainedConfig") -> "PreTrainedConfig":
    """`config`, whose padding id is dropped where the embedding has no such row.

    torch refuses to build an embedding with it; padding is never attended to, so that any id does.
    """
    for part in (config, config.get_text_config(decoder=True)):
        pad, rows = getattr(part, "pad_token_id", None), getattr(part, "vocab_size", None)
        if isinstance(pad, int) and isinstance(rows, int) and not -rows <= pad < rows:
            part.pad_token_id = None
    return config


def load_generation_config(source: ModelSource) -> "GenerationConfig | None":
    """The generation configuration, which many models have not.

    DataError where it holds what transformers refuses to read.
    """
    from transformers import GenerationConfig

    try:
        with quiet_transformers():
            found = GenerationConfig.from_pretrained(source.name, **source.fetching)
    except OSError as error:
        if isinstance(error.__context__, ValueError):  # it is there, and is no JSON
            raise damaged_generation_config(source, error.__context__) from error
        return None
    except Exception as error:  # any value of a foreign file
        raise damaged_generation_config(source, error) from error
    if not names_tokens(found.eos_token_id):
        wrong = f"eos_token_id {found.eos_token_id!r}: expected a token's id, or a list of them"
        raise damaged_generation_config(source, ValueError(wrong))
    return found


def names_tokens(ids: object) -> bool:
    """Whether an `eos_token_id` is ids, or nothing; a token's text would be passed over."""
    listed = ids if isinstance(ids, list | tuple) else [] if ids is None else [ids]
    return all(isinstance(each, int) and not isinstance(each, bool) for each in listed)


def damaged_generation_config(source: ModelSource, error: Exception) -> DataError:
    """The error for a generation configuration whose stop tokens cannot be had."""
    return DataError(
        f"generation_config.json of {source.name!r} cannot be used: {reason(error)}"
        "; mend the file or remove it"
    )


class Found(TypedDict):
    """What transformers says of the keys of a weights file."""

    missing_keys: set[str]
    unexpected_keys: set[str]
    mismatched_keys: set[tuple[str, tuple[int, ...], tuple[int, ...]]]
    error_msgs: list[str]


def check_keys(name: str, found: Found) -> None:
    """DataError where weights are missing, unknown or of another shape.

    Args:
        found: the loading info of transformers, which leaves out what the configuration ties and
            what the model class declares ignorable.
    """
    mismatched = sorted(found["mismatched_keys"])
    if mismatched:
        key, stored, expected = mismatched[0]
        raise DataError(
            f"model {name!r}: {key} has shape {tuple(stored)} in the weights file, and config.json "
            f"asks for {tuple(expected)} ({len(mismatched)} such weights)"
        )
    missing = sorted(found["missing_keys"])
    unexpected = sorted(found["unexpected_keys"])
    if missing or unexpected:
        raise DataError(f"model {name!r}: {difference(missing, unexpected)}")
    if found["error_msgs"]:
        raise DataError(f"cannot load model {name!r}: {'; '.join(found['error_msgs'])}")


def difference(missing: Sequence[str], unexpected: Sequence[str]) -> str:
    """How the keys of a weights file differ from the model's, with the likely reason."""
    parts = []
    if missing:
        parts.append(f"{len(missing)} weights are not in its files ({shortened(missing)})")
    if unexpected:
        parts.append(
            f"{len(unexpected)} of its files' are not the model's ({shortened(unexpected)})"
        )
    return "; ".join([*parts, likely(missing, unexpected)])


def shortened(keys: Sequence[str]) -> str:
    """The first few keys."""
    return ", ".join(keys[:3]) + (", ..." if len(keys) > 3 else "")


def likely(missing: Sequence[str], unexpected: Sequence[str]) -> str:
    """What probably became of the weights, and what to do."""
    prefix = shared_prefix(missing, unexpected)
    if prefix is not None:
        who = next((who for mark, who in WRAPPERS.items() if prefix.startswith(mark)), None)
        saved = f"saved from {who}" if who else "saved from inside another module"
        return f"the keys have the prefix {prefix!r} ({saved}): save the model inside it"
    if any("lora_" in key for key in unexpected):
        return "these are LoRA weights: merge the adapter into its base first"
    if not unexpected and all(key.startswith(("lm_head.", "embed_out.")) for key in missing):
        return "config.json does not tie the head to the embedding, so the head must be there"
    return "config.json and the weights are of different models, or the weights are not whole"


def shared_prefix(missing: Sequence[str], unexpected: Sequence[str]) -> str | None:
    """The prefix that makes a missing key an unexpected one; None where there is none."""
    for key in missing:
        for other in unexpected:
            if other.endswith("." + key):
                return other.removesuffix(key)
    return None


def check_finite(name: str, model: "PreTrainedModel") -> None:
    """DataError naming the first weight that holds NaN or an infinity."""
    import torch

    for key, tensor in model.state_dict().items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            count = int((~torch.isfinite(tensor)).sum())
            raise DataError(
                f"model {name!r}: {key} holds {count} values that are not finite (NaN or infinite) "
                f"of {tensor.numel()}; such a model computes nothing: take another checkpoint"
            )


def own_memory(model: "PreTrainedModel") -> None:
    """Copy what is a view of the mapped file.

    Its alignment there differs from file to file, and with it the last bits of a matrix product:
    a run resumed from its checkpoint would differ from the unbroken one.
    """
    for parameter in model.parameters():
        if parameter.device.type == "cpu":
            parameter.data = parameter.data.clone()
    for buffer in model.buffers():
        if buffer.device.type == "cpu":
            buffer.data = buffer.data.clone()
