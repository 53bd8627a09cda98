"""What a model's attention is given, so that a token sees what its batch says and nothing else.

Padded rows take the plain mask. Packed rows take one mask of four dimensions per kind of layer:
transformers hands such a mask on as it is, while restarted positions beside a plain mask, or a
boolean mask under `eager` (which adds it), mix the examples in silence. Flash attention takes no
such mask: its rows are laid end to end, and it cuts them where positions restart.
"""

from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from transformers import PreTrainedModel

from srl_data.command.errors import ConfigError
from srl_eval.generate.attention_switch import no_mask
from srl_grpo.learner.batch import MicroBatch
from srl_grpo.learner.packing import PADDING, visible
from srl_grpo.learner.tree_attention import NAME

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

Mask = Tensor | dict[str, Tensor] | None

FLASH = "flash_attention_2"
PACKS = ("sdpa", "eager", FLASH)
"""Attention implementations whose packed rows are those of single ones."""
FULL, SLIDING = "full_attention", "sliding_attention"


def implementation(model: PreTrainedModel) -> str:
    """The attention that a model runs, by transformers' name."""
    return str(model.config._attn_implementation)  # noqa: SLF001 - there is no public name for it


def attended(model: PreTrainedModel, batch: MicroBatch) -> tuple[MicroBatch, Mask]:
    """The batch as the model's attention takes it, and the mask beside it.

    A tree's attention has to be switched on by `srl_grpo.learner.tree_attention.tree_attention_on`.
    """
    if batch.tree is not None:
        assert implementation(model) == NAME, "a tree needs tree_attention_on around its passes"
        return batch, no_mask(batch.input_ids_BT)
    if batch.segments_BT is None:
        return batch, batch.attention_mask_BT
    name = implementation(model)
    if name not in PACKS:
        raise ConfigError(
            f"packed rows are exact under the attention {', '.join(PACKS)}; this model runs "
            f"{name!r}: give --attention sdpa, or leave --packing out"
        )
    if name == FLASH:
        return end_to_end(batch), None
    return batch, masks_of(model, batch)


def windows_of(config: "PreTrainedConfig") -> dict[str, int | None]:
    """How far back each kind of a model's layers sees, in tokens; None for as far as there are."""
    text = config.get_text_config(decoder=True)
    window: int | None = getattr(text, "sliding_window", None)
    kinds = set(getattr(text, "layer_types", None) or [SLIDING if window else FULL])
    return {kind: window if kind == SLIDING else None for kind in sorted(kinds)}


def masks_of(model: PreTrainedModel, batch: MicroBatch) -> Mask:
    """A mask for every layer or, where kinds of layers are mixed, one per kind."""
    assert batch.segments_BT is not None
    assert batch.sees_BSS is not None
    masks: dict[str, Tensor] = {}
    for kind, window in windows_of(model.config).items():
        seen_BTT = visible(batch.segments_BT, batch.sees_BSS, batch.position_ids_BT, window)
        boolean = implementation(model) == "sdpa"
        masks[kind] = seen_BTT[:, None] if boolean else added(model, seen_BTT)
    return masks if len(masks) > 1 else next(iter(masks.values()))


def added(model: PreTrainedModel, seen_BTT: Tensor) -> Tensor:
    """The mask as numbers that are added to attention scores; shape B x 1 x T x T."""
    dtype = next(model.parameters()).dtype
    nothing = torch.zeros((), dtype=dtype, device=seen_BTT.device)
    return torch.where(seen_BTT, nothing, torch.finfo(dtype).min)[:, None]


def end_to_end(batch: MicroBatch) -> MicroBatch:
    """Packed rows as a single one without padding; only of texts that do not branch."""
    assert batch.segments_BT is not None
    there_BT = batch.segments_BT != PADDING
    places = there_BT.flatten().cumsum(0) - 1
    return replace(
        batch,
        input_ids_BT=batch.input_ids_BT[there_BT][None],
        attention_mask_BT=batch.attention_mask_BT[there_BT][None],
        position_ids_BT=batch.position_ids_BT[there_BT][None],
        predictors_N=places[batch.predictors_N],
    )
