"""The table's settings: what is refused, and that every row spends the same budget."""

from __future__ import annotations

from dataclasses import replace

import pytest
import yaml

from checkout import RECIPES, load_recipe, parse
from cppo_trl.commands.evaluate import read_config
from cppo_trl.pipeline import PipelineError
from cppo_trl.reproduction import Budget, Row, planned_cells, read_table, reproduce
from cppo_trl.reproduction.budget import budget_settings
from cppo_trl.reproduction.cells import Cells
from cppo_trl.reproduction.read import merged, with_benchmarks, with_rows

FILES = {path.stem: path for path in sorted((RECIPES / "configs" / "table").glob("*.yaml"))}
TABLES = {name: read_table(path) for name, path in FILES.items()}
GAP = TABLES["coordination_gap"]
TRAININGS = [
    pytest.param(table, row, id=f"{name}-{row.name}")
    for name, table in TABLES.items()
    for row in table.rows.values()
    if row.recipe
]
WITH_ATTEMPTS = [one for one in TRAININGS if one.values[1].makes_attempts]


def parsed(table, row, tmp_path, rate=0):
    """A training's settings as its recipe reads them."""
    cells = Cells(replace(table, output=str(tmp_path)), RECIPES, tmp_path)
    stage = cells.training(row, rate, 0, tmp_path / "start" if row.start else None)
    ((path, settings),) = stage.files.items()
    settings = {**settings, "use_cpu": True, "bf16": False}  # no accelerator here
    path.parent.mkdir(parents=True)
    path.write_text(yaml.safe_dump(settings))
    return settings, parse(load_recipe(row.recipe), ["--config", str(path)])


@pytest.mark.parametrize(("table", "row"), TRAININGS)
def test_every_training_is_one_that_its_recipe_takes(table, row, tmp_path):
    settings, owners = parsed(table, row, tmp_path)
    for name, value in settings.items():
        if isinstance(value, (int, float)):
            owner = next(one for one in owners if hasattr(one, name))
            assert getattr(owner, name) == value, name


@pytest.mark.parametrize(("table", "row"), WITH_ATTEMPTS)
def test_every_training_makes_as_many_attempts_as_the_budget_says(table, row, tmp_path):
    _, (_, args, _) = parsed(table, row, tmp_path)
    problems = args.generation_batch_size / args.num_generations
    each = getattr(args, "num_strategies", 1) * getattr(args, "attempts_per_strategy", 1)
    steps = args.max_steps * args.gradient_accumulation_steps / args.steps_per_generation
    assert problems * args.num_generations * each == table.budget.attempts
    assert steps * problems * args.num_generations * each == table.budget.total


@pytest.mark.parametrize(("table", "row"), TRAININGS)
def test_every_row_is_tuned_with_as_many_trainings(table, row):
    assert len(row.grid) == len(table.method.grid)


@pytest.mark.parametrize("name", TABLES)
def test_every_evaluation_is_one_that_its_command_takes(name, tmp_path):
    table = replace(TABLES[name], output=str(tmp_path))
    cells = Cells(table, RECIPES, tmp_path)
    for row in table.rows.values():
        rate = 0 if row.recipe else None
        stages = [cells.evaluation(row, rate)]
        stages += [cells.development(row, 0)] if row.recipe else []
        for stage in stages:
            ((path, settings),) = stage.files.items()
            path.parent.mkdir(parents=True)
            path.write_text(yaml.safe_dump(settings))
            config = read_config({"config": path}, {})
            assert (config.k, list(config.methods)) == (table.k, [row.method])
            assert len(config.adapters or config.solver_adapter) == (
                config.seeds if rate == 0 else 0
            )


def test_a_row_starts_from_the_policy_of_the_same_seed(tmp_path):
    cells = Cells(GAP, RECIPES, tmp_path)
    start = cells.policy(GAP.rows["tuple-sft"], 1, 2)
    stage = cells.training(GAP.rows["cppo"], 0, 2, start)
    (settings,) = stage.files.values()
    assert settings["planner_adapter"] == settings["solver_adapter"] == str(start)
    assert start.name == "seed-2"
    assert start in stage.inputs


