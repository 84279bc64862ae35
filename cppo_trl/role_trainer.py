"""RoleTrainer: GRPOTrainer on one frozen base that holds a planner and a solver adapter."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sized
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import set_seed
from peft import LoraConfig, PeftModel
from torch.utils.data import DataLoader
from transformers import BitsAndBytesConfig, PreTrainedModel, PreTrainedTokenizerBase
from transformers.trainer_utils import EvalLoopOutput
from trl import GRPOTrainer
from trl.models.utils import disable_gradient_checkpointing

from .batches import Row, collate
from .config_checks import refuse_cut_evaluation
from .cppo_config import CPPOConfig
from .guards.callbacks import StillWeightsCallback
from .role_checkpoints import RoleCheckpoints
from .role_model import load_with_roles, refuse_sharding, replaced
from .roles import PLANNER, add_references, make_trainable, role_parameters
from .routing import role_router
from .temperatures import RoleTemperatures
from .training_data import EpochOrder


class RoleTrainer(RoleCheckpoints, GRPOTrainer):
    """Trains two routed LoRA adapters where [`GRPOTrainer`] trains one.

    What changes: the adapters are added, frozen, optimised, saved and resumed together; each role
    has its reference, its learning rate and its temperature; an evaluation leaves the random state
    of the training alone. What a batch holds and how it is rewarded is left to the subclass.

    Args:
        model: Hub id, path, `PreTrainedModel`, or a `PeftModel` that holds the adapters "planner"
            and "solver".
        peft_config: one `LoraConfig` for both roles, or `{"planner": ..., "solver": ...}`.
        adapters: role -> directory or Hub id of a trained adapter to start from.
        quantization_config: how the base is quantized; the adapters stay in fp32.
        kwargs: all else that `GRPOTrainer` takes.
    """

    def __init__(
        self,
        model: str | PreTrainedModel | PeftModel,
        reward_funcs: list,
        args: CPPOConfig,
        train_dataset: Any = None,
        eval_dataset: Any = None,
        processing_class: PreTrainedTokenizerBase | None = None,
        *,
        peft_config: LoraConfig | Mapping[str, LoraConfig] | None = None,
        adapters: Mapping[str, str] | None = None,
        quantization_config: BitsAndBytesConfig | None = None,
        **kwargs: Any,
    ):
        refuse_sharding(args)
        set_seed(args.seed)  # the adapters are drawn below
        # With a KL term, GRPOTrainer would look for an adapter called "default"; with vLLM, it
        # would start an engine of its own, for merged weights.
        hidden: dict[str, Any] = {"beta": 0.0, "use_vllm": False}
        if isinstance(model, str):
            hidden["model_init_kwargs"] = None  # used here; it would say that they are ignored
            ignored = None
        else:
            ignored = quantization_config  # so that it says so
        model, processing_class = load_with_roles(
            model, args, processing_class, peft_config, adapters, quantization_config
        )
        if args.ddp_find_unused_parameters is None:
            args.ddp_find_unused_parameters = False  # every micro-batch has rows of every role
        # GRPOTrainer rounds what is trainable on a quantized base to bf16: nothing is, until below.
        make_trainable(model, ())
        with replaced(args, hidden):
            super().__init__(
                model,
                reward_funcs,
                args,
                train_dataset,
                eval_dataset,
                processing_class,
                quantization_config=ignored,
                **kwargs,
            )
        self.beta, self.use_vllm = args.beta, args.use_vllm  # what the loss reads
        make_trainable(model, args.learning_roles)
        self.references = add_references(model) if args.beta else {}
        self.router = role_router(model)
        self.temperatures = RoleTemperatures(model, args.planner_temperature, args.temperature)
        self.add_callback(StillWeightsCallback())
        self._scores: tuple[torch.Tensor, torch.Tensor] | None = None
        self._eval_set = ""  # name of the set that is evaluated, where there are several
        self._eval_rows_left = math.inf

    def _logps(self, rows: list[Row], adapters: list[str]) -> list[torch.Tensor]:
        """Returns the log-probabilities of each row's completion tokens under its adapter."""
        batch = collate(rows, self._tokenizer.pad_token_id, self.args.device)
        with (
            torch.no_grad(),
            disable_gradient_checkpointing(self.model, self.args.gradient_checkpointing_kwargs),
            self.router.route(adapters),
            self.temperatures.scoring([row.role for row in rows]),
        ):
            logps, _, _ = self._get_per_token_logps_and_entropies(
                self.model,
                torch.cat([batch["prompt_ids"], batch["completion_ids"]], dim=1),
                torch.cat([batch["prompt_mask"], batch["completion_mask"]], dim=1),
                batch["completion_ids"].shape[1],
            )
        return [logps[i, -len(row.completion_ids) :].cpu() for i, row in enumerate(rows)]

    def _get_per_token_logps_and_entropies(self, *args: Any, **kwargs: Any) -> tuple:
        output = super()._get_per_token_logps_and_entropies(*args, **kwargs)
        self._scores = tuple(None if values is None else values.detach() for values in output[:2])
        return output

    def _get_train_sampler(self, dataset: Any = None) -> EpochOrder:
        return EpochOrder(super()._get_train_sampler(dataset), lambda: int(self.state.epoch or 0))

    def create_optimizer(self, model: torch.nn.Module | None = None) -> torch.optim.Optimizer:
        """Creates the optimizer, with the planner's parameters at their own learning rate."""
        optimizer = super().create_optimizer(model)
        if self.args.planner_learning_rate is None:
            return optimizer
        planner = {id(parameter) for parameter in role_parameters(self.model, PLANNER)}
        groups = []
        for group in optimizer.param_groups:
            own = [p for p in group["params"] if id(p) in planner]
            others = [p for p in group["params"] if id(p) not in planner]
            groups.append({**group, "params": others})
            rate = self.args.planner_learning_rate
            groups.append({**group, "params": own, "lr": rate, "role": PLANNER})
        optimizer.param_groups[:] = [group for group in groups if group["params"]]
        return optimizer

    def training_step(self, model, inputs, num_items_in_batch=None) -> torch.Tensor:
        loss = super().training_step(model, inputs, num_items_in_batch)
        if self.accelerator.sync_gradients:
            # In fp16 the gradients are still those of the scaled loss.
            scaler = self.accelerator.scaler
            scale = scaler.get_scale() if scaler is not None else 1.0
            for role in self.args.learning_roles:
                parameters = role_parameters(self.model, role)
                norm = torch.nn.utils.get_total_norm(
                    [p.grad for p in parameters if p.grad is not None]
                )
                self._metrics["train"][f"grad_norm/{role}"].append(norm.item() / scale)
        return loss

    def evaluate(
        self,
        eval_dataset: Any = None,
        ignore_keys: list[str] | None = None,
        metric_key_prefix: str = "eval",
    ) -> dict[str, float]:
        """Evaluates with random numbers of its own, so that training goes on as if without it.

        Every evaluation draws from the same seed, which takes noise out of their comparison.
        """
        refuse_cut_evaluation(self.args, self.args.world_size)
        self._eval_set = metric_key_prefix.removeprefix("eval").removeprefix("_")
        with torch.random.fork_rng():
            torch.manual_seed(self.args.seed + self.accelerator.process_index)
            return super().evaluate(eval_dataset, ignore_keys, metric_key_prefix)

    def evaluation_loop(self, dataloader: DataLoader, *args: Any, **kwargs: Any) -> EvalLoopOutput:
        sized = isinstance(dataloader.dataset, Sized)
        rows = len(dataloader.dataset) * self.num_generations_eval if sized else math.inf
        self._eval_rows_left = rows
        return super().evaluation_loop(dataloader, *args, **kwargs)

    def _rows_that_count(self, gathered: int) -> int:
        """Returns how many rows of a batch, gathered over all ranks, are no repetition.

        To give every rank a full last batch, accelerate begins an evaluation set once more.
        """
        if self.model.training:
            return gathered
        counted = int(min(gathered, self._eval_rows_left))
        self._eval_rows_left -= counted
        return counted

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        if self._mode == "eval" and self._eval_set:
            # GRPOTrainer logs the metrics of all evaluation sets under the same names.
            metrics = self._metrics["eval"]
            for name in list(metrics):
                metrics[f"{self._eval_set}_{name}"] = metrics.pop(name)
        if "learning_rate" in logs:  # of the first parameter group: the solver's, where they differ
            for group in self.optimizer.param_groups:
                if group.get("role") == PLANNER:
                    logs["learning_rate/planner"] = group["lr"]
        super().log(logs, start_time)

    def _save_rng_state(self, output_dir: str) -> None:
        """Saves the random state, and a rollout that is not used up yet for a resumed run."""
        super()._save_rng_state(output_dir)
        generate_every = self.args.steps_per_generation * self.num_iterations
        if self._step % generate_every and self._buffered_inputs is not None:
            buffer = [
                batch | {"rows": [asdict(row) for row in batch["rows"]]}
                for batch in self._buffered_inputs
            ]
            torch.save({"step": self._step, "buffer": buffer}, self._rollout_file(output_dir))

    def _load_rng_state(self, checkpoint: str | None) -> None:
        super()._load_rng_state(checkpoint)
        if checkpoint is not None and self._rollout_file(checkpoint).is_file():
            saved = torch.load(self._rollout_file(checkpoint), weights_only=True)
            self._step = saved["step"]
            self._buffered_inputs = [
                batch | {"rows": [Row(**row) for row in batch["rows"]]} for batch in saved["buffer"]
            ]

    def _rollout_file(self, checkpoint: str) -> Path:
        return Path(checkpoint) / f"rollout_{self.accelerator.process_index}.pt"

    @property
    def _mode(self) -> str:
        return "train" if self.model.training else "eval"
