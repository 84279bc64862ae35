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
from weakref import WeakKeyDictionary, WeakSet

from peft import PeftModel
from peft.tuners.lora import LoraLayer

BASE = "__base__"  # PEFT's name for "no adapter" in a batch of mixed rows


class RoleRouter:
    """Routes each row of a batch through one adapter, by a pre-forward hook on every LoRA layer.

    `rows` holds one adapter name for each row of the batch, or one name for all rows of any batch.
    Rows stay routed until they are routed anew, because gradient checkpointing runs the forward
    again during the backward.
    """

    def __init__(self) -> None:
        self.rows: str | tuple[str, ...] | None = None
        self._layers: WeakSet[LoraLayer] = WeakSet()

    def attach(self, model: PeftModel) -> None:
        """Hooks the LoRA layers of a model that are not hooked yet."""
        for module in model.modules():
            if isinstance(module, LoraLayer) and module not in self._layers:
                module.register_forward_pre_hook(self._name_rows, with_kwargs=True)
                self._layers.add(module)

    def set_rows(self, rows: str | Sequence[str]) -> None:
        """Routes the batches of all forwards (and recomputations) from now on."""
        self.rows = rows if isinstance(rows, str) else tuple(rows)

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
            self.rows = before

    def _name_rows(self, layer: LoraLayer, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
        if self.rows is None:
            raise RuntimeError(
                "No adapter is routed: this model holds several at once, so a forward must say "
                "which rows belong to which, e.g. `with role_router(model).route('solver'): "
                "model.generate(...)`."
            )
        batch = (args[0] if args else kwargs["x"]).shape[0]
        if isinstance(self.rows, str):
            names = [self.rows] * batch
        elif batch % len(self.rows) == 0:  # a layer may see the tokens of all rows in one dimension
            names = [name for name in self.rows for _ in range(batch // len(self.rows))]
        else:
            raise RuntimeError(
                f"The batch has {batch} rows, but {len(self.rows)} are routed. Route one adapter "
                "name for each row."
            )
        return args, {**kwargs, "adapter_names": names}


_routers: WeakKeyDictionary[PeftModel, RoleRouter] = WeakKeyDictionary()


def role_router(model: PeftModel) -> RoleRouter:
    """Returns the router of a model, attached on first use; a model has one, however many trainers
    use it.
    """
    router = _routers.setdefault(model, RoleRouter())
    router.attach(model)
    return router
