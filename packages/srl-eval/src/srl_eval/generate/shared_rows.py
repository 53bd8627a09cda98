"""Rows that share their prompts: prompts are read end to end in one row, and their keys kept once.

No padding is computed, no mask made, no key copied. For models whose attention can be given such
rows (`shared_check.py`); the others' are `padded_rows.py`.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from transformers import PreTrainedModel

from srl_eval.generate.attention_switch import no_mask, plain_configs, switched
from srl_eval.generate.running_rows import RunningRows, neighbours
from srl_eval.generate.shared_attention import NAME, Attended, Decoding, EndToEnd
from srl_eval.generate.shared_cache import SharedCache

_PASS = 2048
"""Tokens of a pass beyond which more of them gain nothing; a longer prompt is one on its own."""


class SharedRows(RunningRows):
    """Rows over one copy of each prompt's keys. `layers` are those of the model."""

    def __init__(
        self,
        model: PreTrainedModel,
        prompts: Sequence[Sequence[int]],
        new_tokens: int,
        layers: int,
        device: torch.device,
    ) -> None:
        """Read each distinct neighbour once."""
        self._model, self._device = model, device
        self._configs = plain_configs(model)  # once: a walk over the model costs 1 to 2 ms
        unique, owner = neighbours(prompts)
        self.cache = SharedCache(layers, new_tokens)
        logits_UV = torch.cat([self._read(texts) for texts in passes_of(unique)])
        self._owner_B = torch.tensor(owner, device=device)
        lengths_U = torch.tensor([len(p) for p in unique], device=device)
        self.cache.begin(lengths_U.tolist(), self._owner_B)
        super().__init__(logits_UV[self._owner_B], lengths_U[self._owner_B, None])

    def _read(self, texts: Sequence[Sequence[int]]) -> Tensor:
        """Logits after each of some texts, shape (texts, V)."""
        lengths = [len(text) for text in texts]
        ids_1T = torch.tensor([[token for text in texts for token in text]], device=self._device)
        place_1T = torch.cat([torch.arange(n, device=self._device) for n in lengths])[None]
        last_U = torch.tensor(lengths, device=self._device).cumsum(0) - 1
        return self._pass(ids_1T, place_1T, last_U, EndToEnd(lengths))[0]

    def _pass(
        self, ids_BT: Tensor, position_BT: Tensor, keep: int | Tensor, attended: Attended
    ) -> Tensor:
        """Logits (B, kept, V); the cache takes in all tokens."""
        with switched(self._configs, NAME):
            logits_BTV: Tensor = self._model(
                input_ids=ids_BT,
                attention_mask=no_mask(ids_BT),
                position_ids=position_BT,
                past_key_values=self.cache,
                use_cache=True,
                logits_to_keep=keep,
                attended=attended,
            ).logits
        return logits_BTV

    def forward(self, token_B: Tensor) -> Tensor:
        """Logits after one more token; see `RunningRows`."""
        return self._pass(token_B[:, None], self.position, 1, Decoding(self.cache))[:, -1]

    def select(self, keep: Tensor) -> None:
        """Keep these rows of the cache, and the prompts of theirs."""
        self._owner_B = self._owner_B[keep]
        self.cache.select(keep, self._owner_B)


def passes_of(texts: Sequence[Sequence[int]]) -> Iterator[list[Sequence[int]]]:
    """The texts in their order, so many at a time as a pass takes."""
    taken: list[Sequence[int]] = []
    for text in texts:
        if taken and sum(map(len, taken)) + len(text) > _PASS:
            yield taken
            taken = []
        taken.append(text)
    if taken:
        yield taken
