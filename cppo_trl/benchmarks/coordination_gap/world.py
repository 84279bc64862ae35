"""The world of the coordination gap: statements with m readings, problems, and the two limits."""

from __future__ import annotations

import hashlib
import itertools
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from cppo_trl.plans import normalise_strategy
from cppo_trl.problems import Problem, TestCase

SOURCE = "coordination_gap"
NUM_READINGS = 4
TESTS_PER_PROBLEM = 5
# Share of the statements of each noun that a split holds.
SPLITS = {"train": 0.6, "development": 0.2, "held_out": 0.2}


@dataclass(frozen=True)
class Rule:
    """One thing to compute from the two integers: its name, the strategy sentence, the expression.

    `expression` is Python over the names `a` and `b`; what it gives is printed.
    """

    name: str
    strategy: str
    expression: str

    def program(self, layout: str) -> str:
        """A program that reads two integers in that layout and prints what the rule gives."""
        return f"{LAYOUTS[layout].reader}\nprint({self.expression})"

    def answer(self, a: int, b: int) -> str:
        """What `program` prints for the two integers."""
        return str(eval(self.expression, {}, {"a": a, "b": b}))


@dataclass(frozen=True)
class Layout:
    """How the two integers stand on standard input: in words, what parts them, how to read."""

    words: str
    separator: str
    reader: str


LAYOUTS = {
    "line": Layout("on one line", " ", "a, b = map(int, input().split())"),
    "lines": Layout("on two lines", "\n", "a, b = int(input()), int(input())"),
}

RULES = {
    name: Rule(name, strategy, expression)
    for name, strategy, expression in [
        ("sum", "add the numbers", "a + b"),
        ("fall", "subtract the second from the first", "a - b"),
        ("rise", "subtract the first from the second", "b - a"),
        ("size_of_change", "take the size of the change", "abs(a - b)"),
        ("squared_change", "square the change", "(a - b) ** 2"),
        ("product", "multiply the numbers", "a * b"),
        ("first_by_second", "divide the first by the second", "a // b"),
        ("second_by_first", "divide the second by the first", "b // a"),
        ("rest_by_second", "reduce the first modulo the second", "a % b"),
        ("rest_by_first", "reduce the second modulo the first", "b % a"),
        ("larger", "keep the larger number", "max(a, b)"),
        ("smaller", "keep the smaller number", "min(a, b)"),
        ("half_down", "halve the sum rounding down", "(a + b) // 2"),
        ("half_up", "halve the sum rounding up", "(a + b + 1) // 2"),
        ("bits_in_one", "keep the bits set in just one", "a ^ b"),
        ("bits_in_both", "keep the bits set in both", "a & b"),
        ("bits_in_any", "keep the bits set in any", "a | b"),
        ("first_then_second", "write the second after the first", 'f"{a}{b}"'),
        ("second_then_first", "write the first after the second", 'f"{b}{a}"'),
        ("sum_of_squares", "add the squares", "a * a + b * b"),
        ("change_of_squares", "subtract the squares", "a * a - b * b"),
        ("strictly_between", "count the integers strictly between", "abs(a - b) - 1"),
        ("both_ends", "count the integers with both ends", "abs(a - b) + 1"),
        ("perimeter", "double the sum", "2 * (a + b)"),
    ]
}

# Each noun has m readings that a speaker could mean; nothing in a statement tells which one.
READINGS = {
    "difference": ("fall", "rise", "size_of_change", "bits_in_one"),
    "gap": ("size_of_change", "strictly_between", "rise", "squared_change"),
    "span": ("both_ends", "strictly_between", "larger", "rise"),
    "distance": ("size_of_change", "squared_change", "both_ends", "bits_in_one"),
    "ratio": ("first_by_second", "second_by_first", "rest_by_second", "rest_by_first"),
    "leftover": ("rest_by_second", "rest_by_first", "fall", "smaller"),
    "level": ("smaller", "larger", "half_down", "half_up"),
    "balance": ("fall", "half_down", "half_up", "second_by_first"),
    "union": ("bits_in_any", "sum", "larger", "first_then_second"),
    "overlap": ("bits_in_both", "smaller", "product", "rest_by_first"),
    "join": ("first_then_second", "second_then_first", "bits_in_any", "sum"),
    "extent": ("product", "perimeter", "sum_of_squares", "larger"),
    "frame": ("perimeter", "change_of_squares", "product", "second_then_first"),
    "contrast": (
        "change_of_squares",
        "squared_change",
        "bits_in_one",
        "first_by_second",
    ),
    "total": ("sum", "sum_of_squares", "first_then_second", "perimeter"),
    "match": ("bits_in_both", "bits_in_any", "rise", "second_then_first"),
}

