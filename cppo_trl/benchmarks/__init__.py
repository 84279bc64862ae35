"""Problem sets: each module turns one benchmark into a list of `Problem`.

    from cppo_trl.benchmarks import load_benchmark
    problems = load_benchmark("livecodebench", version="v6", on_bad_row="skip")
    print(problems.describe())

`BENCHMARKS` names them, with how each is graded; `find_overlap` says which problems of a training
set are in an evaluation set too. `cppo-trl benchmark check` runs a benchmark's own solutions.
"""

from .benchmark import Benchmark
from .load import BENCHMARKS, BenchmarkProblems, load_benchmark
from .overlap import Overlap, find_overlap
from .rows import BadRow
from .selection import Selection
from .sources import BenchmarkError, HubUnreachable

__all__ = [
    "BENCHMARKS",
    "BadRow",
    "Benchmark",
    "BenchmarkError",
    "BenchmarkProblems",
    "HubUnreachable",
    "Overlap",
    "Selection",
    "find_overlap",
    "load_benchmark",
]
