"""CPPOTrainer around its loss: what it refuses, whom it calls, what it logs and leaves alone."""

from __future__ import annotations

import functools
import json
import math
from pathlib import Path

import pandas as pd
import pytest
import torch
from datasets import Dataset, IterableDataset
from trl import GRPOConfig

from cppo_trl import CPPOConfig, CPPOTrainer, Problem, TestCase
from cppo_trl.generation import Sampling
from cppo_trl.guards.callbacks import StillWeightsCallback
from cppo_trl.roles import ROLES
from scripted_rollouts import (
    ScriptedGenerator,
    ScriptedText,
    judge,
    scripted_problems,
    verifier,
)
from small_trainer import (
    SCRIPT,
    accept_all,
    adapter_weights,
    make_trainer,
    moved,
    roles_of,
    sampling_trainer,
    training_logs,
)


def rows(*changes):
    """Good rows of a data set, each with one change."""
    good = [problem.to_dict() | {"metadata": "{}"} for problem in scripted_problems(len(changes))]
    return [row | change for row, change in zip(good, changes, strict=True)]


def table(trainer, step=1):
    """The completions table of a step."""
    path = Path(trainer.args.output_dir) / "completions" / f"completions_{step:05d}.parquet"
    return pd.read_parquet(path)


# ---- what is refused, before anything expensive ----

NO_MODEL = "no-such-organisation/no-such-model"  # loading it would be another error


@pytest.mark.parametrize(
    "data, says",
    [
        ([], ["there are no problems"]),
        (Dataset.from_list(rows({}, {"tests": []})), ["row 1", "'p1'", "'tests'"]),
        (Dataset.from_list(rows({}, {}, {"id": "p0"})), ["row 2", "'id'", "'p0'", "row 0"]),
        (Dataset.from_list(rows({"prompt": "?"}, {"prompt": "?"})), ["row 0", "'prompt'"]),
        (Dataset.from_list(rows({}, {"io_mode": "file"})), ["row 1", "'io_mode'", "'file'"]),
        (Dataset.from_list(rows({}, {"statement": " "})), ["row 1", "'p1'", "'statement'"]),
        ([*scripted_problems(2), Problem("v", "", (TestCase("", ""),))], ["row 2", "'statement'"]),
        ([*scripted_problems(2), {"id": "x"}], ["row 2", "dict", "Problem.from_dict"]),
    ],
)
@pytest.mark.parametrize("name", ["train_dataset", "eval_dataset"])
def test_bad_problems_are_refused_before_the_model_is_loaded(name, data, says, tmp_path):
    datasets = {"train_dataset": scripted_problems(4)} | {name: data}
    with pytest.raises(ValueError) as refusal:  # noqa: PT011 - the message is checked below
        make_trainer(NO_MODEL, tmp_path, **datasets)
    assert [part for part in [name, *says] if part not in str(refusal.value)] == []


def test_sharded_parameters_are_refused(tmp_path):
    with pytest.raises(ValueError, match="FSDP and DeepSpeed ZeRO-3 are not supported"):
        make_trainer(NO_MODEL, tmp_path, fsdp="full_shard")


def test_a_bad_problem_in_one_of_several_evaluation_sets_is_refused_by_its_name(tmp_path):
    sets = {"easy": scripted_problems(2), "hard": []}
    with pytest.raises(ValueError, match=r"eval_dataset\['hard'\]: there are no problems"):
        make_trainer(NO_MODEL, tmp_path, eval_dataset=sets)


def test_too_few_problems_for_a_rollout_are_refused_with_the_number_that_is_needed(tmp_path):
    with pytest.raises(ValueError, match="has 3 problems, but one rollout takes 4: 8 tuples"):
        make_trainer(
            NO_MODEL,
            tmp_path,
            train_dataset=scripted_problems(3),
            per_device_train_batch_size=8,
        )


def test_a_missing_training_set_is_refused(tmp_path):
    with pytest.raises(ValueError, match="train_dataset"):
        CPPOTrainer(
            NO_MODEL,
            [judge, verifier],
            CPPOConfig(str(tmp_path), use_cpu=True, report_to="none"),
        )


@pytest.mark.parametrize(
    "functions, planner_reward, says",
    [
        ({"judge": None}, "product", ["planner_reward='product'", "`judge`", "'outcome'"]),
        ({"verifier": None}, "product", ["planner_reward='product'", "`verifier`", "'judge'"]),
        ({"verifier": None}, "outcome", ["planner_reward='outcome'", "`verifier`"]),
        ({"judge": None}, "judge", ["planner_reward='judge'", "`judge`"]),
    ],
)
def test_a_missing_reward_function_is_refused(functions, planner_reward, says, tmp_path):
    with pytest.raises(ValueError) as refusal:  # noqa: PT011 - the message is checked below
        make_trainer(NO_MODEL, tmp_path, planner_reward=planner_reward, **functions)
    assert [part for part in says if part not in str(refusal.value)] == []