PHRASINGS = (
    "Print the {noun} of two integers given {layout}.",
    "Two integers come {layout}; print their {noun}.",
    "You get two integers {layout}. What is their {noun}?",
    "Find the {noun} of the two integers {layout}.",
    "Given two integers {layout}, output their {noun}.",
    "Read two integers {layout} and report their {noun}.",
    "Write the {noun} of a pair of integers {layout}.",
    "What is the {noun} of two integers {layout}?",
)
TAILS = (
    "",
    " Both are positive.",
    " They are not equal.",
    " Neither is above 99.",
    " Print nothing else.",
)


@dataclass(frozen=True)
class Wording:
    """What a statement is made of: a noun, a phrasing, a tail, a layout. The splits share none."""

    noun: str
    phrasing: int
    tail: int
    layout: str

    @property
    def statement(self) -> str:
        """The problem statement in words."""
        asked = PHRASINGS[self.phrasing].format(noun=self.noun, layout=LAYOUTS[self.layout].words)
        return asked + TAILS[self.tail]


def independent_limit(m: int, k: int) -> float:
    """The highest mean pass@k that k independent samples can reach: `1 - (1 - 1/m)^k`.

    One of m readings is hidden, uniformly. The tests of two readings never agree, so a program
    passes at most one of them, and the chances p_1..p_m that one sample passes reading 1..m add up
    to 1 at most. Samples drawn independently from that distribution all miss reading j with
    probability (1 - p_j)^k, so that the mean pass@k is `1 - mean_j (1 - p_j)^k`. `(1 - p)^k` is
    convex in p: by Jensen's inequality the mean is at least `(1 - mean_j p_j)^k >= (1 - 1/m)^k`,
    with equality for the uniform p. The sampler may be anything that draws its k attempts
    independently given the statement, a perfect one included.

    Raises:
        ValueError: m or k is below 1.
    """
    _check_limit_arguments(m, k)
    return 1 - (1 - 1 / m) ** k


def coordinated_limit(m: int, k: int) -> float:
    """The highest mean pass@k that any k attempts can reach: `min(1, k/m)`.

    A program passes at most one reading, so k programs pass at most k of the m readings, of which
    each is hidden with probability 1/m. Attempts that know of each other reach it by dividing the
    readings among themselves.

    Raises:
        ValueError: m or k is below 1.
    """
    _check_limit_arguments(m, k)
    return min(1.0, k / m)


def _check_limit_arguments(m: int, k: int) -> None:
    if m < 1 or k < 1:
        raise ValueError(f"m={m} readings and k={k} attempts; both must be at least 1")


def split_wordings(split: str) -> list[Wording]:
    """All wordings of a split, noun by noun: 48 a noun for training, 16 for each other split.

    The nouns are a vocabulary that all splits share, since what a noun can mean is learned by heart
    as words are; what a split keeps for itself is the combination of noun, phrasing, tail and
    layout, and the numbers in its tests.

    Raises:
        ValueError: the split is unknown.
    """
    if split not in SPLITS:
        raise ValueError(f"split is {split!r}; it must be one of {', '.join(SPLITS)}")
    names = list(SPLITS)
    before = sum(SPLITS[name] for name in names[: names.index(split)])
    chosen = []
    for noun in READINGS:
        parts = itertools.product(range(len(PHRASINGS)), range(len(TAILS)), LAYOUTS)
        wordings = [Wording(noun, *part) for part in parts]
        _generator("splits", noun).shuffle(wordings)
        first, last = (round(len(wordings) * share) for share in (before, before + SPLITS[split]))
        chosen += wordings[first:last]
    return chosen


