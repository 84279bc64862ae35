"""Checkpoints of a trainer whose model holds both roles: what `Trainer` does for one adapter."""

from __future__ import annotations

import os

import torch
from transformers.trainer import TRAINING_ARGS_NAME

from .roles import load_role_weights, save_roles


class RoleCheckpoints:
    """Saves, resumes and pushes both roles; to be named before the trainer in a class's bases."""

    def _save(self, output_dir: str | None = None, state_dict: dict | None = None) -> None:
        output_dir = output_dir or self.args.output_dir
        save_roles(self.model, output_dir)
        self.processing_class.save_pretrained(output_dir)
        torch.save(self.args, os.path.join(output_dir, TRAINING_ARGS_NAME))

    def _push_from_checkpoint(self, checkpoint_folder: str) -> None:
        if self.is_world_process_zero():
            self._save()  # Trainer takes only the adapter in a checkpoint's root to output_dir
        super()._push_from_checkpoint(checkpoint_folder)

    def _load_from_checkpoint(
        self, resume_from_checkpoint: str, model: torch.nn.Module | None = None
    ) -> None:
        load_role_weights(self.model, resume_from_checkpoint)

    def _load_best_model(self) -> None:
        load_role_weights(self.model, self.state.best_model_checkpoint)