@pytest.mark.parametrize(
    "functions, says",
    [
        ({"reward_funcs": [judge, verifier], "judge": judge}, "not both"),
        ({"reward_funcs": [judge]}, "exactly two"),
        ({"reward_funcs": judge}, "exactly two"),
        ({"judge": "rule", "verifier": verifier}, "`judge` is a str"),
        ({"judge": judge, "verifier": torch.nn.Linear(1, 1)}, "`verifier` is a Linear"),
    ],
)
def test_unusable_reward_functions_are_refused(functions, says, tmp_path):
    args = CPPOConfig(str(tmp_path), use_cpu=True, report_to="none")
    with pytest.raises((ValueError, TypeError), match=says):
        CPPOTrainer(NO_MODEL, args=args, train_dataset=scripted_problems(4), **functions)


@pytest.mark.parametrize("argument", ["tools", "rollout_func", "environment_factory"])
def test_what_would_replace_the_rollouts_is_refused(argument, tmp_path):
    with pytest.raises(ValueError, match=f"`{argument}` is not supported"):
        make_trainer(NO_MODEL, tmp_path, trainer_settings={argument: [len]})


def test_arguments_of_another_trainer_are_refused(tmp_path):
    args = GRPOConfig(str(tmp_path), use_cpu=True, bf16=False, report_to="none")
    with pytest.raises(TypeError, match="GRPOConfig; it must be a CPPOConfig"):
        CPPOTrainer(NO_MODEL, [judge, verifier], args, scripted_problems(4))


def test_model_init_kwargs_are_used_and_not_said_to_be_ignored(qwen3_dir, tmp_path, caplog):
    kwargs = {"dtype": "bfloat16"}
    trainer = make_trainer(qwen3_dir, tmp_path, model_init_kwargs=kwargs)
    assert trainer.model.get_base_model().dtype == torch.bfloat16
    assert "model_init_kwargs" not in caplog.text
    assert trainer.args.model_init_kwargs == kwargs


def test_an_evaluation_batch_that_cuts_a_problems_tuples_is_refused_by_name(qwen3_dir, tmp_path):
    trainer = make_trainer(
        qwen3_dir, tmp_path, per_device_eval_batch_size=3, eval_dataset=scripted_problems(3)
    )
    with pytest.raises(ValueError, match="per_device_eval_batch_size=3"):
        trainer.evaluate()


def test_a_reward_function_that_returns_too_few_rewards_is_refused(qwen3_dir, tmp_path):
    trainer = make_trainer(qwen3_dir, tmp_path, judge=lambda completions, **_: [1.0])
    with pytest.raises(ValueError, match="returned 1 rewards for 4 completions"):
        trainer.train()


# ---- whom it calls, with what ----


def test_reward_funcs_is_another_way_to_give_judge_and_verifier(qwen3_dir, tmp_path):
    args = CPPOConfig(str(tmp_path), use_cpu=True, bf16=False, report_to="none")
    trainer = CPPOTrainer(str(qwen3_dir), [judge, verifier], args, scripted_problems(4))
    assert (trainer.judge, trainer.verifier) == (judge, verifier)


def test_judge_reward_never_calls_solver_nor_verifier(qwen3_dir, tmp_path):
    def never(**_):
        raise AssertionError("the warm-up has no attempts to verify")

    trainer = make_trainer(
        qwen3_dir,
        tmp_path,
        planner_reward="judge",
        verifier=never,
        eval_dataset=scripted_problems(4),
    )
    trainer.train()
    trainer.evaluate()
    assert set(trainer.rollout_policy.speaker.generator.calls) == {"planner"}


def test_judge_reward_trains_without_a_verifier(qwen3_dir, tmp_path):
    trainer = make_trainer(qwen3_dir, tmp_path, planner_reward="judge", verifier=None)
    before = adapter_weights(trainer.model)
    trainer.train()
    assert trainer.state.log_history[0]["R_plan"] == 0.75  # of SCRIPT's first four tuples
    assert roles_of(moved(before, adapter_weights(trainer.model))) == {"planner"}


def test_outcome_reward_trains_without_a_judge(qwen3_dir, tmp_path):
    trainer = make_trainer(
        qwen3_dir, tmp_path, planner_reward="outcome", judge=None, log_completions=True
    )
    trainer.train()
    assert table(trainer)["judge"].isna().all()
    log = trainer.state.log_history[0]
    assert log["R_plan"] == 0.75
    assert not {"judge_pass_rate", "unknown_judgements"} & set(log)


