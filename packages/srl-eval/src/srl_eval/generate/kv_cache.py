"""A key-value cache that is written in place and can drop rows.

transformers' `DynamicLayer` concatenates at every token, which copies the whole cache each time;
`StaticCache` allocates the longest case at once and attends over all of it. Here full-attention
layers own a buffer with room to spare and hand out views of its filled part. Sliding-window and
linear-attention layers stay transformers' own.
"""

from torch import Tensor
from transformers import PreTrainedConfig
from transformers.cache_utils import DynamicCache, DynamicLayer

_GROWTH = 1.5
EXPECTED = 256
"""New tokens that a cache has room for at first."""


class GrowingLayer(DynamicLayer):
    """Keys and values (rows, heads, tokens, head size), as views of buffers that grow by half.

    `expected` tokens are allocated at first, never more than `limit`.
    """

    def __init__(self, expected: int, limit: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.expected = min(expected, limit)
        self.limit = limit

    def update(
        self, key_states: Tensor, value_states: Tensor, *_args: object, **_kwargs: object
    ) -> tuple[Tensor, Tensor]:
        """Append the new tokens and return all of them."""
        filled = self.get_seq_length()
        total = filled + key_states.shape[-2]
        if not self.is_initialized:
            self.dtype, self.device = key_states.dtype, key_states.device
            self.is_initialized = True
            self._key_buffer = self._roomy(key_states, total)
            self._value_buffer = self._roomy(value_states, total)
        elif total > self._key_buffer.shape[-2]:
            self._key_buffer = self._roomy(self._key_buffer[..., :filled, :], total)
            self._value_buffer = self._roomy(self._value_buffer[..., :filled, :], total)
        self._key_buffer[..., filled:total, :] = key_states
        self._value_buffer[..., filled:total, :] = value_states
        self.keys = self._key_buffer[..., :total, :]
        self.values = self._value_buffer[..., :total, :]
        return self.keys, self.values

    def _roomy(self, states: Tensor, total: int) -> Tensor:
        capacity = max(total, min(self.limit, max(self.expected, int(total * _GROWTH))))
        rows, heads, tokens, size = states.shape
        buffer = states.new_empty(rows, heads, capacity, size)
        buffer[..., :tokens, :] = states
        return buffer

    def batch_select_indices(self, indices: Tensor) -> None:
        """Keep the rows at `indices`, which may repeat or reorder them."""
        filled = self.get_seq_length()
        keys, values = self._key_buffer[..., :filled, :], self._value_buffer[..., :filled, :]
        self._key_buffer = self._roomy(keys.index_select(0, indices), filled)
        self._value_buffer = self._roomy(values.index_select(0, indices), filled)
        self.keys = self._key_buffer[..., :filled, :]
        self.values = self._value_buffer[..., :filled, :]


def make_cache(config: PreTrainedConfig, expected: int, limit: int) -> DynamicCache:
    """An empty cache for a model of this configuration, `expected` tokens long, at most `limit`."""
    cache = DynamicCache(config=config)
    cache.layers = [
        GrowingLayer(expected, limit) if type(layer) is DynamicLayer else layer
        for layer in cache.layers
    ]
    return cache


def select_rows(cache: DynamicCache, indices: Tensor) -> None:
    """Keep the rows at `indices` in every layer."""
    for layer in cache.layers:
        if not isinstance(layer, DynamicLayer):
            raise TypeError(
                f"{type(layer).__name__} cannot drop rows: this model keeps a state that the "
                "transformers engine does not know; use vLLM for it"
            )
        layer.batch_select_indices(indices)


def only_full_attention(cache: DynamicCache) -> bool:
    """Whether every layer sees every earlier token, so that one mask serves them all."""
    return bool(cache.layers) and all(type(layer) is GrowingLayer for layer in cache.layers)
