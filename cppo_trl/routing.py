"""Which adapter each row of a batch goes through, on a base that several adapters share.

All adapters are active all the time, and a `RoleRouter` tells every LoRA layer which rows of the
batch belong to which, so one forward (and its backward, checkpointed or not) serves a batch of
mixed rows. Nothing here calls `PeftModel.set_adapter` between a forward and its backward: with
gradient checkpointing the recomputation would use the adapter that is active then, and corrupt the
gradients without an error (peft#2832).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from weakref import WeakKeyDictionary, WeakSet

import torch
from peft import PeftModel
from peft.tuners.lora import LoraLayer, ParamWrapper
from peft.tuners.lora.layer import MultiheadAttention

BASE = "__base__"  # PEFT's name for "no adapter" in a batch of mixed rows


class RoleRouter:
    """Routes each row of a batch through one adapter, by hooks on every LoRA layer.

    `rows` holds one adapter name for each row of the batch, or one name for all rows of any batch.
    Rows stay routed until they are routed anew, because gradient checkpointing runs the forward
    again during the backward.

    A layer computes the adapters of its batch for all rows, and where there are several, what A
    gives is zeroed for the rows of the others. PEFT's own path for mixed rows copies rows out and
    back instead, at every layer: slower, and each copy is kept for the backward. Layers whose
    adapters cannot be zeroed there go by that path.
    """

    def __init__(self) -> None:
        self.rows: str | tuple[str, ...] | None = None
        self._layers: WeakSet[LoraLayer] = WeakSet()
        self._zeroed: WeakSet[torch.nn.Module] = WeakSet()  # the A of adapters that have the hook
        self._active: WeakKeyDictionary[LoraLayer, str | list[str]] = WeakKeyDictionary()
        self._masks: dict[tuple, torch.Tensor] = {}  # of the rows that are routed now

    def attach(self, model: PeftModel) -> None:
        """Hooks the LoRA layers of a model that are not hooked yet."""
        for module in model.modules():
            if isinstance(module, LoraLayer) and module not in self._layers:
                module.register_forward_pre_hook(self._enter, with_kwargs=True)
                module.register_forward_hook(self._leave, always_call=True)
                self._layers.add(module)

    def set_rows(self, rows: str | Sequence[str]) -> None:
        """Routes the batches of all forwards (and recomputations) from now on."""
        self.rows = rows if isinstance(rows, str) else tuple(rows)
        self._masks = {}

    @contextmanager
    def route(self, rows: str | Sequence[str]) -> Iterator[None]:
        """Routes the batches within the block, and restores the rows that were routed before it.

        Only for forwards without a backward: a backward must still see its own rows.
        """
        before = self.rows
        self.set_rows(rows)
        try:
            yield
        finally:
            self.rows, self._masks = before, {}

    def _enter(self, layer: LoraLayer, args: tuple, kwargs: dict) -> tuple[tuple, dict] | None:
        if self.rows is None:
            raise RuntimeError(
                "No adapter is routed: this model holds several at once, so a forward must say "
                "which rows belong to which, e.g. `with role_router(model).route('solver'): "
                "model.generate(...)`."
            )
        batch = (args[0] if args else kwargs["x"]).shape[0]
        names = (self.rows,) if isinstance(self.rows, str) else self.rows
        if batch % len(names):
            raise RuntimeError(
                f"The batch has {batch} rows, but {len(names)} are routed. Route one adapter "
                "name for each row."
            )
        if layer.merged:
            raise RuntimeError("An adapter is merged into this layer; unmerge it to route rows.")
        present = sorted(set(names) - {BASE})
        if not _can_zero(layer, present):
            # A layer may see the tokens of all rows in one dimension.
            each = batch // len(names)
            return args, {**kwargs, "adapter_names": [n for n in names for _ in range(each)]}
        if len(set(names)) > 1:
            for name in present:
                if name in layer.lora_A and layer.lora_A[name] not in self._zeroed:
                    layer.lora_A[name].register_forward_hook(partial(self._zero, name))
                    self._zeroed.add(layer.lora_A[name])
        self._active[layer] = layer.active_adapter
        layer._active_adapter = present  # what `set_adapter` sets, without freezing the others
        return None

    def _leave(self, layer: LoraLayer, args: tuple, output: torch.Tensor | None) -> None:
        if layer in self._active:
            layer._active_adapter = self._active.pop(layer)

    def _zero(
        self, name: str, module: torch.nn.Module, args: tuple, output: torch.Tensor
    ) -> torch.Tensor | None:
        """Zeroes what an adapter's A gives for the rows of others."""
        if isinstance(self.rows, str) or len(set(self.rows)) == 1:
            return None
        key = (name, output.shape[0], output.ndim, output.dtype, output.device)
        if key not in self._masks:
            own = torch.tensor([row == name for row in self.rows])
            own = own.repeat_interleave(output.shape[0] // len(self.rows))
            own = own.view(-1, *[1] * (output.ndim - 1))
            self._masks[key] = own.to(output.device, output.dtype)
        return output * self._masks[key]


def _can_zero(layer: LoraLayer, names: Sequence[str]) -> bool:
    """Whether nothing of these adapters reaches a row for which their A gives zeros."""
    if isinstance(layer, (ParamWrapper, MultiheadAttention)) or not layer.lora_A:
        return False
    return not any(layer.lora_variant.get(name) or layer.lora_bias.get(name) for name in names)


_routers: WeakKeyDictionary[PeftModel, RoleRouter] = WeakKeyDictionary()


def role_router(model: PeftModel) -> RoleRouter:
    """Returns the router of a model, attached on first use; a model has one, however many trainers
    use it.
    """
    router = _routers.setdefault(model, RoleRouter())
    router.attach(model)
    return router
