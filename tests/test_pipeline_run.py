"""A pipeline runs, goes on after a stop, makes again what changed, and loses nothing."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import yaml
from filelock import FileLock
from PIL import Image
from rich.console import Console

from checkout import RECIPES, REPO, load_recipe
from cppo_trl import Problem, TestCase
from cppo_trl.pipeline import PipelineConfig, PipelineError, StageFailed, run_pipeline
from cppo_trl.pipeline.process import run_with_bar, say_command
from cppo_trl.pipeline.report import write_report
from cppo_trl.pipeline.run import run_stages
from cppo_trl.pipeline.stage import Stage, Step
from cppo_trl.problems import read_problems, write_problems
from cppo_trl.training_data import DataError

ALL = ["gold", "sft", "judge", "warmup", "audit", "cppo", "evaluation"]
QUIET = Console(quiet=True)


# A pipeline of stages that take no time.


def python(code, *arguments, **kind):
    return Step((sys.executable, "-c", code, *map(str, arguments)), **kind)


APPEND = "import sys; open(sys.argv[1], 'a').write(sys.argv[2])"


@pytest.fixture
def output(tmp_path):
    folder = tmp_path / "a run"
    folder.mkdir()
    return folder


def writing(output, name, text, inputs=(), **kind):
    """A stage that appends a text to its result."""
    result = output / name / "result"
    return Stage(name, (python(APPEND, result, text, **kind),), {}, (result,), inputs)


def run(output, *stages, environment=None):
    run_stages(stages, stages, output, QUIET, environment)


def record(output, name):
    return json.loads((output / name / "stage.json").read_text())


def result(output, name):
    return (output / name / "result").read_text()


def test_a_stage_keeps_its_commands_inputs_time_and_that_it_is_done(output):
    source = output / "source"
    source.write_text("x")
    run(output, writing(output, "one", "1", inputs=(source,)))
    found = record(output, "one")
    assert found["done"] is True
    assert found["inputs"] == [str(source)]
    assert found["seconds"] > 0
    (command,) = found["commands"]
    assert f"'{output / 'one' / 'result'}' 1" in command


def test_what_is_done_is_not_done_again(output):
    stages = writing(output, "one", "1"), writing(output, "two", "2", inputs=("one",))
    run(output, *stages)
    run(output, *stages)
    assert [result(output, name) for name in ("one", "two")] == ["1", "2"]


def test_a_changed_stage_is_made_again_with_all_that_build_on_it(output):
    def stages(text):
        return [
            writing(output, "zero", "0"),
            writing(output, "one", text, inputs=("zero",)),
            writing(output, "two", "2", inputs=("one",)),
        ]

    run(output, *stages("1"))
    run(output, *stages("other"))
    assert result(output, "one") == "other"
    assert result(output, "one.1") == "1"
    assert result(output, "two.1") == result(output, "two") == "2"
    assert not (output / "zero.1").exists()
    run(output, *stages("third"))
    assert [result(output, f"one.{number}") for number in (1, 2)] == ["1", "other"]


def test_a_changed_input_file_makes_the_stage_again(output):
    source = output / "source"
    for number, text in enumerate("xy"):
        source.write_text(text)
        run(output, writing(output, "one", "1", inputs=(source,)))
        assert (output / "one.1").exists() == bool(number)


def test_changed_settings_in_a_file_make_the_stage_again(output):
    path = output / "one" / "config.yaml"
    for value in (1, 2):
        stage = writing(output, "one", "1")
        run(output, Stage("one", stage.steps, {path: {"rate": value}}, stage.results))
        assert yaml.safe_load(path.read_text()) == {"rate": value}
    assert yaml.safe_load((output / "one.1" / "config.yaml").read_text()) == {"rate": 1}


def test_a_result_that_was_taken_away_is_made_again_in_place(output):
    stage = writing(output, "one", "1")
    run(output, stage)
    (output / "one" / "result").unlink()
    run(output, stage)
    assert result(output, "one") == "1"
    assert not (output / "one.1").exists()


def test_a_stage_that_was_killed_goes_on_in_its_folder_and_its_times_add_up(output):
    stage = writing(output, "one", "1")
    run(output, stage)
    path = output / "one" / "stage.json"
    path.write_text(json.dumps(record(output, "one") | {"done": False, "seconds": 100.0}))
    run(output, stage)
    assert result(output, "one") == "11"
    assert record(output, "one")["seconds"] > 100.0
    assert not (output / "one.1").exists()


def checkpoint(folder, step, is_whole=True):
    path = folder / f"checkpoint-{step}"
    path.mkdir(parents=True)
    if is_whole:
        (path / "trainer_state.json").write_text("{}")
    return path


SAY = "import sys; open(sys.argv[1], 'w').write(' '.join(sys.argv[2:]))"


def test_a_training_goes_on_from_its_last_checkpoint_that_is_whole(output):
    path = output / "one" / "result"
    stage = Stage("one", (python(SAY, path, trains=True),), {}, (path,))
    run(output, stage)
    assert path.read_text() == ""
    (output / "one" / "stage.json").write_text(json.dumps(record(output, "one") | {"done": False}))
    checkpoint(output / "one", 2)
    last = checkpoint(output / "one", 10)
    checkpoint(output / "one", 12, is_whole=False)  # killed while it was saved
    run(output, stage)
    assert path.read_text() == f"--resume_from_checkpoint {last}"


def test_a_training_made_in_another_way_does_not_go_on_from_its_checkpoints(output):
    checkpoint(output / "one", 2)
    path = output / "one" / "result"
    run(output, Stage("one", (python(SAY, path, trains=True),), {}, (path,)))
    assert path.read_text() == ""
    assert (output / "one.1" / "checkpoint-2").exists()


def test_a_failure_is_told_with_its_last_lines_and_its_log(output):
    code = "import sys; print('first'); print('why', file=sys.stderr); sys.exit(3)"
    with pytest.raises(StageFailed, match="stage 'one' failed") as failure:
        run(output, Stage("one", (python(code),)), writing(output, "two", "2"))
    log = output / "one" / "log.txt"
    assert all(word in str(failure.value) for word in ("first", "why", "status 3", str(log)))
    assert "why" in log.read_text()
    assert record(output, "one")["done"] is False
    assert not (output / "two").exists()


def test_a_stage_that_leaves_no_result_failed(output):
    with pytest.raises(StageFailed, match=r"left no .*nothing"):
        run(output, Stage("one", (python("pass"),), {}, (output / "one" / "nothing",)))
    assert record(output, "one")["done"] is False


ANSWER_NO = "import sys; open(sys.argv[1], 'a').write('no'); sys.exit(1)"


def refusing(output, refused, code=ANSWER_NO):
    path = output / "one" / "result"
    return Stage("one", (python(code, path, refused=refused),), {}, (path,))


def test_an_answer_of_no_stops_and_is_not_asked_for_again(output):
    for _ in range(2):
        with pytest.raises(StageFailed, match="stage 'one': give it more labels"):
            run(output, refusing(output, "give it more labels"), writing(output, "two", "2"))
    assert result(output, "one") == "no"
    assert not (output / "two").exists()


def test_an_answer_of_no_that_is_allowed_later_is_used_as_it_is(output):
    with pytest.raises(StageFailed):
        run(output, refusing(output, "give it more labels"))
    run(output, refusing(output, ""), writing(output, "two", "2", inputs=("one",)))
    assert (result(output, "one"), result(output, "two")) == ("no", "2")


@pytest.mark.parametrize("refused", ["", "give it more labels"])
def test_a_crash_is_no_answer_even_where_an_earlier_one_is_left(refused, output):
    with pytest.raises(StageFailed, match=r"(?s)failed.*ZeroDivisionError"):
        run(output, refusing(output, refused, "1 / 0"))
    (output / "one" / "result").write_text("an earlier answer")
    with pytest.raises(StageFailed, match=r"(?s)failed.*ZeroDivisionError"):
        run(output, refusing(output, refused, "1 / 0"))


def test_variables_go_to_the_commands_and_into_no_file(output):
    code = "import os, sys; open(sys.argv[1], 'w').write(str(len(os.environ['OPENAI_API_KEY'])))"
    path = output / "one" / "result"
    stage = Stage("one", (python(code, path),), {}, (path,))
    run(output, stage, environment={"OPENAI_API_KEY": "sk-1234"})
    assert path.read_text() == "7"
    texts = [file.read_text() for file in output.rglob("*") if file.is_file()]
    assert not any("sk-1234" in text for text in texts)


LAUNCHER = """
import subprocess, sys
subprocess.run([sys.executable, "-c", "import os, sys, time; "
    "open(sys.argv[1], 'w').write(str(os.getpid())); print('up', file=sys.stderr, flush=True); "
    "time.sleep(60)", sys.argv[1]])