@pytest.fixture
def verified():
    """The strategies that were verified, filled in by the verifier beside it."""
    return []


@pytest.fixture
def recording_verifier(verified):
    def record(completions, strategy, **kwargs):
        verified.extend(strategy)
        return verifier(completions, strategy, **kwargs)

    return record


@pytest.mark.parametrize("solve_invalid, attempts", [(True, 8), (False, 6)])
def test_rejected_tuples_are_solved_only_if_solve_invalid(
    solve_invalid, attempts, qwen3_dir, tmp_path, verified, recording_verifier
):
    trainer = make_trainer(
        qwen3_dir, tmp_path, solve_invalid=solve_invalid, verifier=recording_verifier
    )
    trainer.train()  # 4 tuples of 2 strategies; the judge rejects one tuple
    assert len(verified) == attempts
    assert any(strategy.startswith("fail") for strategy in verified) == solve_invalid


def test_evaluation_solves_rejected_tuples_whatever_solve_invalid_says(
    qwen3_dir, tmp_path, verified, recording_verifier
):
    trainer = make_trainer(
        qwen3_dir,
        tmp_path,
        solve_invalid=False,
        verifier=recording_verifier,
        eval_dataset=scripted_problems(2),
    )
    trainer.evaluate()
    assert len(verified) == 8


def test_reward_functions_get_the_columns_of_the_data_set_and_trls_own(qwen3_dir, tmp_path):
    calls = {}

    def keep(role, function):
        def called(**kwargs):
            calls[role] = kwargs
            return function(**kwargs)

        return called

    problems = [
        Problem(p.id, p.statement, p.tests, difficulty=f"d{i}")
        for i, p in enumerate(scripted_problems(4))
    ]
    make_trainer(
        qwen3_dir,
        tmp_path,
        train_dataset=problems,
        judge=keep("judge", judge),
        verifier=keep("verifier", verifier),
    ).train()

    ids = ["p0", "p0", "p1", "p1"]
    for role, expected in (("judge", ids), ("verifier", [i for i in ids for _ in range(2)])):
        call = calls[role]
        assert call["id"] == [problem.id for problem in call["problem"]] == expected
        assert call["problem"] == [problems[int(i[1])] for i in expected]
        assert call["difficulty"] == [f"d{i[1]}" for i in expected]
        assert len(call["prompts"]) == len(call["completion_ids"]) == len(expected)
        assert call["trainer_state"].max_steps == 1
    assert [len(strategies) for strategies in calls["judge"]["strategies"]] == [2] * 4
    flat = [strategy for strategies in calls["judge"]["strategies"] for strategy in strategies]
    assert calls["verifier"]["strategy"] == flat


class AsyncCallable:
    def __init__(self, function):
        self.function = function

    async def __call__(self, **kwargs):
        return self.function(**kwargs)


async def call_async(function, **kwargs):
    return function(**kwargs)


@pytest.mark.parametrize(
    "wrap",
    [AsyncCallable, lambda function: functools.partial(call_async, function)],
    ids=["object", "function"],
)
def test_async_reward_functions_give_what_plain_ones_give(wrap, qwen3_dir, tmp_path):
    plain = make_trainer(qwen3_dir, tmp_path)
    plain.train()
    asynchronous = make_trainer(qwen3_dir, tmp_path, judge=wrap(judge), verifier=wrap(verifier))
    asynchronous.train()
    assert training_logs(asynchronous) == training_logs(plain)


@pytest.mark.parametrize("make", [IterableDataset.from_generator, None])
def test_data_sets_train_like_lists_of_problems(make, qwen3_dir, tmp_path):
    data = rows({}, {}, {}, {})
    dataset = Dataset.from_list(data) if make is None else make(lambda: iter(data))
    trainer = make_trainer(qwen3_dir, tmp_path, train_dataset=dataset)
    trainer.train()
    reference = make_trainer(qwen3_dir, tmp_path)
    reference.train()
    assert training_logs(trainer)[0]["loss"] == training_logs(reference)[0]["loss"]
    assert not moved(adapter_weights(trainer.model), adapter_weights(reference.model))


def test_the_models_own_plans_are_generated_and_parsed(qwen3_dir, tmp_path):
    trainer = make_trainer(qwen3_dir, tmp_path)
    trainer.rollout_policy = trainer._make_rollout_policy()
    trainer.train()
    log = trainer.state.log_history[0]
    assert log["parse_rate"] == 0.0  # the tiny model is random
    assert 4 <= log["tokens/planner"] <= 4 * trainer.args.max_plan_length


