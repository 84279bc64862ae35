"""What the recipes share: which problems to train on, how programs are checked, reading of both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trl import TrlParser

from .errors import first_line
from .problems import Problem, ProblemError
from .training_data import DataError, load_problems, refuse_overlap
from .verifier import CodeVerifier


@dataclass
class ProblemArguments:
    """The problems of a training, of its evaluations, and those that are kept out of it."""

    problems: str = field(
        metadata={
            "help": "Training problems: a JSONL file of `Problem.to_dict` rows, a benchmark and "
            "its split or version ('codecontests:train', 'livecodebench:v6', 'apps:train=FOLDER'), "
            "or the Hub id of a data set with the columns of such rows (its split 'train')."
        }
    )
    eval_problems: str | None = field(
        default=None,
        metadata={"help": "Problems of the evaluations during training, in the same forms."},
    )
    held_out: list[str] = field(
        default_factory=list,
        metadata={
            "help": "Problems that the result will be evaluated on, in the same forms; none of "
            "them may be among the training problems."
        },
    )
    allow_overlap: bool = field(
        default=False,
        metadata={"help": "Train even if evaluation problems are among the training problems."},
    )

    def load(self, eval_strategy: str) -> tuple[list[Problem], list[Problem] | None]:
        """The training problems, and those of the evaluations during training.

        Args:
            eval_strategy: of the trainer.

        Raises:
            SystemExit: problems that cannot be loaded, that would not be used, or that are in both.
        """
        if self.eval_problems and eval_strategy == "no":
            raise SystemExit(
                "eval_problems is given, but eval_strategy='no' never evaluates; use 'steps' or "
                "'epoch'"
            )
        try:
            train = load_problems(self.problems)
            evaluation = load_problems(self.eval_problems) if self.eval_problems else None
            if not self.allow_overlap:
                held_out = {source: load_problems(source) for source in self.held_out}
                if evaluation:
                    held_out[self.eval_problems] = evaluation
                refuse_overlap(train, held_out)
        except (DataError, ProblemError, OSError) as error:
            raise SystemExit(first_line(error)) from error
        return train, evaluation


@dataclass
class VerifierArguments:
    """How programs are run and their outputs compared."""

    verifier_workers: int | None = field(
        default=None,
        metadata={"help": "Programs run at once by each rank; None is its share of the cores."},
    )
    time_limit: float = field(
        default=6.0, metadata={"help": "CPU seconds of one test, where a problem sets none."}
    )
    memory_limit: int = field(
        default=1024, metadata={"help": "MB of one program, where a problem sets none."}
    )
    compare: str = field(
        default="lcb", metadata={"help": "How outputs are compared; see cppo_trl.verifier."}
    )

    def verifier(self) -> CodeVerifier:
        """The verifier that they describe; close it at the end."""
        return CodeVerifier(
            workers=self.verifier_workers,
            time_limit=self.time_limit,
            memory_limit=self.memory_limit,
            compare=self.compare,
        )


def parse_recipe(argv: Sequence[str], arguments: Sequence[type], default: Path) -> tuple[Any, ...]:
    """Reads a recipe's command line and the YAML file that it names, or the default one.

    Args:
        argv: of the command line.
        arguments: dataclasses whose fields are the options.
        default: the file.

    Returns:
        One of each dataclass.

    Raises:
        ValueError: an option or a setting that there is not, or a value that is not allowed.
    """
    if "--config" not in argv:
        argv = [*argv, "--config", str(default)]
    parser = TrlParser(tuple(arguments), allow_abbrev=False)
    return parser.parse_args_and_config(list(argv))
