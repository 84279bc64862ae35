"""A learned judge in a directory or on the Hub: its adapter, its tokenizer, and how it is used."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import hf_hub_download
from peft import LoraConfig, PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

from accelerate import PartialState
from cppo_trl.roles import adapter_source, load_adapters

from .judge import Judge, StrategyTuple
from .judgement import Judgement
from .learned import LearnedJudge, ValidityQuestion

JUDGE = "judge"  # the adapter's name, and its folder
JUDGE_FILE = "cppo_judge.json"


class RejectedJudge(ValueError):
    """A judge that did not meet the method's rule of acceptance; the message says which part."""


def save_judge(judge: LearnedJudge, directory: str | Path, quality: Mapping[str, Any]) -> None:
    """Writes a judge whose model holds its adapter, for `load_judge`.

    Args:
        judge: its adapter is called `JUDGE`.
        directory: where to; made if it is not there.
        quality: of `calibration.Quality.to_dict`; a judge that is not accepted is saved as such.
    """
    directory = Path(directory)
    judge.model.save_pretrained(str(directory), selected_adapters=[JUDGE])
    judge.question.tokenizer.save_pretrained(str(directory))
    content = {
        "threshold": judge.threshold,
        "template": judge.question.template,
        "max_length": judge.question.max_length,
        "quality": dict(quality),
    }
    (directory / JUDGE_FILE).write_text(json.dumps(content, indent=2) + "\n")


def load_judge(
    source: str | Path,
    model: PeftModel | None = None,
    base_model: str | None = None,
    batch_size: int = 16,
    allow_rejected: bool = False,
    **model_kwargs: Any,
) -> LearnedJudge:
    """Loads a judge, frozen: on a base of its own, or as a third adapter of a model with roles.

    Args:
        source: directory or Hub id that `save_judge` wrote.
        model: gets the adapter beside those that it holds; None loads the base that the adapter
            names, or `base_model`.
        batch_size: as for `LearnedJudge`.
        allow_rejected: loads a judge that did not meet the rule of acceptance as well.
        model_kwargs: passed to `AutoModelForCausalLM.from_pretrained`.

    Raises:
        RejectedJudge: the judge was saved as rejected.
        FileNotFoundError: there is no judge in `source`.
        ValueError: `model` holds a judge already.
    """
    source = str(source)
    content = _read(source)
    _check_accepted(source, content, allow_rejected)
    tokenizer = AutoTokenizer.from_pretrained(source)
    if model is None:
        if base_model is None:
            path, subfolder = adapter_source(source, JUDGE)
            config = LoraConfig.from_pretrained(path, subfolder=subfolder)
            base_model = config.base_model_name_or_path
            model_kwargs.setdefault("revision", config.revision or "main")
        model_kwargs.setdefault("dtype", "auto")
        if torch.accelerator.is_available():
            state = PartialState()
            own_device = {"": state.device} if state.num_processes > 1 else "auto"
            model_kwargs.setdefault("device_map", own_device)
        base = AutoModelForCausalLM.from_pretrained(base_model, **model_kwargs)
        model = load_adapters(base, {JUDGE: (JUDGE, source)})
    else:
        add_judge(model, source)
    question = ValidityQuestion(tokenizer, content["template"], content["max_length"])
    return LearnedJudge(
        model, question, tokenizer.pad_token_id, content["threshold"], JUDGE, batch_size
    )


class AdapterJudge(Judge):
    """A saved judge as a third, frozen adapter of the model that is trained: no second base.

    `CPPOTrainer` attaches it.

    Args:
        source, batch_size, allow_rejected: as for `load_judge`.

    Raises:
        RejectedJudge, FileNotFoundError: as `load_judge`, before a model is loaded.
    """

    __name__ = "adapter_judge"

    def __init__(self, source: str | Path, batch_size: int = 16, allow_rejected: bool = False):
        _check_accepted(str(source), _read(str(source)), allow_rejected)
        self.source = str(source)
        self.batch_size = batch_size
        self._judge: LearnedJudge | None = None

    def attach(self, model: PeftModel) -> None:
        """Loads the adapter into the model.

        Raises:
            ValueError: the adapter does not fit the model, or it holds a judge already.
        """
        path, subfolder = adapter_source(self.source, JUDGE)
        own = LoraConfig.from_pretrained(path, subfolder=subfolder).base_model_name_or_path
        try:
            self._judge = load_judge(
                self.source, model, batch_size=self.batch_size, allow_rejected=True
            )
        except RuntimeError as error:  # PEFT: the shapes differ
            raise ValueError(
                f"the judge {self.source} does not fit the model: it was trained on {own}, and "
                f"this is {model.config._name_or_path}. Train one on this base, or load it on a "
                "base of its own (load_judge, --judge_own_base true in the recipe)"
            ) from error

    def judge_many(self, tuples: Sequence[StrategyTuple]) -> list[Judgement]:
        """The verdict on each tuple, in their order; see `Judge`."""
        if self._judge is None:
            raise RuntimeError("this judge has no model yet; call attach, as CPPOTrainer does")
        return self._judge.judge_many(tuples)


def add_judge(model: PeftModel, source: str) -> None:
    """Puts a judge's adapter, frozen, beside the roles of a model; what is trained stays so.

    Raises:
        ValueError: the model holds a judge already.
    """
    if JUDGE in model.peft_config:
        raise ValueError(f"the model holds an adapter {JUDGE!r} already; a model has one judge")
    trainable = {name for name, weight in model.named_parameters() if weight.requires_grad}
    active = model.base_model.active_adapters
    path, subfolder = adapter_source(source, JUDGE)
    model.load_adapter(path, JUDGE, subfolder=subfolder)
    model.base_model.set_adapter(active)
    for name, weight in model.named_parameters():
        weight.requires_grad_(name in trainable)


def _check_accepted(source: str, content: Mapping[str, Any], allow_rejected: bool) -> None:
    if allow_rejected or content["quality"].get("accepted"):
        return
    failed = "; ".join(content["quality"].get("failed", ())) or "it was never measured"
    raise RejectedJudge(
        f"the judge {source} was rejected ({failed}); train a better one, or load it "
        "nevertheless with allow_rejected=True (--allow_rejected_judge true in the recipe)"
    )


def _read(source: str) -> dict[str, Any]:
    if not Path(source).is_dir():
        return json.loads(Path(hf_hub_download(source, JUDGE_FILE)).read_text())
    path = Path(source) / JUDGE_FILE
    if not path.is_file():
        raise FileNotFoundError(
            f"{source} holds no {JUDGE_FILE}; give a directory that cppo-trl judge train wrote."
        )
    return json.loads(path.read_text())