def test_a_checkpoints_own_sampling_settings_do_not_shape_rollouts(qwen3_dir, tmp_path):
    trainer = make_trainer(qwen3_dir, tmp_path)
    config = trainer.model.generation_config
    config.min_p, config.top_k, config.suppress_tokens = 0.9999, 1, list(range(10))
    generator = trainer._make_rollout_policy().speaker.generator
    prompt = trainer.processing_class("Sort.")["input_ids"]
    drawn = generator.generate([prompt] * 8, "planner", Sampling(8, 1.0))
    assert len({tuple(completion.token_ids) for completion in drawn}) > 1
    for owner in (trainer.model, trainer.model.get_base_model()):
        assert owner.generation_config is config  # the model is left as it was


# ---- unknown is not zero ----


def test_lost_verdicts_give_an_unknown_reward_and_are_counted(qwen3_dir, tmp_path):
    script = (("pass: lost fail", "pass: pass fail"), ("pass: lost pass", "pass: fail fail"))
    trainer = make_trainer(qwen3_dir, tmp_path, script, log_completions=True)
    trainer.train()
    log = trainer.state.log_history[0]
    assert log["unknown_verdicts"] == 2
    # p0's first tuple is unknown, p1's first passed whatever was lost.
    assert table(trainer)["R_plan"].tolist()[1:] == [1.0, 1.0, 0.0]
    assert math.isnan(table(trainer)["R_plan"][0])
    assert log["R_plan"] == pytest.approx(2 / 3)


def test_lost_judgements_give_an_unknown_reward_and_are_counted(qwen3_dir, tmp_path):
    script = (("lost: pass fail", "pass: pass fail"), ("lost: fail fail", "pass: fail fail"))
    trainer = make_trainer(qwen3_dir, tmp_path, script, log_completions=True)
    trainer.train()
    log = trainer.state.log_history[0]
    assert log["unknown_judgements"] == 2
    assert log["judge_pass_rate"] == 1.0
    # Without a pass the product is 0 whatever the judge would have said.
    assert table(trainer)["R_plan"].tolist()[1:] == [1.0, 0.0, 0.0]
    assert math.isnan(table(trainer)["R_plan"][0])


def test_a_tuple_with_an_unknown_reward_has_advantage_zero(qwen3_dir, tmp_path):
    script = (("pass: lost fail", "pass: pass fail"), ("pass: pass fail", "pass: fail fail"))
    trainer = make_trainer(qwen3_dir, tmp_path, script, log_completions=True)
    trainer.train()
    assert table(trainer)["advantage"].tolist() == [0.0, 0.0, 1.0, -1.0]


# ---- what is logged ----


@pytest.fixture(scope="module")
def trained(qwen3_dir, tmp_path_factory):
    """Two steps over SCRIPT with an evaluation, TensorBoard and the completions table."""

    def logging_verifier(completions, strategy, log_extra, log_metric, **kwargs):
        rewards = verifier(completions, strategy, **kwargs)
        log_extra("verdict", ["ok" if reward else "no" for reward in rewards])
        log_metric("attempts", len(rewards))
        return rewards

    def logging_judge(completions, strategies, log_extra, log_metric, **kwargs):
        log_extra("judged", [len(tuple_) for tuple_ in strategies])
        log_metric("judged_plans", len(strategies))
        return judge(completions, strategies, **kwargs)

    output_dir = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TENSORBOARD_LOGGING_DIR", str(output_dir / "runs"))
        trainer = make_trainer(
            qwen3_dir,
            output_dir,
            judge=logging_judge,
            verifier=logging_verifier,
            max_steps=2,
            eval_dataset=scripted_problems(2),
            eval_strategy="steps",
            eval_steps=2,
            log_completions=True,
            num_completions_to_print=1,
            report_to="tensorboard",
        )
        trainer.train()
    return trainer


METRICS = [
    "parse_rate",
    "judge_pass_rate",
    "R_out",
    "R_plan",
    "R_plan_density",
    "frac_groups_zero_std/planner",
    "frac_groups_zero_std/solver",
    "distinct_strategies",
    "pass@1",
    "pass@2",
    "truncated/planner",
    "truncated/solver",
    "unknown_verdicts",
    "unknown_judgements",
    "num_tokens",
    *(f"{name}/{role}" for name in ("loss", "advantage", "kl", "entropy") for role in ROLES),
    *(f"seconds/{phase}" for phase in ("planning", "judging", "solving", "verifying")),
]


