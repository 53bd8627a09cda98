"""Attention of our own among transformers' implementations: switched on, and what it refuses.

A name that stays would be that of plain forward passes too, so it is switched on around a call
alone. Left out: the attentions themselves (`srl_eval.generate.shared_attention`, and that of
training in `srl_grpo.learner.tree_attention`).
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from transformers import PreTrainedConfig

PLAIN = "sdpa"
"""The implementation that ours stand for."""
UNKNOWN = ("softcap", "s_aux", "position_bias", "cache")
"""What an attention can be given that changes its scores, and that ours do not take."""


@contextmanager
def attention_on(model: nn.Module, name: str) -> Iterator[None]:
    """Meanwhile the model's `PLAIN` attention is `name`, also while activations are recomputed."""
    with switched(plain_configs(model), name):
        yield


def plain_configs(model: nn.Module) -> list[PreTrainedConfig]:
    """The configs of a model that ask for `PLAIN`, each once."""
    configs = {id(config): config for config in configs_of(model)}
    return [c for c in configs.values() if c._attn_implementation == PLAIN]  # noqa: SLF001 - there is no public name for it


@contextmanager
def switched(plain: Sequence[PreTrainedConfig], name: str) -> Iterator[None]:
    """Meanwhile these configs ask for `name`: `attention_on` without a walk over the model."""
    try:
        for config in plain:
            config._attn_implementation_internal = name  # noqa: SLF001 - as above
        yield
    finally:
        for config in plain:
            config._attn_implementation_internal = PLAIN  # noqa: SLF001 - as above


def configs_of(model: nn.Module) -> Iterator[PreTrainedConfig]:
    """Every config that a module of the model reads, text parts too."""
    for module in model.modules():
        config = getattr(module, "config", None)
        if isinstance(config, PreTrainedConfig):
            yield config
            yield config.get_text_config(decoder=True)


def refuse_unknown(
    module: nn.Module, key: Tensor, value: Tensor, dropout: float, options: Mapping[str, object]
) -> None:
    """NotImplementedError of a layer that asks for what our attentions do not compute."""
    asked = [name for name in UNKNOWN if options.get(name) is not None]
    asked += ["dropout"] if dropout else []
    asked += ["no causal mask"] if options.get("is_causal", True) is False else []
    asked += ["values of another size than keys"] if key.shape != value.shape else []
    if asked:
        raise NotImplementedError(f"{type(module).__name__} has {', '.join(asked)}")


def no_mask(like: Tensor) -> Tensor:
    """A mask of four dimensions, which transformers hands on as it is; whoever reads it gets NaN.

    Without one, a model would take restarted positions for rows of unlike texts and cut them apart.
    """
    return torch.full((1, 1, 1, 1), torch.nan, device=like.device)
