"""Which architectures can be trained, decided by the configuration alone.

By the configuration and not by what the weights happen to give: a run that has begun must find
itself trainable again when it is resumed.
"""

from typing import TYPE_CHECKING

from srl_data.command.errors import DataError
from srl_eval.generate.architectures import check_generates
from srl_eval.generate.folders import ModelSource

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

NEUTRAL: dict[str, tuple[object, ...]] = {
    "final_logit_softcapping": (None, 0),
    "logits_soft_cap": (None, 0),
    "output_logit_soft_cap": (None, 0),
    "logit_scale": (None, 1),
    "logits_scaling": (None, 1),
    "logits_mup_width_multiplier": (None, 1),
    "lm_head_multiplier": (None, 1),
}
"""What families call a change between hidden states and logits, and the values that make none."""

COMPOSITES_WITHOUT_CAP = {"gemma3"}
"""Composite models that leave out the soft-cap which their text config may name."""


def check_trainable(source: ModelSource, config: "PreTrainedConfig") -> None:
    """DataError for an architecture that cannot be sampled from or scored rightly."""
    check_generates(source, config)
    change = logit_change(config)
    if change is not None:
        raise DataError(
            f"model {source.name!r} ({config.model_type}) changes its logits after the output "
            f"head ({change}); such models cannot be trained here yet"
        )
    text = config.get_text_config(decoder=True)
    chunked = "chunked_attention" in (getattr(text, "layer_types", None) or ())
    if chunked or text.model_type == "llama4_text":
        raise DataError(
            f"model {source.name!r} ({config.model_type}) attends in chunks, as Llama 4 does; such "
            "models cannot be trained here yet: use one with full or sliding attention"
        )


def logit_change(config: "PreTrainedConfig") -> str | None:
    """The setting by which logits are more than head times hidden states; None where they are."""
    if config.model_type in COMPOSITES_WITHOUT_CAP:
        return None
    text = config.get_text_config(decoder=True)
    for name, neutral in NEUTRAL.items():
        value = getattr(text, name, None)
        if value not in neutral:
            return f"{name} {value!r}"
    return None
