"""Rows whose prompts are padded on the left to one length: any model with a key-value cache.

Every row has a copy of its prompt's keys, and where prompts are of unlike lengths a mask tells its
padding. Padding is never attended to.
"""

from collections.abc import Collection, Sequence

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from srl_eval.generate.kv_cache import EXPECTED, make_cache, only_full_attention, select_rows
from srl_eval.generate.running_rows import RunningRows, accepted, neighbours, wrapped_model


class PaddedRows(RunningRows):
    """Rows over one cache, each with its own prompt in it."""

    def __init__(
        self,
        model: PreTrainedModel,
        prompts: Sequence[Sequence[int]],
        new_tokens: int,
        pad_token_id: int,
        device: torch.device,
    ) -> None:
        """Read each distinct neighbour once, then give every row its copy of the cache."""
        self._model, self._accepts = model, accepted(model)
        unique, owner = neighbours(prompts)
        longest = max(map(len, unique))
        limit = longest + new_tokens
        self.cache = make_cache(model.config, longest + EXPECTED, limit)
        padded = [[pad_token_id] * (longest - len(p)) + list(p) for p in unique]
        ids_UP = torch.tensor(padded, device=device)
        lengths_U = torch.tensor([len(p) for p in unique], device=device)
        place_UP = torch.arange(longest, device=device) - (longest - lengths_U)[:, None]
        seen_UP = place_UP >= 0
        any_padding = min(map(len, unique)) < longest
        if any_padding:
            refuse_lost_positions(model, self._accepts)
        mask = seen_UP.long() if any_padding else None
        logits_UV = self._pass(ids_UP, place_UP.clamp(min=0), mask)
        owner_B = torch.tensor(owner, device=device)
        if len(unique) < len(prompts):
            select_rows(self.cache, owner_B)
        super().__init__(logits_UV[owner_B], lengths_U[owner_B, None])
        self._mask = self._decode_mask(seen_UP[owner_B], limit) if any_padding else None

    def _decode_mask(self, seen_BP: Tensor, limit: int) -> Tensor:
        """Which keys a new token sees, for the longest case; sliced to what is filled at each step.

        sdpa with full attention in every layer takes a boolean (B, 1, 1, T) as it is; everything
        else gets the plain (B, T) and builds its own from it, at some cost a token.
        """
        new_BT = seen_BP.new_ones(seen_BP.shape[0], limit - seen_BP.shape[1])
        mask_BT = torch.cat([seen_BP, new_BT], dim=1)
        implementation = self._model.config._attn_implementation  # noqa: SLF001 - transformers has no other name for it
        if (
            implementation == "sdpa"
            and only_full_attention(self.cache)
            and "position_ids" in self._accepts
        ):
            return mask_BT[:, None, None, :]
        return mask_BT.long()

    def _pass(self, ids_BT: Tensor, position_BT: Tensor, mask: Tensor | None) -> Tensor:
        """Logits (B, V) after the last token; the cache takes in all of them."""
        kwargs: dict[str, object] = {
            "input_ids": ids_BT,
            "past_key_values": self.cache,
            "use_cache": True,
        }
        if mask is not None:
            kwargs["attention_mask"] = mask
        if "position_ids" in self._accepts:
            kwargs["position_ids"] = position_BT
        if "logits_to_keep" in self._accepts:
            kwargs["logits_to_keep"] = 1
        logits_BTV: Tensor = self._model(**kwargs).logits
        return logits_BTV[:, -1]

    def forward(self, token_B: Tensor) -> Tensor:
        """Logits after one more token; see `RunningRows`."""
        filled = self.cache.get_seq_length() + 1
        mask = None if self._mask is None else self._mask[..., :filled]
        return self._pass(token_B[:, None], self.position, mask)

    def select(self, keep: Tensor) -> None:
        """Keep these rows of the cache and of the mask."""
        select_rows(self.cache, keep)
        self._mask = None if self._mask is None else self._mask[keep]


def refuse_lost_positions(model: nn.Module, accepts: Collection[str]) -> None:
    """TypeError of a wrapper that keeps `position_ids` from a model that takes them.

    Padded rows would be computed at wrong positions, and nothing would tell. A model that takes
    none itself finds positions by its mask.
    """
    inside = wrapped_model(model)
    if "position_ids" in accepted(inside) and "position_ids" not in accepts:
        raise TypeError(
            f"{type(model).__name__} does not hand position_ids to its {type(inside).__name__}, "
            "which prompts of unlike lengths need: let its forward take **kwargs, or give the "
            "engine the model inside it"
        )