@pytest.mark.parametrize("name", [*METRICS, "grad_norm/planner", "grad_norm/solver"])
def test_every_training_step_logs(name, trained):
    logs = [log for log in trained.state.log_history if "loss" in log]
    assert [math.isfinite(log[name]) for log in logs] == [True, True]


def test_the_time_of_updates_is_logged_without_that_of_rollouts(trained):
    logs = [log for log in trained.state.log_history if "loss" in log]
    assert all(0 < log["seconds/updating"] < log["step_time"] for log in logs)


def test_sequences_that_teach_nothing_do_not_weigh_on_the_entropy(qwen3_dir, tmp_path):
    # Two of the four micro-batches have no advantage at all: a 0 for each would halve the mean.
    script = (("pass: pass fail", "pass: fail fail"), ("pass: pass pass", "pass: pass pass"))
    runs = [
        make_trainer(
            qwen3_dir,
            tmp_path,
            script,
            beta=0.0,
            per_device_train_batch_size=1,
            gradient_accumulation_steps=4,
        ),
        make_trainer(qwen3_dir, tmp_path, script, beta=0.0),
    ]
    for trainer in runs:
        trainer.train()
    split, whole = (training_logs(trainer)[0]["entropy"] for trainer in runs)
    assert split == pytest.approx(whole, rel=0.1)


def test_an_evaluation_measures_the_entropy_of_all_sequences(qwen3_dir, tmp_path):
    entropies = [
        make_trainer(qwen3_dir, tmp_path, beta=beta, eval_dataset=scripted_problems(4)).evaluate()[
            "eval_entropy"
        ]
        for beta in (0.0, 0.1)
    ]
    assert entropies[0] == pytest.approx(entropies[1], rel=1e-5)


@pytest.mark.parametrize("name", METRICS)
def test_every_evaluation_logs(name, trained):
    (log,) = [log for log in trained.state.log_history if "eval_loss" in log]
    assert math.isfinite(log[f"eval_{name}"])


@pytest.mark.parametrize(
    "name, values",
    [
        # Of SCRIPT's tuples: four in the first step, four in the second.
        ("parse_rate", (1.0, 0.75)),
        ("judge_pass_rate", (0.75, 2 / 3)),
        ("R_out", (0.75, 0.5)),
        ("R_plan", (0.5, 0.5)),
        ("R_plan_density", (0.5, 0.5)),
        ("frac_groups_zero_std/planner", (0.0, 0.0)),
        ("frac_groups_zero_std/solver", (0.25, 1 / 3)),
        ("distinct_strategies", (2.0, 2.0)),
        ("pass@1", (3 / 8, 2 / 8)),
        ("pass@2", (3 / 4, 2 / 4)),
        ("truncated/planner", (0.0, 0.0)),
        ("truncated/solver", (0.0, 0.0)),
        ("unknown_verdicts", (0, 0)),
        ("kl/planner", (0.0, None)),
    ],
)
def test_metrics_count_what_the_script_says(name, values, trained):
    logs = [log for log in trained.state.log_history if "loss" in log]
    for log, value in zip(logs, values, strict=True):
        assert value is None or log[name] == pytest.approx(value)


def test_truncation_is_logged_by_role(qwen3_dir, tmp_path):
    script = (("pass~: pass fail", "pass: fail pass~"), ("pass: pass fail", "pass: fail pass"))
    trainer = make_trainer(qwen3_dir, tmp_path, script)
    trainer.train()
    log = trainer.state.log_history[0]
    # A plan that is cut is not solved: three tuples have attempts, one attempt of six is cut.
    assert log["truncated/planner"] == 0.25
    assert log["truncated/solver"] == pytest.approx(1 / 6)


def test_repeated_strategies_lower_the_number_of_distinct_ones(qwen3_dir, tmp_path):
    trainer = make_trainer(qwen3_dir, tmp_path, planner_reward="judge", judge=accept_all)
    plans = [ScriptedText("A: same way\nB:  Same way", False, 1.0)] * 3
    plans.append(ScriptedText("A: one way\nB: another way", False, 1.0))
    trainer.rollout_policy.speaker.generator.generate = lambda prompts, *_: [
        ScriptedGenerator(SCRIPT, trainer.processing_class).completion(plan) for plan in plans
    ]
    trainer.train()
    assert trainer.state.log_history[0]["distinct_strategies"] == 1.25


def test_the_completions_table_has_plan_strategies_and_rewards(trained):
    first = table(trained, 1)
    assert [messages[0]["content"].splitlines()[0] for messages in first["completion"]] == [
        f"A: {strategies[0]}" for strategies in first["strategies"]
    ]
    assert [len(strategies) for strategies in first["strategies"]] == [2] * 4
    assert first["judge"].tolist() == [1.0, 1.0, 1.0, 0.0]
    assert first["R_out"].tolist() == [1.0, 0.0, 1.0, 1.0]
    assert first["R_plan"].tolist() == [1.0, 0.0, 1.0, 0.0]
    assert first["advantage"].tolist() == [1.0, -1.0, 1.0, -1.0]