def test_every_cell_is_planned_once():
    for table in TABLES.values():
        names = [one.name for one in planned_cells(table, RECIPES)]
        trained = [row for row in table.rows.values() if row.recipe]
        each = 2 * len(table.method.grid) + table.seeds - 1
        assert len(set(names)) == len(names) or table.seeds > 1
        assert len(names) == 2 + len(table.rows) + each * len(trained)


def test_a_plan_counts_the_attempts_of_the_budget():
    planned = {one.name: one for one in planned_cells(GAP, RECIPES)}
    assert planned["rows/pkpo/rate-0/seed-0"].attempts == GAP.budget.total
    assert planned["rows/cppo/rate-0/seed-0"].attempts == GAP.budget.total
    assert planned["rows/cppo/rate-0/seed-0"].plans == GAP.budget.total // 4
    assert planned["rows/tuple-sft/rate-0/seed-0"].attempts == 0
    assert (
        planned["rows/plansearch/evaluation"].plans
        == 9 * planned["rows/plansearch/evaluation"].attempts // 4
    )


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("steps", 0, "budget.steps is 0"),
        ("attempts", 2.5, "budget.attempts is 2.5"),
    ],
)
def test_a_budget_is_of_whole_numbers(name, value, said):
    with pytest.raises(PipelineError, match=said):
        replace(GAP.budget, **{name: value})


@pytest.mark.parametrize(
    ("budget", "said"),
    [
        (Budget(1, 48, 48), "budget.attempts is 48; .* must be a multiple of 32"),
        (Budget(1, 64, 6), "budget.micro_batch is 6; for the row 'cppo' .* multiple of 4"),
        (Budget(1, 64, 48), "budget.micro_batch is 48 on 1 processes; it must divide the 64"),
    ],
)
def test_a_budget_that_cannot_be_divided_is_refused(budget, said):
    with pytest.raises(PipelineError, match=said):
        budget_settings(replace(GAP, budget=budget), GAP.rows["cppo"], {})


def test_fewer_attempts_at_a_problem_are_at_more_problems():
    few = budget_settings(GAP, replace(GAP.rows["pkpo"], attempts=8), {})
    many = budget_settings(GAP, replace(GAP.rows["pkpo"], attempts=96), {})
    assert (few["num_generations"], many["num_generations"]) == (8, 96)
    for name in ("per_device_train_batch_size", "gradient_accumulation_steps", "max_steps"):
        assert few[name] == many[name]


def test_what_the_table_decides_cannot_be_set_by_a_row():
    row = replace(GAP.rows["pkpo"], settings={"num_generations": 64})
    with pytest.raises(
        PipelineError, match=r"rows\.pkpo: num_generations is 64; the table decides"
    ):
        Cells(GAP, RECIPES, RECIPES).training(row, 0, 0)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"method": "best"}, "rows.x.method is 'best'; it must be one of direct"),
        ({"method": "direct", "recipe": "grpo"}, "'direct' trains nothing"),
        ({"method": "trained-direct"}, "recipe is None, but .* evaluates a trained solver"),
        ({"method": "cppo", "recipe": "cppo"}, "rows.x.recipe is 'cppo'; it must be one of grpo"),
        ({"method": "direct", "group": "best"}, "rows.x.group is 'best'"),
        ({"method": "direct", "settings": [1]}, "rows.x.settings is .1.; it must be a mapping"),
        ({"method": "planner", "recipe": "sft_planner", "start": "y"}, "only rows of cppo_qwen"),
        ({"method": "trained-direct", "recipe": "upskill"}, "is evaluated by trained-latent"),
        ({"method": "planner", "recipe": "pkpo"}, "'pkpo' trains is evaluated by trained-direct"),
        (
            {"method": "cppo", "recipe": "cppo_qwen", "grid": [{"hub_token": "x"}]},
            "rows.x.hub_token is a secret",
        ),
        ({"method": "direct", "grid": [{"learning_rate": 1}]}, "a grid of a training, but no rec"),
        ({"method": "trained-direct", "recipe": "grpo", "attempts": 0}, "rows.x.attempts is 0"),
        ({"method": "direct", "attempts": 8}, "attempts is 8; .* of a row that is trained by rew"),
    ],
)
def test_a_row_that_cannot_be_made_is_refused(row, said):
    with pytest.raises(PipelineError, match=said):
        Row("x", **row)


