"""Runs the cells of a table that are not done yet, some at a time, and writes the table."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from rich.console import Console
from tqdm.auto import tqdm

from cppo_trl.benchmarks import find_overlap
from cppo_trl.pipeline import PipelineError, Stage
from cppo_trl.pipeline.lock import locked
from cppo_trl.pipeline.problems import prepare_problems
from cppo_trl.pipeline.process import end_commands
from cppo_trl.pipeline.run_stage import run_stage
from cppo_trl.problems import Problem

from .cells import Cells
from .config import TableConfig
from .plan import planned_cells
from .report import write_table
from .rows import TUPLES, Row
from .tuning import choose, development_score


class Stopped(RuntimeError):
    """Another cell failed, so this row does not go on."""


@dataclass(frozen=True)
class _Task:
    """What makes one row, or what rows share; `needs` names the tasks that come before it."""

    make: Callable[[], int | None]
    needs: frozenset[str] = frozenset()


def reproduce(
    config: TableConfig,
    recipes: Path,
    console: Console | None = None,
    environment: Mapping[str, str] | None = None,
    jobs: int = 1,
) -> Path:
    """Runs what is not done yet and writes the table.

    A cell that was made in the same way is used again, one that was cut off goes on, one that was
    made in another way is moved aside, as in `pipeline.run_pipeline`.

    Args:
        config: of the table.
        recipes: the folder of the training scripts.
        console: where to say what is done; None for the standard output.
        environment: variables for the commands, beside those of this process.
        jobs: rows that are worked on at a time; the cores are shared out among them.

    Returns:
        The report.

    Raises:
        PipelineError: a setting cannot be used, or another process runs into the directory.
        DataError, ProblemError, BenchmarkError: problems cannot be used, or overlap those that the
            rows are compared on.
        StageFailed: a cell failed, or the judge was rejected.
    """
    console = console or Console()
    output = Path(config.output)
    planned = planned_cells(config, recipes)  # refuses what a cell of later would refuse
    if jobs > 1 and config.processes > 1:
        raise PipelineError(
            f"jobs is {jobs} with {config.processes} processes for each training; one training at "
            "a time can use several, give jobs=1"
        )
    with locked(output, "table"):
        _say_overlap(config, prepare_problems(config.shared(), output, console), console)
        work = _Work(config, recipes, output, console, environment, jobs, len(planned))
        chosen = work.run()
        report = write_table(config, output, chosen)
    console.print(f"Report: {report}")
    return report


def _say_overlap(
    config: TableConfig, held_out: Sequence[Sequence[Problem]], console: Console
) -> None:
    """Says so where rows are tuned on problems that they are compared on; `held_out` are those of
    the development and of each benchmark.
    """
    development, *reported = held_out
    for label, problems in zip(config.benchmarks, reported, strict=True):
        if count := len({pair.train_id for pair in find_overlap(development, problems)}):
            console.print(
                f"{count} of the {len(development)} development problems are among those of "
                f"{label}, on which the rows are compared too"
            )


class _Work:
    """Does the rows of a table, each in a thread of its own once those that it needs are done."""

    def __init__(
        self,
        config: TableConfig,
        recipes: Path,
        output: Path,
        console: Console,
        environment: Mapping[str, str] | None,
        jobs: int,
        total: int,
    ):
        self.config = config
        self.output = output
        self.cells = Cells(config, recipes, output)
        # What a cell is recognised by, wherever it is now.
        anywhere = replace(config, output="OUTPUT")
        self.anywhere = Cells(anywhere, Path("RECIPES"), Path("OUTPUT"))
        self.console = console if jobs == 1 else Console(quiet=True)
        self.jobs = jobs
        threads = os.environ.get("OMP_NUM_THREADS") or str(max(1, (os.cpu_count() or 1) // jobs))
        self.environment = {"OMP_NUM_THREADS": threads, **(environment or {})}
        self.bar = tqdm(total=total, desc="cells", unit="cell")
        self.failed = threading.Event()
        self.chosen: dict[str, int | None] = {}  # task -> entry of its row's grid

    def run(self) -> dict[str, int | None]:
        """Does all rows; returns the chosen entry of each one's grid."""
        with self.bar, ThreadPoolExecutor(self.jobs) as pool:
            try:
                self._work_off(self._tasks(), pool)
            except KeyboardInterrupt:
                self.failed.set()
                end_commands()
                raise
        return {name: self.chosen[name] for name in self.config.rows}

    def _work_off(self, waiting: dict[str, _Task], pool: ThreadPoolExecutor) -> None:
        running: dict[Future, str] = {}
        while waiting or running:
            ready = [name for name in waiting if waiting[name].needs <= self.chosen.keys()]
            # No more than can be worked on: what comes first then goes before what was ready first.
            for name in ready[: self.jobs - len(running)]:
                running[pool.submit(self._guarded, waiting.pop(name).make)] = name
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                name = running.pop(future)
                # What stopped since another failed says nothing of its own: the other one does.
                if not isinstance(future.exception(), Stopped):
                    self.chosen[name] = future.result()

    def _tasks(self) -> dict[str, _Task]:
        config, planner = self.config, self.config.planner_row
        tasks: dict[str, _Task] = {}
        if planner is not None and isinstance(config.gold, Mapping):
            tasks[_GOLD] = _Task(lambda: self._cell(lambda cells: cells.gold()))
        if planner is not None and isinstance(config.judge, Mapping):
            tasks[_JUDGE] = _Task(self._judge, frozenset({planner.name}))
        for name, row in config.rows.items():
            needs = {row.start} if row.start else set()
            if row.recipe in TUPLES:
                needs |= {_JUDGE} & tasks.keys()
            if row is planner:
                needs |= {_GOLD} & tasks.keys()
            tasks[name] = _Task(partial(self._row, row), frozenset(needs))
        first = [_GOLD, _JUDGE, *([planner.name] if planner else [])]  # others wait for them
        return dict(sorted(tasks.items(), key=lambda item: item[0] not in first))

    def _guarded(self, make: Callable[[], int | None]) -> int | None:
        try:
            return make()
        except BaseException:
            self.failed.set()
            raise

    def _judge(self) -> None:
        rate = self.chosen[self.config.planner_row.name]
        self._cell(lambda cells: cells.judge(rate))

    def _row(self, row: Row) -> int | None:
        """Tunes, trains and evaluates a row."""
        if row.recipe is None:
            self._cell(lambda cells: cells.evaluation(row, None))
            return None
        scores = []
        for rate in range(len(row.grid)):
            self._train(row, rate, 0)
            self._cell(lambda cells, rate=rate: cells.development(row, rate))
            folder = self.output / self.cells.development(row, rate).name
            scores.append(development_score(folder, row.method))
        chosen = choose(row, scores, self.output / "rows" / row.name)
        for seed in range(1, self.config.seeds):
            self._train(row, chosen, seed)
        self._cell(lambda cells: cells.evaluation(row, chosen))
        return chosen

    def _train(self, row: Row, rate: int, seed: int) -> None:
        before = self.config.rows[row.start] if row.start else None

        def made(cells: Cells) -> Stage:
            start = cells.policy(before, self.chosen[before.name], seed) if before else None
            return cells.training(row, rate, seed, start)

        self._cell(made)

    def _cell(self, make: Callable[[Cells], Stage]) -> None:
        if self.failed.is_set():
            raise Stopped
        stage, told = make(self.cells), make(self.anywhere)
        self.bar.set_postfix_str(stage.name)
        run_stage(stage, told, self.output, {}, self.console, self.environment)
        self.bar.update()


_GOLD, _JUDGE = "(gold)", "(judge)"  # tasks beside those of the rows