def test_what_reward_functions_log_stands_in_the_row_of_its_tuple(trained):
    first = table(trained, 1)
    assert [list(verdicts) for verdicts in first["verdict"]] == [
        ["ok", "no"],
        ["no", "no"],
        ["ok", "no"],
        ["ok", "no"],
    ]
    assert [list(judged) for judged in first["judged"]] == [[2], [2], [2], [2]]


def test_metrics_of_reward_functions_are_logged(trained):
    logs = [log for log in trained.state.log_history if "loss" in log]
    assert [log["attempts"] for log in logs] == [8.0, 6.0]  # the last tuple does not parse
    assert [log["judged_plans"] for log in logs] == [4.0, 3.0]


def test_metrics_of_reward_functions_are_logged_in_evaluation(trained):
    (log,) = [log for log in trained.state.log_history if "eval_loss" in log]
    assert (log["eval_attempts"], log["eval_judged_plans"]) == (8.0, 4.0)


def test_a_column_that_only_some_batches_log_keeps_the_table_whole(qwen3_dir, tmp_path):
    def logging_verifier(completions, log_extra, **kwargs):
        log_extra("verdict", ["seen"] * len(completions))
        return verifier(completions, **kwargs)

    # Nothing of the first step is verified, all of the evaluation is.
    script = (("broken", "broken"), ("broken", "broken"), ("pass: pass fail", "pass: fail fail"))
    trainer = make_trainer(
        qwen3_dir,
        tmp_path,
        script,
        verifier=logging_verifier,
        train_dataset=scripted_problems(2),
        eval_dataset=scripted_problems(3)[2:],
        log_completions=True,
    )
    trainer.train()
    trainer.evaluate()
    rows = table(trainer)
    assert [len(verdicts) for verdicts in rows["verdict"]] == [
        len(strategies) for strategies in rows["strategies"]
    ]


def test_tensorboard_gets_the_metrics(trained):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    (events,) = (Path(trained.args.output_dir) / "runs").rglob("events.*")
    accumulator = EventAccumulator(str(events.parent)).Reload()
    assert [event.value for event in accumulator.Scalars("train/R_plan")] == [0.5, 0.5]
    assert {"train/grad_norm/planner", "eval/pass@2"} <= set(accumulator.Tags()["scalars"])


def test_the_state_with_all_metrics_is_json(trained, tmp_path):
    trained.state.save_to_json(str(tmp_path / "state.json"))
    assert json.loads((tmp_path / "state.json").read_text())["global_step"] == 2


def test_the_model_card_names_method_and_paper(trained):
    trained.create_model_card(model_name="tiny")
    card = (Path(trained.args.output_dir) / "README.md").read_text()
    assert [text for text in ("CPPO", "2605.27000", "li2026cast") if text not in card] == []


# ---- evaluation ----


def test_evaluate_returns_coverage_and_rewards(qwen3_dir, tmp_path):
    trainer = make_trainer(qwen3_dir, tmp_path, eval_dataset=scripted_problems(4))
    metrics = trainer.evaluate()
    # Attempts that pass of SCRIPT's eight tuples: 1 0 1 1 0 1 1 and none of the unparsable plan.
    assert metrics["eval_pass@1"] == pytest.approx(5 / 16)
    assert metrics["eval_pass@2"] == pytest.approx(5 / 8)
    assert metrics["eval_parse_rate"] == pytest.approx(7 / 8)
    assert metrics["eval_R_plan"] == pytest.approx(4 / 8)


def test_several_evaluation_sets_are_evaluated_by_name(qwen3_dir, tmp_path):
    sets = {"first": scripted_problems(1), "all": scripted_problems(2)}
    metrics = make_trainer(qwen3_dir, tmp_path, eval_dataset=sets).evaluate()
    assert (metrics["eval_first_pass@2"], metrics["eval_all_pass@2"]) == (0.5, 0.75)


def test_evaluate_takes_a_list_of_problems(qwen3_dir, tmp_path):
    trainer = make_trainer(qwen3_dir, tmp_path)
    assert trainer.evaluate(scripted_problems(2))["eval_pass@2"] == 0.75