def test_rows_that_are_not_tuned_alike_are_refused():
    few = replace(GAP.rows["pkpo"], grid=GAP.rows["pkpo"].grid[:1])
    with pytest.raises(
        PipelineError, match=r"rows\.pkpo\.grid has 1 entries and rows\.grpo\.grid 3"
    ):
        replace(GAP, rows={**GAP.rows, "pkpo": few})


def test_a_table_has_one_row_that_the_others_are_compared_with():
    other = replace(GAP.rows["pkpo"], group="method")
    with pytest.raises(PipelineError, match="exactly one must have the group 'method'"):
        replace(GAP, rows={**GAP.rows, "pkpo": other})


def test_a_row_starts_from_one_that_trains_a_planner():
    row = replace(GAP.rows["cppo"], start="pkpo")
    with pytest.raises(PipelineError, match=r"rows\.cppo\.start is 'pkpo'; it must be a row that"):
        replace(GAP, rows={**GAP.rows, "cppo": row})


@pytest.mark.parametrize("others", [{}, {"solver-pass-k": "cppo"}])
def test_no_row_starts_from_itself(others):
    starts = {"cppo": next(iter(others), "cppo"), **others}
    rows = {name: replace(GAP.rows[name], start=start) for name, start in starts.items()}
    with pytest.raises(PipelineError, match=r"no row may start from itself, as in cppo -> "):
        replace(GAP, rows={**GAP.rows, **rows})


@pytest.mark.parametrize(
    ("name", "settings", "said"),
    [
        ("pkpo", {"num_iterations": 4}, "num_iterations is 4; the table decides how many"),
        ("pkpo", {"steps_per_generation": 8}, "steps_per_generation is 8; the table decides"),
        ("cppo", {"num_strategies": 8}, "num_strategies is 8; it must be k, which is 4"),
        ("cppo", {"attempts_per_strategy": 0}, "attempts_per_strategy is 0; it must be a whole"),
    ],
)
def test_a_row_cannot_spend_another_budget(name, settings, said):
    row = replace(GAP.rows[name], settings={**GAP.rows[name].settings, **settings})
    with pytest.raises(PipelineError, match=rf"rows\.{name}: {said}"):
        Cells(GAP, RECIPES, RECIPES).training(row, 0, 0)


def test_a_training_is_launched_on_as_many_processes_as_the_table_says(tmp_path):
    table = replace(TABLES["benchmarks"], processes=2)
    stage = Cells(table, RECIPES, tmp_path).training(table.rows["pkpo"], 0, 0)
    command = stage.steps[0].command
    assert command[command.index("--num_processes") + 1] == "2"


def test_an_accelerate_file_of_another_number_of_processes_is_refused(tmp_path):
    path = tmp_path / "two.yaml"
    path.write_text("num_processes: 2\n")
    with pytest.raises(PipelineError, match=r"processes is 1, but .* has num_processes 2"):
        budget_settings(replace(GAP, accelerate=str(path)), GAP.rows["pkpo"], {})


def test_an_accelerate_file_that_is_not_there_is_refused_at_once():
    with pytest.raises(
        PipelineError, match=r"accelerate is 'nothing\.yaml'; there is no such file"
    ):
        planned_cells(replace(GAP, accelerate="nothing.yaml"), RECIPES)


def test_a_judge_needs_the_planner_on_whose_plans_it_is_trained():
    with pytest.raises(PipelineError, match=r"judge is .* of a row of sft_planner, and there is n"):
        with_rows(replace(GAP, rows={**GAP.rows, "cppo": replace(GAP.method, start=None)}), [])


def test_rows_are_not_tuned_on_what_is_reported():
    table = TABLES["benchmarks"]
    shown = {"label": "valid", **table.benchmarks["codecontests"], "limit": 5}
    with pytest.raises(PipelineError, match=r"development is .* which is benchmarks\['codecont"):
        replace(table, development=shown)


