"""The weights of the loss for a sampler whose probabilities differ from the trainer's."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from cppo_trl.batches import Row
from cppo_trl.sampling_correction import (
    CORRECTION_MODES,
    correct_sampling,
    correction_metrics,
    importance_ratio,
)
from scripted_rollouts import scripted_trainer

LOGPS = torch.log(torch.tensor([0.5, 0.2, 0.9]))
SAMPLING = torch.log(torch.tensor([0.25, 0.4, 0.1]))  # ratios 2, 0.5 and 9; of the sequence, 9


@pytest.mark.parametrize(
    "mode, bounds, expected",
    [
        ("token_truncate", (None, 3.0), [2, 0.5, 3]),
        ("token_truncate", (0.6, 3.0), [2, 0.6, 3]),
        ("token_mask", (None, 3.0), [2, 0.5, 0]),
        ("token_mask", (0.6, None), [2, 0, 9]),
        ("sequence_truncate", (None, 3.0), [3]),
        ("sequence_truncate", (None, 10.0), [9]),
        ("sequence_mask", (None, 3.0), [0]),
        ("sequence_mask", (None, None), [9]),
    ],
)
def test_ratio_of_each_mode(mode, bounds, expected):
    ratio = importance_ratio(LOGPS, SAMPLING, mode, *bounds)
    torch.testing.assert_close(ratio, torch.tensor(expected, dtype=torch.float))


@pytest.mark.parametrize("mode", CORRECTION_MODES)
def test_a_token_without_sampling_probability_is_not_corrected(mode):
    ratio = importance_ratio(LOGPS[:1], torch.tensor([math.nan]), mode, None, 3.0)
    assert ratio.tolist() == [1.0]


def rows():
    one = Row("planner", [1], [2, 3, 4], 1.0, old_logps=LOGPS, sampling_logps=SAMPLING)
    two = Row("solver", [1], [2], 1.0, old_logps=LOGPS[:1], sampling_logps=LOGPS[:1] - 0.5)
    return [one, two]


def test_metrics_are_those_of_all_ranks():
    here, there = rows()
    facts = [correct_sampling([row], "token_mask", None, 3.0) for row in (here, there)]
    metrics = correction_metrics(torch.cat(facts))
    differences = [math.log(2), math.log(2), math.log(9), 0.5]
    ratios = [2, 0.5, 0, math.exp(0.5)]
    prefix = "sampling/importance_sampling_ratio/"
    assert metrics == pytest.approx(
        {
            "sampling/sampling_logp_difference/mean": sum(differences) / 4,
            "sampling/sampling_logp_difference/max": math.log(9),
            prefix + "min": 0.0,
            prefix + "mean": sum(ratios) / 4,
            prefix + "max": 2.0,
        }
    )


def test_metrics_of_no_completions_are_unknown():
    assert all(
        math.isnan(value)
        for value in correction_metrics(correct_sampling([], "token_mask", None, 3.0)).values()
    )


def test_a_backend_without_log_probabilities_is_refused():
    row = replace(rows()[0], sampling_logps=None)
    with pytest.raises(ValueError, match=r"vllm_importance_sampling_correction=True.*planner"):
        correct_sampling([row], "token_mask", None, 3.0)


class WithLogprobs:
    """A scripted backend whose probability of each completion is a given factor off the model's."""

    def __init__(self, generator, trainer, factor):
        self.generator, self.trainer, self.factor = generator, trainer, factor

    def generate(self, prompts, adapter, sampling):
        completions = self.generator.generate(prompts, adapter, sampling)
        rows = [
            Row(adapter, prompt_ids, completion.token_ids, 0.0)
            for prompt_ids, completion in zip(prompts, completions, strict=True)
        ]
        logps = self.trainer._logps(rows, [adapter] * len(rows)) if rows else []
        shifts = [math.log(self.factor) / len(row.completion_ids) for row in rows]
        return [
            replace(completion, logprobs=(logp - shift).tolist())
            for completion, logp, shift in zip(completions, logps, shifts, strict=True)
        ]


def gradients_of(model, output_dir, factor=None, **settings):
    """The adapters' gradients of one step, with the sampling corrected where there is a factor."""
    script = (("pass: pass fail", "pass: fail fail"), ("fail: pass fail", "pass: fail pass"))
    trainer = scripted_trainer(
        model, script, output_dir, max_steps=1, per_device_train_batch_size=4, beta=0.0, **settings
    )
    if factor is not None:
        # What use_vllm=True switches on; the backend is the script's.
        trainer.args.use_vllm = trainer.use_vllm = True
        speaker = trainer.rollout_policy.speaker
        speaker.generator = WithLogprobs(speaker.generator, trainer, factor)
    gradients = {}

    def keep(*_, **__):
        gradients.update(
            {n: p.grad.clone() for n, p in trainer.model.named_parameters() if p.requires_grad}
        )

    trainer.callback_handler.callbacks[0].on_pre_optimizer_step = keep
    trainer.train()
    return gradients, trainer


@pytest.mark.parametrize("factor, weight", [(2.0, 2.0), (5.0, 3.0)])
def test_the_gradient_is_weighted_with_the_ratio(qwen3_dir, tmp_path, factor, weight):
    plain, _ = gradients_of(qwen3_dir, tmp_path)
    settings = {"vllm_importance_sampling_mode": "sequence_truncate"}
    corrected, trainer = gradients_of(qwen3_dir, tmp_path, factor, **settings)
    assert any(gradient.any() for gradient in plain.values())
    for name, gradient in plain.items():
        torch.testing.assert_close(corrected[name], weight * gradient, atol=1e-5, rtol=1e-3)
    logged = next(log for log in trainer.state.log_history if "loss" in log)
    assert logged["sampling/importance_sampling_ratio/mean"] == pytest.approx(weight, rel=1e-3)


def test_a_masked_sequence_teaches_nothing(qwen3_dir, tmp_path):
    gradients, _ = gradients_of(
        qwen3_dir, tmp_path, 5.0, vllm_importance_sampling_mode="sequence_mask"
    )
    assert not any(gradient.any() for gradient in gradients.values())
