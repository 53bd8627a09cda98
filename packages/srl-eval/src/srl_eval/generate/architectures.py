"""Which architectures can be loaded, decided by the configuration before any weight is read.

What is refused here would end in a traceback, or worse, in other tokens than the model's own: a
recurrent state that cannot drop rows, attention over an index of keys, a model without a cache.
"""

import inspect
from typing import TYPE_CHECKING, cast

from srl_data.command.errors import DataError
from srl_eval.generate.folders import ModelSource, refuse_quantised

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel


def load_config(source: ModelSource, *, quantised: bool = False) -> "PreTrainedConfig":
    """The model's configuration; DataError where there is none or transformers knows it not."""
    from transformers import AutoConfig

    try:
        config: PreTrainedConfig = AutoConfig.from_pretrained(
            source.name, trust_remote_code=False, **source.fetching
        )
    except Exception as error:  # whatever a foreign config.json brings about
        raise DataError(f"cannot load model {source.name!r}: {reason(error)}") from error
    if not quantised:
        refuse_quantised(source.name, config.to_dict())
    return config


def reason(error: Exception) -> str:
    """An error of transformers in one line: its text up to a sensible length, or its type."""
    text = " ".join(str(error).split())
    if "trust_remote_code" in text:
        return "it needs code of its own, which is not run here"
    if not text:
        return type(error).__name__
    return text if len(text) <= 240 else text[:240].rsplit(" ", 1)[0] + " ..."


def check_generates(source: ModelSource, config: "PreTrainedConfig") -> None:
    """DataError for an architecture that the transformers engine cannot sample from."""
    found = unsupported(config)
    if found is not None:
        raise DataError(f"model {source.name!r} ({config.model_type}) {found}")


def unsupported(config: "PreTrainedConfig") -> str | None:
    """Why the transformers engine cannot sample from such a model; None where it can."""
    model_class = causal_class(config)
    if model_class is None:
        return "is not a causal language model that transformers knows"
    kinds = state_kinds(config)
    if kinds or getattr(model_class, "_is_stateful", False):
        shown = ", ".join(kinds) or "recurrent"
        return (
            f"keeps a state other than keys and values ({shown} layers): hybrid, recurrent and "
            "linear-attention models are not supported; use one whose layers are all attention"
        )
    if "past_key_values" not in inspect.signature(model_class.forward).parameters:
        return "has no key-value cache and cannot be sampled from here"
    text = config.get_text_config(decoder=True)
    if text.model_type == "falcon" and getattr(text, "alibi", False):
        return "is a Falcon with alibi positions, which are not supported; those with rotary are"
    return None


def causal_class(config: "PreTrainedConfig") -> "type[PreTrainedModel] | None":
    """The class that `AutoModelForCausalLM` makes of a configuration; None where it makes none."""
    from transformers import AutoModelForCausalLM

    mapping = AutoModelForCausalLM._model_mapping  # noqa: SLF001 - there is no public name for it
    if type(config) not in mapping:
        return None
    found: object = mapping[type(config)]
    chosen = found[0] if isinstance(found, list | tuple) else found
    return cast("type[PreTrainedModel]", chosen)


def state_kinds(config: "PreTrainedConfig") -> list[str]:
    """The kinds of layers whose state is more than keys and values, such as linear attention."""
    text = config.get_text_config(decoder=True)
    kinds = getattr(text, "layer_types", None) or ()
    return sorted({str(kind) for kind in kinds} - KEY_VALUE_LAYERS)


KEY_VALUE_LAYERS = {"full_attention", "sliding_attention", "chunked_attention"}
"""Kinds of layers that our cache holds (`kv_cache.py`)."""


def vocabulary_size(config: "PreTrainedConfig") -> int:
    """Rows of the embedding, also where the text model is a part of a composite one."""
    return int(config.get_text_config(decoder=True).vocab_size)


def window(config: "PreTrainedConfig") -> int | None:
    """Most tokens the model takes; None where its configuration names no limit."""
    limit = getattr(config.get_text_config(decoder=True), "max_position_embeddings", None)
    return int(limit) if limit else None