"""
STOPPED = f"""
import signal, sys
from pathlib import Path
from rich.console import Console
from cppo_trl.pipeline.process import run_with_bar
signal.signal(signal.SIGTERM, signal.default_int_handler)
command = [sys.executable, "-c", {LAUNCHER!r}, sys.argv[1]]
run_with_bar(command, Path(sys.argv[2]), Console(quiet=True))
"""


def test_what_a_launcher_started_ends_with_the_pipeline(tmp_path):
    pid_file = tmp_path / "pid"
    command = [sys.executable, "-c", STOPPED, str(pid_file), str(tmp_path / "log")]
    stopped = subprocess.Popen(
        command, env=os.environ | {"PYTHONPATH": str(REPO)}, stderr=subprocess.DEVNULL
    )
    try:
        deadline = time.monotonic() + 60
        while not pid_file.exists() or not pid_file.read_text():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        started = psutil.Process(int(pid_file.read_text()))
        stopped.send_signal(signal.SIGTERM)
        assert stopped.wait(timeout=30) != 0
        started.wait(timeout=10)
    finally:
        stopped.kill()


def test_a_command_says_its_progress_and_all_of_it_is_logged(tmp_path, capfd):
    code = "import sys; print('metrics'); print('50%', file=sys.stderr)"
    run_with_bar([sys.executable, "-c", code], tmp_path / "log.txt", Console())
    assert capfd.readouterr().err == "50%\n"
    assert {"metrics", "50%"} == set((tmp_path / "log.txt").read_text().split())


def test_a_command_is_said_in_one_line_that_a_shell_reads(capsys):
    command = ["python", "a path/of [bold]" + "x" * 100, "--template", "{statement}\nPLAN"]
    say_command(Console(width=40), command)
    said = capsys.readouterr().out
    assert said.startswith("$ ")
    assert shlex.split(said[2:]) == command


# What is checked before the first stage.


def problem(name, statement):
    return Problem(name, statement, (TestCase("1", "1"),))


@pytest.fixture
def config(tmp_path):
    write_problems([problem("t", "Print the sum."), problem("u", "x")], tmp_path / "train.jsonl")
    write_problems([problem("e", "print  the sum")], tmp_path / "same.jsonl")
    write_problems([problem("f", "Print the product.")], tmp_path / "other.jsonl")

    def make(**settings):
        least = {
            "model": "base",
            "problems": str(tmp_path / "train.jsonl"),
            "output": str(tmp_path / "run"),
            "held_out": str(tmp_path / "other.jsonl"),
            "teacher": {"model": "large"},
        }
        return PipelineConfig(**least | settings)

    return make


@pytest.mark.parametrize("as_mapping", [False, True])
def test_held_out_problems_may_not_be_trained_on(as_mapping, config, tmp_path):
    source = str(tmp_path / "same.jsonl")
    held_out = {"name": source, "label": "test"} if as_mapping else source
    with pytest.raises(DataError, match=r"same\.jsonl.*e is t \(statement\)") as refusal:
        run_pipeline(config(held_out=held_out), RECIPES, QUIET)
    assert "allow_overlap" not in str(refusal.value)  # a pipeline has no such option
    assert not (tmp_path / "run" / "gold").exists()


def test_training_problems_that_are_held_out_are_dropped_if_told_to(config, tmp_path):
    output = config(held_out=str(tmp_path / "same.jsonl"), drop_overlap=True)
    with pytest.raises(StageFailed):  # there is no such base, nor teacher
        run_pipeline(output, RECIPES, QUIET, {"OPENAI_BASE_URL": "http://127.0.0.1:9/v1"})
    assert [p.id for p in read_problems(tmp_path / "run" / "problems.jsonl")] == ["u"]


def test_two_pipelines_do_not_run_into_one_directory(config, tmp_path):
    (tmp_path / "run").mkdir()
    with (
        FileLock(tmp_path / "run" / ".lock"),
        pytest.raises(PipelineError, match=r"output is .*run'; another pipeline runs into it"),
    ):
        run_pipeline(config(), RECIPES, QUIET)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"gold": {"limits": 3}}, "gold: cppo-trl gold does not take"),
        ({"judge": {"epochs": "many"}}, "judge: cppo-trl judge does not take"),
        ({"audit": {"limit": "all"}}, "audit: cppo-trl audit does not take"),
        (
            {"cppo": {"learning_rat": 1e-5}},
            "cppo: cppo_qwen.py has no .*; did you mean learning_rate",
        ),
        ({"sft": {"beta": 0.1}}, "sft: sft_planner.py has no setting 'beta'"),
        ({"evaluation": {"method": ["direct"]}}, "unexpected keyword argument 'method'"),
        ({"evaluation": {"methods": ["cpo"]}}, "methods has 'cpo'; there are direct"),
        ({"evaluation": {"batch_size": 0}}, "batch_size is 0; it must be a whole number"),
    ],
)
def test_a_setting_of_a_late_stage_is_refused_before_the_first(settings, said, config, tmp_path):
    with pytest.raises(PipelineError, match=said):
        run_pipeline(config(**settings), RECIPES, QUIET)
    assert not (tmp_path / "run").exists()


def pipeline(tmp_path, content, *arguments):
    path = tmp_path / "pipeline.yaml"
    path.write_text(yaml.safe_dump(content))
    return load_recipe("pipeline").main(["--config", str(path), *arguments])


LEAST = {
    "model": "base",
    "problems": "train.jsonl",
    "held_out": "other.jsonl",
    "teacher": {"model": "large"},
}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--set", "output=run", "--set", "seed=x"], "pipeline: seed is 'x'"),
        (["--set", "output=run", "--set", "cppo.judge=x"], "the pipeline decides it"),
        (["--set", "output=run"], "train.jsonl"),  # there is none
        ([], "pipeline: output is ''"),
    ],
)
def test_a_setting_that_cannot_be_used_is_exit_status_2(
    arguments, said, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    assert pipeline(tmp_path, LEAST, *arguments) == 2
    found = capsys.readouterr().err.strip()
    assert said in found
    assert len(found.splitlines()) == 1


def test_a_dry_run_prints_all_commands_and_runs_none(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert pipeline(tmp_path, LEAST | {"output": "a run"}, "--dry_run") == 0
    said = capsys.readouterr().out
    assert [line[2:] for line in said.splitlines() if line.startswith("# ")] == ALL
    assert "--gold" not in said  # it stands in the file
    assert "'a run/gold/gold.jsonl'" in said
    assert os.listdir(tmp_path) == ["pipeline.yaml"]


def test_a_failed_stage_is_exit_status_1(tmp_path, monkeypatch, capfd):
    write_problems([problem("t", "x")], tmp_path / "train.jsonl")
    write_problems([problem("e", "y")], tmp_path / "other.jsonl")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(REPO))
    gone = {"model": "m", "base_url": "http://127.0.0.1:1/v1"}
    content = LEAST | {"output": "run", "teacher": gone, "gold": {"tries": 0}}
    assert pipeline(tmp_path, content) == 1
    said = capfd.readouterr().err
    assert "pipeline: stage 'gold' failed" in said
    assert "run/gold/log.txt" in said


# The whole of it.


def small(stage):
    """The settings of a training that takes two steps and can be gone on with."""
    settings = {
        "num_generations": 2,
        "per_device_train_batch_size": 4,
        "gradient_accumulation_steps": 1,
        "max_steps": 2,
        "level_off_steps": 0,
        "save_strategy": "steps",
        "save_steps": 1,
    }
    return [f"{stage}.{name}={value}" for name, value in settings.items()]


CHANGES = [
    f"accelerate={json.dumps(str(RECIPES / 'accelerate' / 'cpu.yaml'))}",
    "allow_rejected_judge=true",
    "ignore_no_go=true",
    "policy.max_completion_length=24",
    # Learns the few gold tuples by heart, so that some plans are valid and a judge has both labels.
    "sft.num_train_epochs=40",
    "sft.learning_rate=5.0e-3",
    "sft.warmup_steps=1",
    "judge.draws=6",
    "judge.epochs=1",
    "judge.batch_size=16",
    "evaluation.draws=1",
    "audit.limit=2",
    *small("warmup"),
    *small("cppo"),
]
SMALL = [
    *("--num-problems", "12", "--base-steps", "60"),
    *(f"--set={change}" for change in CHANGES),
]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The directory of a whole pipeline, made in a folder with a space; treat it as read-only."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(REPO))
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.setenv("OPENAI_API_KEY", "sk-1234")
        patch.chdir(tmp_path_factory.mktemp("gap"))
        assert load_recipe("coordination_gap").main(["--output", "a run", *SMALL]) == 0
        yield Path("a run").resolve() / "seed-0" / "pipeline"


@pytest.fixture
def again(made, tmp_path):
    """Runs a copy of the pipeline by its own settings, with changes; gives its directory."""
    copy = tmp_path / "copy"
    shutil.copytree(made, copy)

    def run(*changes, status=0):
        given = [part for change in changes for part in ("--set", change)]
        arguments = ["--config", str(made / "pipeline.yaml"), "--set", f"output={copy}", *given]
        assert load_recipe("pipeline").main(arguments) == status
        return copy

    run.folder = copy
    return run


def logs(folder):
    return {name: (folder / name / "log.txt").read_text() for name in ALL}


def test_every_stage_keeps_its_commands_settings_time_and_log(made):
    for name in ALL:
        found = record(made, name)
        assert found["done"] is True, name
        assert found["seconds"] > 0, name
        assert found["commands"], name
        assert (made / name / "log.txt").stat().st_size, name
    for name in ("sft", "warmup", "cppo", "evaluation"):
        assert yaml.safe_load((made / name / "config.yaml").read_text()), name
    assert len(record(made, "judge")["commands"]) == 3  # plans, labels, training


def test_report_has_a_row_for_each_stage_and_a_picture(made):
    text = (made / "report.md").read_text()
    rows = [line.split("|")[1].strip() for line in text.splitlines() if line.startswith("| ")]
    titles = ["Gold tuples", "Planner SFT", "Judge", "Warm-up", "Audit", "Joint CPPO"]
    assert rows == ["stage", *titles, "Held-out problems", "all"]
    assert "12 tuples of 12 problems" in text
    assert "pass@4: direct" in text
    with Image.open(made / "stages.png") as image:
        assert image.width > 1000
    told = json.loads((made / "report.json").read_text())
    assert [one["stage"] for one in told] == ALL
    assert (made / "evaluation" / "report.md").is_file()


def test_settings_of_the_run_are_kept_and_no_secret_is(made):
    kept = yaml.safe_load((made / "pipeline.yaml").read_text())
    assert kept["cppo"]["max_steps"] == 2
    assert kept["seed"] == 0
    texts = [path.read_bytes() for path in made.rglob("*") if path.is_file()]
    assert not any(b"sk-1234" in text for text in texts)


def test_labels_come_from_the_stand_in_and_from_corruption(made):
    labels = [json.loads(line) for line in (made / "judge" / "labels.jsonl").open()]
    sources = {label["source"].partition("/")[0] for label in labels}
    assert sources == {"teacher", "corruption"}
    assert {label["valid"] for label in labels} == {True, False}


def test_training_problems_are_those_of_the_file(made):
    assert len(read_problems(made / "problems.jsonl")) == 12


def test_a_second_run_runs_nothing_again_wherever_the_run_is(again, capfd):
    before = {name: record(again.folder, name) for name in ALL}
    texts = logs(again.folder)
    folder = again()
    assert {name: record(folder, name) for name in ALL} == before
    assert logs(folder) == texts
    assert sorted(path.name for path in folder.iterdir() if path.is_dir()) == sorted(ALL)
    assert capfd.readouterr().out.count("Done before") == len(ALL)


def test_a_changed_joint_stage_is_made_again_with_the_evaluation_alone(again):
    texts = logs(again.folder)
    folder = again("cppo.learning_rate=1e-3")
    folders = {path.name for path in folder.iterdir() if path.is_dir()}
    assert folders == {*ALL, "cppo.1", "evaluation.1"}
    changed = [name for name, text in logs(folder).items() if text != texts[name]]
    assert changed == ["cppo", "evaluation"]
    assert (folder / "cppo.1" / "log.txt").read_text() == texts["cppo"]
    assert (folder / "evaluation.1" / "summary.json").is_file()
    assert yaml.safe_load((folder / "cppo" / "config.yaml").read_text())["learning_rate"] == "1e-3"


def test_a_killed_training_goes_on_from_its_checkpoint(again, capfd):
    folder = again.folder / "cppo"
    (folder / "stage.json").write_text(json.dumps(record(again.folder, "cppo") | {"done": False}))
    (folder / "trainer_state.json").unlink()
    shutil.rmtree(folder / "checkpoint-2")
    again()
    said = "".join(capfd.readouterr().out.split())  # lines are wrapped
    assert said.count("--resume_from_checkpoint") == 1
    assert f"--resume_from_checkpoint{folder / 'checkpoint-1'}" in said
    assert record(again.folder, "cppo")["done"] is True
    assert json.loads((folder / "trainer_state.json").read_text())["global_step"] == 2
    assert not (again.folder / "evaluation.1").exists()


@pytest.mark.parametrize(
    ("change", "stage", "advice"),
    [
        ("allow_rejected_judge=false", "judge", "allow_rejected_judge=true goes on"),
        ("ignore_no_go=false", "audit", "ignore_no_go=true goes on"),
    ],
)
def test_a_rejected_judge_and_a_no_go_stop_with_advice(change, stage, advice, again, capfd):
    assert record(again.folder, stage)["refused"] is True  # so weak a base comes to nothing
    again(change, status=1)
    said = capfd.readouterr().err
    assert f"pipeline: stage '{stage}'" in said
    assert advice in said


def test_a_training_that_logged_nothing_is_reported(made, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(made, copy)
    for name in ("sft", "warmup", "cppo"):
        (copy / name / "trainer_state.json").write_text('{"global_step": 2, "log_history": []}')
    config = yaml.safe_load((made / "pipeline.yaml").read_text()) | {"output": str(copy)}
    report = write_report(PipelineConfig(**config), ALL)
    assert "2 steps; R_plan was not logged" in report.read_text()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--seeds", "0"], "--seeds is 0; it must be 1 or more"),
        (["--jobs", "0"], "--jobs is 0; it must be 1 or more"),
        (["--set", "seed=3"], "--set seed=3: --output and --seeds decide it"),
        (["--set", "output=x"], "--set output=x: --output and --seeds decide it"),
    ],
)
def test_options_of_the_coordination_gap_that_cannot_be_used_are_refused(arguments, said, capsys):
    with pytest.raises(SystemExit) as refusal:
        load_recipe("coordination_gap").parse_arguments(arguments)
    assert refusal.value.code == 2
    assert said in capsys.readouterr().err


def test_bad_settings_of_the_coordination_gap_are_exit_status_2(made, capsys):
    module = load_recipe("coordination_gap")
    assert module.main(["--output", "a run", *SMALL, "--set", "cppo.judge=x"]) == 2
    assert "coordination_gap: cppo.judge is 'x'" in capsys.readouterr().err
