"""A cache of keys and values that has room to grow."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from transformers import DynamicCache, PretrainedConfig
from transformers.cache_utils import DynamicLayer

_MORE = 256  # tokens of room that are added at a time


class RoomyLayer(DynamicLayer):
    """`DynamicLayer` that writes new tokens behind the old ones, where that one copies all that it
    holds for each new token: for long completions, the better half of what a step of decoding moves
    through memory.
    """

    _room: tuple[Tensor, Tensor] | None = None

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Adds keys and values, (B, heads, new tokens, width), and returns all of them."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        before = self.get_seq_length()
        after = before + key_states.shape[-2]
        if not self._fits(key_states, after):
            self._room = tuple(
                states.new_empty(*states.shape[:-2], after + _MORE, states.shape[-1])
                for states in (key_states, value_states)
            )
            if before:
                for room, held in zip(self._room, (self.keys, self.values), strict=True):
                    room[..., :before, :] = held
        for room, states in zip(self._room, (key_states, value_states), strict=True):
            room[..., before:after, :] = states
        self.keys, self.values = (room[..., :after, :] for room in self._room)
        return self.keys, self.values

    def _fits(self, states: Tensor, after: int) -> bool:
        """Whether the room is where the layer's tokens are, and holds `after` of them."""
        # Whoever reorders or cuts the cache may have put other tensors there.
        if self._room is None or self.keys.data_ptr() != self._room[0].data_ptr():
            return False
        return len(self._room[0]) == len(states) and after <= self._room[0].shape[-2]


def roomy_cache(config: PretrainedConfig) -> DynamicCache:
    """The cache of a model, with `RoomyLayer`s where it has layers of full attention only."""
    cache = DynamicCache(config=config)
    cache.layers = [
        RoomyLayer() if type(layer) is DynamicLayer else layer for layer in cache.layers
    ]
    return cache


def attends_fully(cache: DynamicCache) -> bool:
    """Whether every layer looks at all tokens by their mask, wherever padding is among them."""
    return all(isinstance(layer, RoomyLayer) for layer in cache.layers)