def make_problems(n: int, seed: int = 0, split: str = "train") -> list[Problem]:
    """n problems of a split with different statements, each with a uniformly drawn hidden reading.

    `metadata` holds the noun, the names of the admissible readings and the name of the hidden one;
    the statement does not tell it. Nouns are as even as n allows.

    Raises:
        ValueError: the split is unknown, or has fewer than n statements.
    """
    wordings = split_wordings(split)
    if not 1 <= n <= len(wordings):
        raise ValueError(f"n is {n}; the split {split!r} has 1 to {len(wordings)} statements")
    draw = _generator("problems", split, seed)
    draw.shuffle(wordings)
    by_noun = [[wording for wording in wordings if wording.noun == noun] for noun in READINGS]
    draw.shuffle(by_noun)
    rounds = [wording for turn in zip(*by_noun, strict=True) for wording in turn]
    chosen = rounds[:n]
    draw.shuffle(chosen)
    return [_problem(wording, split, draw.choice(READINGS[wording.noun])) for wording in chosen]


def hidden_variants(problem: Problem) -> list[Problem]:
    """The same statement once with each of its readings hidden: m problems that differ in outputs.

    Averaging over them removes the draw of the hidden reading from an evaluation's noise.
    """
    inputs = [test.input for test in problem.tests]
    variants = []
    for reading in problem.metadata["readings"]:
        pairs = [map(int, text.split()) for text in inputs]
        answers = [RULES[reading].answer(*pair) for pair in pairs]
        variants.append(
            replace(
                problem,
                id=f"{problem.id.rpartition('/')[0]}/{reading}",
                tests=_test_cases(inputs, answers),
                metadata={**problem.metadata, "hidden": reading},
            )
        )
    return variants


def belongs(problem: Problem, strategies: Sequence[str]) -> str | None:
    """Why a strategy does not belong to the problem, or None when all of them do.

    The check of a `RuleJudge`: a strategy is valid when it says one of the readings that the
    statement admits. It does not look at the hidden reading, nor for repetitions.
    """
    admitted = {RULES[name] for name in problem.metadata["readings"]}
    for position, strategy in enumerate(strategies, start=1):
        if rule_of(strategy) not in admitted:
            return f"strategy {position} is no reading of {problem.metadata['noun']!r}"
    return None


def rule_of(strategy: str) -> Rule | None:
    """The rule that a strategy sentence says, or None."""
    return _RULE_OF_STRATEGY.get(normalise_strategy(strategy))


_RULE_OF_STRATEGY = {normalise_strategy(rule.strategy): rule for rule in RULES.values()}


def _generator(*key: object) -> random.Random:
    """A random stream of its own for each key, the same in every process and Python version."""
    digest = hashlib.sha256("/".join(map(str, key)).encode()).digest()
    return random.Random(int.from_bytes(digest[:8], "big"))


def _problem(wording: Wording, split: str, hidden: str) -> Problem:
    readings = READINGS[wording.noun]
    separator = LAYOUTS[wording.layout].separator
    pairs = _test_numbers(split, wording.noun, wording.layout)
    inputs = [f"{a}{separator}{b}\n" for a, b in pairs]
    name = f"{wording.noun}-{wording.phrasing}-{wording.tail}-{wording.layout}"
    return Problem(
        id=f"{SOURCE}/{split}/{name}/{hidden}",
        statement=wording.statement,
        tests=_test_cases(inputs, [RULES[hidden].answer(a, b) for a, b in pairs]),
        source=SOURCE,
        metadata={
            "noun": wording.noun,
            "layout": wording.layout,
            "readings": list(readings),
            "hidden": hidden,
        },
    )


def _test_cases(inputs: Iterable[str], answers: Iterable[str]) -> tuple[TestCase, ...]:
    return tuple(
        TestCase(given, f"{answer}\n") for given, answer in zip(inputs, answers, strict=True)
    )


def _test_numbers(split: str, noun: str, layout: str) -> list[tuple[int, int]]:
    """The numbers of a problem's tests: a program passes one reading of the noun at most.

    They depend on split, noun and layout only, so that equal programs for problems of one kind need
    one run. Every reading of the noun differs on some test from every other rule of the library.
    """
    draw = _generator("tests", split, noun, layout)
    while True:
        pairs = [tuple(draw.sample(range(2, 100), 2)) for _ in range(TESTS_PER_PROBLEM)]
        answers = {name: [rule.answer(*pair) for pair in pairs] for name, rule in RULES.items()}
        if all(
            answers[reading] != answers[other]
            for reading in READINGS[noun]
            for other in RULES
            if other != reading
        ):
            return pairs