def test_a_batch_of_unparsable_plans_counts_as_failures(qwen3_dir, tmp_path):
    script = (("broken", "broken"),) * 2 + (("pass: pass fail", "pass: pass pass"),) * 2
    metrics = make_trainer(
        qwen3_dir, tmp_path, script, eval_dataset=scripted_problems(4)
    ).evaluate()  # two problems a batch
    assert metrics["eval_pass@2"] == 0.5
    assert metrics["eval_R_out"] == 0.5


def test_a_smaller_last_batch_counts_by_its_problems(qwen3_dir, tmp_path):
    script = (("pass: pass pass", "pass: pass pass"),) * 2 + (("pass: fail fail",) * 2,)
    metrics = make_trainer(
        qwen3_dir, tmp_path, script, eval_dataset=scripted_problems(3)
    ).evaluate()  # two problems, then one
    assert metrics["eval_pass@1"] == pytest.approx(2 / 3)


def test_without_attempts_no_coverage_is_logged(qwen3_dir, tmp_path):
    trainer = make_trainer(
        qwen3_dir, tmp_path, planner_reward="judge", eval_dataset=scripted_problems(4)
    )
    metrics = trainer.evaluate()
    assert [name for name in metrics if "pass@" in name or "R_out" in name] == []


def test_one_tuple_for_each_problem_is_enough_for_evaluation(qwen3_dir, tmp_path):
    trainer = make_trainer(
        qwen3_dir, tmp_path, num_generations_eval=1, eval_dataset=scripted_problems(4)
    )
    metrics = trainer.evaluate()
    assert metrics["eval_pass@2"] == pytest.approx(3 / 4)
    assert math.isfinite(metrics["eval_loss"])


def test_evaluation_draws_one_attempt_for_each_strategy(qwen3_dir, tmp_path):
    script = (("pass: pass/pass fail/pass", "pass: fail/pass fail/pass"),) * 2
    trainer = make_trainer(
        qwen3_dir,
        tmp_path,
        script,
        solver_group="strategy",
        attempts_per_strategy=2,
        eval_dataset=scripted_problems(2),
    )
    assert trainer.evaluate()["eval_pass@2"] == 0.5


def test_evaluation_leaves_the_training_as_it_was(qwen3_dir, tmp_path):
    settings = {
        "max_steps": 3,
        "gradient_accumulation_steps": 2,
        "steps_per_generation": 4,  # so that some evaluations fall in the middle of a rollout
        "per_device_train_batch_size": 2,
    }
    without = sampling_trainer(qwen3_dir, tmp_path / "without", **settings)
    without.train()
    between = sampling_trainer(
        qwen3_dir,
        tmp_path / "between",
        eval_dataset=scripted_problems(4),
        eval_strategy="steps",
        eval_steps=1,
        eval_on_start=True,
        **settings,
    )
    between.train()
    assert training_logs(between) == training_logs(without)
    assert not moved(adapter_weights(without.model), adapter_weights(between.model))


def test_two_evaluations_of_the_same_weights_give_the_same(qwen3_dir, tmp_path):
    trainer = sampling_trainer(qwen3_dir, tmp_path, eval_dataset=scripted_problems(4))
    first, second = trainer.evaluate(), trainer.evaluate()
    same = ("eval_loss", "eval_pass@1", "eval_entropy/solver", "eval_tokens/solver")
    assert [first[name] for name in same] == [second[name] for name in same]


# ---- what learns ----


def test_the_base_does_not_change(qwen3_dir, tmp_path):
    trainer = make_trainer(qwen3_dir, tmp_path, max_steps=2)
    before = {n: p.clone() for n, p in trainer.model.named_parameters() if "lora_" not in n}
    trainer.train()
    after = {n: p for n, p in trainer.model.named_parameters() if "lora_" not in n}
    assert before
    assert not moved(before, after)


@pytest.mark.parametrize("train_roles", ["planner", "solver"])
def test_train_roles_moves_only_that_adapter(train_roles, qwen3_dir, tmp_path):
    trainer = make_trainer(qwen3_dir, tmp_path, train_roles=train_roles)
    before = adapter_weights(trainer.model)
    trainer.train()
    assert roles_of(moved(before, adapter_weights(trainer.model))) == {train_roles}
    learning = [name for name, p in trainer.model.named_parameters() if p.requires_grad]
    assert roles_of(learning) == {train_roles}


def test_both_adapters_learn_at_their_own_rate(qwen3_dir, tmp_path):
    trainer = make_trainer(qwen3_dir, tmp_path, learning_rate=1e-3, planner_learning_rate=1e-2)
    before = adapter_weights(trainer.model)
    trainer.train()
    after = adapter_weights(trainer.model)
    # Adam's first step moves a weight by its rate, as far as its gradient is above epsilon.
    for role, rate in (("planner", 1e-2), ("solver", 1e-3)):
        steps = [(after[n] - before[n]).abs().max().item() for n in after if f"B.{role}." in n]
        assert max(steps) == pytest.approx(rate, rel=1e-2)


