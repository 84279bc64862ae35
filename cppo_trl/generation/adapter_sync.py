"""The adapters of a model in training, as files that another engine loads.

Only adapters travel: megabytes, whatever the size and the quantization of the base.
"""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from peft import PeftModel, get_peft_model_state_dict

from cppo_trl.roles import ROLES


@dataclass(frozen=True)
class AdapterVersion:
    """One state of an adapter's weights, saved as a plain PEFT adapter.

    `name` is that of no other state of any adapter; `number` is 1 for the first state of an adapter
    and goes up with each that differs.
    """

    adapter: str
    number: int
    name: str
    path: Path


class AdapterSync:
    """Saves the adapters of a model each time that their weights have changed.

    Args:
        model: holds the adapters.
        directory: where the folder of all versions is made, and deleted with this object; None for
            the system's place for temporary files.
        adapters: the names of those that are saved.
        folder: that of another process, which writes what both hold; this one then writes nothing.

    Attributes:
        adapters: as given.
        folder: holds one folder for each adapter and version.
        rank: the highest of the adapters.
        current: the last version of each adapter.
    """

    def __init__(
        self,
        model: PeftModel,
        directory: str | Path | None = None,
        adapters: Sequence[str] = ROLES,
        folder: str | Path | None = None,
    ):
        configs = [model.peft_config[adapter] for adapter in adapters]
        self.adapters = tuple(adapters)
        self.rank = max(max(config.r, *config.rank_pattern.values(), 0) for config in configs)
        self.current: dict[str, AdapterVersion] = {}
        self._model = model
        self._writes = folder is None
        if folder is None:
            if directory is not None:
                Path(directory).mkdir(parents=True, exist_ok=True)
            folder = tempfile.mkdtemp(prefix="cppo-adapters-", dir=directory)
            weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        self.folder = Path(folder).absolute()
        self._weights: dict[str, dict[str, torch.Tensor]] = {}

    def update(self) -> list[AdapterVersion]:
        """Saves the adapters whose weights differ from those of their last version, which is
        deleted, and returns the new versions.
        """
        updated = []
        for adapter in self.adapters:
            held = get_peft_model_state_dict(
                self._model, adapter_name=adapter, save_embedding_layers=False
            )
            known = self._weights.get(adapter, {})
            # Compared with a copy: a count of the model's updates would miss those from outside.
            weights = {name: tensor.detach().cpu() for name, tensor in held.items()}
            if known and all(torch.equal(tensor, known[name]) for name, tensor in weights.items()):
                continue
            self._weights[adapter] = {name: tensor.clone() for name, tensor in weights.items()}
            updated.append(self._next(adapter))
        return updated

    def _next(self, adapter: str) -> AdapterVersion:
        before = self.current.get(adapter)
        number = 1 if before is None else before.number + 1
        parent = self.folder / str(number)
        # The folder's name is drawn at random: a server may still hold what an earlier run loaded.
        name = f"{self.folder.name}-{adapter}-{number}"
        if self._writes:
            self._model.save_pretrained(
                str(parent), selected_adapters=[adapter], save_embedding_layers=False
            )
            if before is not None:
                shutil.rmtree(before.path)
        self.current[adapter] = AdapterVersion(adapter, number, name, parent / adapter)
        return self.current[adapter]
