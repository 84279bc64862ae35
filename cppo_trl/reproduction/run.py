"""Runs the cells of a table that are not done yet, some at a time, and writes the table."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from dataclasses import replace
from pathlib import Path

from filelock import FileLock, Timeout
from rich.console import Console
from tqdm.auto import tqdm

from cppo_trl.pipeline import PipelineError, Stage
from cppo_trl.pipeline.problems import prepare_problems
from cppo_trl.pipeline.run_stage import run_stage

from .cells import Cells
from .config import TUPLES, Row, TableConfig
from .plan import planned_cells
from .report import write_table
from .tuning import choose, development_score


class Stopped(RuntimeError):
    """Another cell failed, so this row does not go on."""


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
    output.mkdir(parents=True, exist_ok=True)
    lock = FileLock(output / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise PipelineError(f"output is {config.output!r}; another table is made there") from None
    try:
        prepare_problems(config.shared(), output, console)
        work = _Work(config, recipes, output, console, environment, jobs, len(planned))
        chosen = work.run()
        report = write_table(config, output, chosen)
    finally:
        lock.release()
    console.print(f"Report: {report}")
    return report


class _Work:
    """Does the rows of a table, each in a thread of its own, which waits for those it needs."""

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
        self.futures: dict[str, Future] = {}

    def run(self) -> dict[str, int | None]:
        """Does all rows; returns the chosen entry of each one's grid."""
        with self.bar, ThreadPoolExecutor(self.jobs) as pool:
            # A row comes after those that it waits for, so that none waits for one not begun.
            for name, task in self._tasks().items():
                self.futures[name] = pool.submit(self._guarded, task)
            done, _ = wait(self.futures.values(), return_when=FIRST_EXCEPTION)
            errors = [future.exception() for future in done]
            for error in errors:
                if error is not None and not isinstance(error, Stopped):
                    raise error
        return {row: self.futures[row].result() for row in self.config.rows}

    def _tasks(self) -> dict[str, Callable[[], int | None]]:
        planner, rows = self.config.planner_row, list(self.config.rows.values())
        tasks: dict[str, Callable[[], int | None]] = {}
        if planner is not None:
            if isinstance(self.config.gold, Mapping):
                tasks["gold "] = self._gold
            tasks[planner.name] = lambda: self._row(planner)
            if isinstance(self.config.judge, Mapping):
                tasks["judge "] = self._judge
        in_order = sorted(rows, key=lambda row: (row.recipe in TUPLES, self._depth(row)))
        for row in in_order:
            tasks.setdefault(row.name, lambda row=row: self._row(row))
        return tasks

    def _depth(self, row: Row) -> int:
        """How many rows come before it, one starting from the other."""
        return 0 if row.start is None else 1 + self._depth(self.config.rows[row.start])

    def _guarded(self, task: Callable[[], int | None]) -> int | None:
        try:
            return task()
        except BaseException:
            self.failed.set()
            raise

    def _gold(self) -> None:
        self._cell(lambda cells: cells.gold())

    def _judge(self) -> None:
        rate = self._needed(self.config.planner_row.name)
        self._cell(lambda cells: cells.judge(rate))

    def _row(self, row: Row) -> int | None:
        """Tunes, trains and evaluates a row."""
        if row.recipe is None:
            self._cell(lambda cells: cells.evaluation(row, None))
            return None
        if row.recipe in TUPLES:
            self._needed("judge ")
        if row is self.config.planner_row:
            self._needed("gold ")
        before = self.config.rows[row.start] if row.start else None
        before_rate = self._needed(row.start) if row.start else None

        def train(rate: int, seed: int) -> None:
            def made(cells: Cells) -> Stage:
                start = cells.policy(before, before_rate, seed) if before else None
                return cells.training(row, rate, seed, start)

            self._cell(made)

        scores = []
        for rate in range(len(row.grid)):
            train(rate, 0)
            self._cell(lambda cells, rate=rate: cells.development(row, rate))
            folder = self.output / self.cells.development(row, rate).name
            scores.append(development_score(folder, row.method))
        chosen = choose(row, scores, self.output / "rows" / row.name)
        for seed in range(1, self.config.seeds):
            train(chosen, seed)
        self._cell(lambda cells: cells.evaluation(row, chosen))
        return chosen

    def _needed(self, name: str) -> int | None:
        """Waits for what a row builds on."""
        return self.futures[name].result() if name in self.futures else None

    def _cell(self, make: Callable[[Cells], Stage]) -> None:
        if self.failed.is_set():
            raise Stopped
        stage, told = make(self.cells), make(self.anywhere)
        self.bar.set_postfix_str(stage.name)
        run_stage(stage, told, self.output, {}, self.console, self.environment)
        self.bar.update()