def test_both_learning_rates_are_logged(qwen3_dir, tmp_path):
    trainer = make_trainer(qwen3_dir, tmp_path, learning_rate=1e-3, planner_learning_rate=1e-2)
    trainer.train()
    (log,) = training_logs(trainer)
    assert (log["learning_rate"], log["learning_rate/planner"]) == (1e-3, 1e-2)


def test_without_a_planner_rate_both_adapters_learn_at_the_same(qwen3_dir, tmp_path):
    trainer = make_trainer(qwen3_dir, tmp_path, learning_rate=1e-3)
    assert {group["lr"] for group in trainer.create_optimizer().param_groups} == {1e-3}


def test_the_schedule_scales_both_rates(qwen3_dir, tmp_path):
    trainer = make_trainer(
        qwen3_dir,
        tmp_path,
        learning_rate=1e-3,
        planner_learning_rate=1e-2,
        lr_scheduler_type="linear",
        max_steps=4,
    )
    trainer.create_optimizer_and_scheduler(4)
    trainer.optimizer.step()
    trainer.lr_scheduler.step()
    rates = sorted({group["lr"] for group in trainer.optimizer.param_groups})
    assert rates == pytest.approx([0.75e-3, 0.75e-2])


def test_weights_that_stand_still_stop_the_training(qwen3_dir, tmp_path):
    trainer = make_trainer(qwen3_dir, tmp_path, learning_rate=1e-8)
    for name, parameter in trainer.model.named_parameters():
        if "lora_" in name:  # as trained adapters in bf16: a fresh one has zeros, which can move
            parameter.data = torch.full_like(parameter, 0.1, dtype=torch.bfloat16)
    with pytest.raises(RuntimeError, match=r"moved no weight.*bfloat16"):
        trainer.train()


def test_small_steps_of_float32_weights_pass_the_still_weights_check(qwen3_dir, tmp_path):
    trainer = make_trainer(qwen3_dir, tmp_path, learning_rate=1e-6)
    for name, parameter in trainer.model.named_parameters():
        if "lora_" in name:
            parameter.data.fill_(0.1)
    trainer.train()
    assert any(
        isinstance(callback, StillWeightsCallback)
        for callback in trainer.callback_handler.callbacks
    )


def test_attempts_of_one_strategy_compete(qwen3_dir, tmp_path, verified, recording_verifier):
    # Attempts differ between strategies only: nothing to learn for the solver.
    script = (("pass: pass/pass fail/fail", "pass: fail/fail fail/fail"),) * 2
    still = make_trainer(
        qwen3_dir,
        tmp_path,
        script,
        solver_group="strategy",
        attempts_per_strategy=2,
        beta=0.0,
        verifier=recording_verifier,
    )
    before = adapter_weights(still.model)
    still.train()
    assert len(verified) == 2 * 2 * 2 * 2  # P * M * K * L
    assert roles_of(moved(before, adapter_weights(still.model))) == {"planner"}


def test_attempts_of_one_problem_compete(qwen3_dir, tmp_path):
    # Within a tuple all attempts are equal; within the problem they are not.
    script = (("pass: pass pass", "pass: fail fail"),) * 2
    roles = {}
    for group in ("tuple", "problem"):
        trainer = make_trainer(qwen3_dir, tmp_path, script, solver_group=group, beta=0.0)
        before = adapter_weights(trainer.model)
        trainer.train()
        roles[group] = roles_of(moved(before, adapter_weights(trainer.model)))
        still = trainer.state.log_history[0]["frac_groups_zero_std/solver"]
        assert still == {"tuple": 1.0, "problem": 0.0}[group]
    assert roles == {"tuple": {"planner"}, "problem": {"planner", "solver"}}


@pytest.mark.parametrize(
    "script",
    [
        (("broken", "broken"),) * 2,
        (("pass~: pass pass", "pass~: fail fail"),) * 2,
        (("pass: pass pass", "pass: pass pass"),) * 2,
    ],
    ids=["unparsable", "truncated", "equal"],
)
def test_a_batch_that_teaches_nothing_moves_nothing(script, qwen3_dir, tmp_path):
    trainer = make_trainer(qwen3_dir, tmp_path, script, beta=0.0)
    before = adapter_weights(trainer.model)
    trainer.train()
    assert trainer.state.global_step == 1
    assert training_logs(trainer)[0]["loss"] == 0.0
    assert not moved(before, adapter_weights(trainer.model))