def test_an_evaluation_is_of_the_files_that_are_read(tmp_path):
    table = replace(TABLES["benchmarks"], benchmarks={"own": f"apps:test={tmp_path}"})
    cells = Cells(table, RECIPES, tmp_path / "output")
    assert tmp_path in cells.evaluation(table.rows["direct"], None).inputs


def test_tries_takes_the_first_entries_of_every_grid():
    few = replace(GAP, tries=1)
    assert {len(row.grid) for row in few.rows.values() if row.recipe} == {1}
    assert few.rows["pkpo"].grid[0] == GAP.rows["pkpo"].grid[0]


def test_quick_changes_what_the_file_says():
    quick = read_table(FILES["coordination_gap"], quick=True)
    assert (quick.seeds, quick.tries) == (1, 1)
    assert quick.budget.steps < GAP.budget.steps
    assert quick.budget.attempts == GAP.budget.attempts


def test_what_is_asked_for_wins_over_quick():
    quick = read_table(FILES["coordination_gap"], ["budget.steps=2"], quick=True)
    assert (quick.budget.steps, quick.evaluation["limit"]) == (2, 128)


def test_mappings_are_merged_entry_by_entry():
    assert merged({"a": {"b": 1, "c": 2}, "d": [1]}, {"a": {"b": 3}, "d": [2]}) == {
        "a": {"b": 3, "c": 2},
        "d": [2],
    }


def test_some_rows_take_with_them_what_they_start_from():
    some = with_rows(GAP, ["pkpo"])
    assert list(some.rows) == ["pkpo", "tuple-sft", "cppo"]
    # Their report does not take the place of the whole one.
    assert (some.report, with_rows(GAP, [*GAP.rows]).report) == ("table-of-some-rows", "table")
    with pytest.raises(PipelineError, match="rows has no 'ppo'; there are direct"):
        with_rows(GAP, ["ppo"])


def test_a_setting_that_no_recipe_knows_is_refused_before_anything_runs():
    row = replace(GAP.rows["pkpo"], settings={"pass_kk": 4})
    with pytest.raises(PipelineError, match=r"pkpo/.*'pass_kk'; did you mean pass_k"):
        planned_cells(replace(GAP, rows={**GAP.rows, "pkpo": row}), RECIPES)


def test_trainings_on_several_processes_go_one_at_a_time(tmp_path):
    table = replace(GAP, processes=2, accelerate=None, output=str(tmp_path / "run"))
    with pytest.raises(PipelineError, match="jobs is 2 with 2 processes"):
        reproduce(table, RECIPES, jobs=2)
    assert not (tmp_path / "run").exists()


def test_some_benchmarks_are_chosen_by_their_labels():
    table = TABLES["benchmarks"]
    assert list(with_benchmarks(table, ["apps"]).benchmarks) == ["apps"]
    with pytest.raises(PipelineError, match="benchmarks has no 'aps'; there are apps"):
        with_benchmarks(table, ["aps"])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("budgets=3", "unknown field 'budgets'"),
        ("budget.step=3", "budget has 'step'; there are steps"),
        ("rows.pkpo.rate=1", "rows.pkpo has 'rate'; there are name"),
        ("rows=3", "rows is 3; it must map names"),
        ("estimate.speed=3", "estimate has 'speed'; there are device"),
        ("estimate.plan_tokens=many", "estimate.plan_tokens is 'many'; it must be a number"),
        ("seeds=0", "seeds is 0; it must be a whole number from 1 on"),
        ("samplers=3", "samplers is 3; it must be a mapping of settings"),
        ("rows.a/b={method: direct}", "rows has 'a/b'; it must be the name of a folder"),
        ("evaluation.batchsize=3", "unexpected keyword argument 'batchsize'"),
        ("evaluation.draws=0", "direct/evaluation: draws is 0; it must be a whole number"),
        ("evaluation.seeds=1", "evaluation.seeds is 1; the table decides it"),
        ("judge.learning_rat=many", "judge: cppo-trl judge does not take"),
    ],
)
def test_a_setting_that_there_is_not_is_refused(change, said):
    with pytest.raises(PipelineError, match=said):
        planned_cells(read_table(FILES["coordination_gap"], [change]), RECIPES)
