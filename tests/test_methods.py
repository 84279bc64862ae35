"""Each method asks what it should, gives K attempts for a problem, and counts what they cost."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path

import pytest
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from cppo_trl import Problem, Prompts, TestCase
from cppo_trl.generation import Completion, Sampling, Speaker
from cppo_trl.methods import (
    METHODS,
    Direct,
    Latent,
    Method,
    PlanAndSolve,
    PlannedTuple,
    PlanSearch,
    Setup,
    Spent,
    Templates,
    Voice,
)
from cppo_trl.methods.method import answer_text
from cppo_trl.methods.plan_search import combine, listed
from cppo_trl.roles import PLANNER, SOLVER
from cppo_trl.rollouts import RolloutPolicy
from cppo_trl.routing import BASE

K = 3
PROBLEMS = [
    Problem("sum", "Add two numbers.", (TestCase("1 2", "3"),)),
    Problem("twice", "Double {it}.", (TestCase("2", "4"),), "function", "twice", "def twice(x):\n"),
]
SOLVE = "{statement} {contract} FOLLOW {strategy}"


class Echo:
    """Answers a prompt by a function of its text; the tokens are real."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, says: Callable[[str, int], str]):
        self.tokenizer = tokenizer
        self.says = says
        self.asked: list[tuple[str, str]] = []  # adapter, prompt
        self.cut = False

    def generate(
        self, prompts: Sequence[list[int]], adapter: str, sampling: Sampling
    ) -> list[Completion]:
        completions = []
        for ids in prompts:
            prompt = self.tokenizer.decode(ids, skip_special_tokens=True)
            text = self.says(prompt, len(self.asked))
            self.asked.append((adapter, prompt))
            completions.append(Completion(self.tokenizer(text)["input_ids"], truncated=self.cut))
        return completions

    def prompts_of(self, adapter: str) -> list[str]:
        return [prompt for name, prompt in self.asked if name == adapter]


@pytest.fixture
def tokenizer(qwen3_dir: Path) -> PreTrainedTokenizerBase:
    return AutoTokenizer.from_pretrained(qwen3_dir)


@pytest.fixture
def echo(tokenizer: PreTrainedTokenizerBase) -> Echo:
    return Echo(tokenizer, lambda prompt, n: f"answer {n}")


@pytest.fixture
def voices(echo: Echo) -> tuple[Voice, Voice]:
    speaker = Speaker(echo, echo.tokenizer)
    return Voice(speaker, PLANNER, Sampling(64)), Voice(speaker, SOLVER, Sampling(128))


def planned(echo: Echo, **settings: object) -> PlannedTuple:
    speaker = Speaker(echo, echo.tokenizer)
    sampling = Sampling(64)
    prompts = Prompts("{statement} PLAN {k}", SOLVE)
    return PlannedTuple(RolloutPolicy(speaker, prompts, K, sampling, sampling, **settings))


def all_methods(echo: Echo, voices: tuple[Voice, Voice]) -> list[Method]:
    return [
        Direct(voices[1], K),
        Latent(voices[1], K),
        PlanAndSolve(*voices, K),
        PlanSearch(*voices, K),
        planned(echo),
    ]


def test_every_method_gives_k_attempts_for_each_problem_in_order(
    echo: Echo, voices: tuple[Voice, Voice]
) -> None:
    echo.says = lambda prompt, n: f"A: one {n}\nB: two {n}\nC: three {n}"
    for method in all_methods(echo, voices):
        attempted = method.attempt(PROBLEMS)
        assert [item.problem for item in attempted] == PROBLEMS
        assert all(len(item.completions) == method.num_attempts == K for item in attempted)
        assert len({text for item in attempted for text in item.completions}) == 2 * K


def test_every_method_attempts_no_problem_without_asking_anything(
    echo: Echo, voices: tuple[Voice, Voice]
) -> None:
    assert all(method.attempt([]) == [] for method in all_methods(echo, voices))
    assert echo.asked == []


def test_every_decoded_token_is_counted_once(echo: Echo, voices: tuple[Voice, Voice]) -> None:
    echo.says = lambda prompt, n: "A: one\nB: two\nC: three" + " more" * (n % 5)
    for method in all_methods(echo, voices):
        echo.asked.clear()
        attempted = method.attempt(PROBLEMS)
        planner, solver = (len(echo.prompts_of(name)) for name in (PLANNER, SOLVER))
        assert sum(item.spent.planner_calls for item in attempted) == planner
        assert sum(item.spent.solver_calls for item in attempted) == solver == 2 * K
        tokens = sum(
            len(echo.tokenizer(echo.says("", n))["input_ids"]) for n in range(planner + solver)
        )
        assert sum(item.spent.tokens for item in attempted) == tokens


def test_direct_sampling_asks_with_the_statement_the_contract_and_the_starter_code(
    echo: Echo, voices: tuple[Voice, Voice]
) -> None:
    Direct(voices[1], K).attempt(PROBLEMS)
    prompts = echo.prompts_of(SOLVER)
    assert len(set(prompts[:K])) == len(set(prompts[K:])) == 1
    assert "Add two numbers." in prompts[0]
    assert "standard input" in prompts[0]
    assert "Double {it}." in prompts[K]
    assert "the function `twice`" in prompts[K]
    assert "def twice(x):" in prompts[K]


def test_latent_sampling_names_each_number_once(echo: Echo, voices: tuple[Voice, Voice]) -> None:
    Latent(voices[1], K, "{statement} z={z}/{k}").attempt(PROBLEMS[:1])
    assert [f"z={z}/{K}" in p for z, p in enumerate(echo.prompts_of(SOLVER), 1)] == [True] * K


def test_plan_and_solve_follows_each_plan_once_it_is_thought_through(
    echo: Echo, voices: tuple[Voice, Voice]
) -> None:
    echo.says = lambda prompt, n: f"<think>hm</think> plan {n}" if n < 2 * K else "code"
    attempted = PlanAndSolve(*voices, K, solve_template=SOLVE).attempt(PROBLEMS)
    assert attempted[1].strategies == ("plan 3", "plan 4", "plan 5")
    followed = [prompt.partition("FOLLOW ")[2].strip() for prompt in echo.prompts_of(SOLVER)]
    assert [text.splitlines()[0] for text in followed] == [f"plan {n}" for n in range(2 * K)]


def test_plansearch_plans_from_observations_and_what_follows_from_them(
    echo: Echo, voices: tuple[Voice, Voice]
) -> None:
    def says(prompt: str, n: int) -> str:
        if "OBSERVE" in prompt:
            return "1. It is big.\n2) It is red.\n\n- It is big.\n* It is old."
        return f"1. So it is {n}." if "DERIVE" in prompt else f"plan {n}"

    echo.says = says
    method = PlanSearch(
        *voices,
        K,
        observe_template="{statement} OBSERVE",
        derive_template="{statement} DERIVE {observations}",
        plan_template="{statement} PLAN {observations}",
        solve_template=SOLVE,
    )
    (found,) = method.attempt(PROBLEMS[:1])
    asked = echo.prompts_of(PLANNER)
    assert ["OBSERVE" in p for p in asked] == [True] + [False] * (2 * K)
    for derived, planned_from, n in zip(
        asked[1 : K + 1], asked[K + 1 :], range(1, K + 1), strict=True
    ):
        shown = derived.partition("DERIVE ")[2]
        chosen = [line for line in shown.splitlines() if line.startswith("- It is")]
        assert len(chosen) <= 2
        assert all(line in planned_from for line in chosen)
        assert f"- So it is {n}." in planned_from
    assert found.strategies == tuple(f"plan {n}" for n in range(K + 1, 2 * K + 1))
    assert found.spent.planner_calls == 1 + 2 * K


def test_combinations_of_observations_are_drawn_without_repetition_while_there_are_any() -> None:
    drawn = combine("abcd", 11, random.Random(0))
    assert len(set(drawn)) == 11 == 1 + 4 + 6
    assert set(combine("a", 5, random.Random(0))) == {(), ("a",)}
    assert combine("", 3, random.Random(0)) == [()] * 3


def test_plansearch_draws_the_same_combinations_for_the_same_seed(
    echo: Echo, voices: tuple[Voice, Voice]
) -> None:
    echo.says = lambda prompt, n: "\n".join(f"{i}. fact {i}" for i in range(9))

    def asked(seed: int) -> list[str]:
        echo.asked.clear()
        PlanSearch(*voices, K).attempt(PROBLEMS, seed)
        return echo.prompts_of(PLANNER)

    assert asked(0) == asked(0) != asked(1)


def test_a_cut_list_of_observations_loses_its_last_line(
    echo: Echo, voices: tuple[Voice, Voice]
) -> None:
    echo.says = lambda prompt, n: "1. whole\n2. ha"
    echo.cut = True
    (turn,) = voices[0].answer(["?"])
    assert listed(turn) == ("whole",)


def test_a_plan_that_does_not_parse_uses_up_its_attempts(echo: Echo) -> None:
    echo.says = lambda prompt, n: "A: one\nB: two\nC: three" if "Add" in prompt else "no plan"
    parsed, broken = planned(echo).attempt(PROBLEMS)
    assert parsed.strategies == ("one", "two", "three")
    assert (broken.strategies, broken.completions) == (None, (None,) * K)
    assert broken.spent.solver_calls == 0
    assert broken.spent.planner_tokens > 0


@pytest.mark.parametrize(
    ("adapters", "spoken"),
    [
        ({}, {PLANNER, SOLVER}),
        ({SOLVER: BASE}, {PLANNER, BASE}),
        ({PLANNER: BASE, SOLVER: BASE}, {BASE}),
    ],
)
def test_any_pair_of_adapters_can_plan_and_solve(
    adapters: dict[str, str], spoken: set[str], echo: Echo
) -> None:
    echo.says = lambda prompt, n: "A: one\nB: two\nC: three"
    planned(echo, adapters=adapters).attempt(PROBLEMS)
    assert {adapter for adapter, _ in echo.asked} == spoken


@pytest.mark.parametrize(
    ("name", "spoken"),
    [
        ("direct", {BASE}),
        ("latent", {BASE}),
        ("plan-and-solve", {BASE}),
        ("plansearch", {BASE}),
        ("untrained-planner", {BASE}),
        ("planner", {"planner-1", BASE}),
        ("solver", {BASE, "solver-1"}),
        ("cppo", {"planner-1", "solver-1"}),
    ],
)
def test_a_named_method_speaks_as_what_its_name_says(
    name: str, spoken: set[str], echo: Echo
) -> None:
    echo.says = lambda prompt, n: "A: one\nB: two\nC: three"
    setup = Setup(
        Speaker(echo, echo.tokenizer),
        K,
        Sampling(64),
        Sampling(128),
        adapters={PLANNER: "planner-1", SOLVER: "solver-1"},
    )
    attempted = METHODS[name].make(setup).attempt(PROBLEMS)
    assert {adapter for adapter, _ in echo.asked} == spoken
    assert [len(item.completions) for item in attempted] == [K, K]


@pytest.mark.parametrize("name", ["plan-and-solve", "plansearch", "untrained-planner"])
def test_no_planner_thinks(name: str, echo: Echo, monkeypatch: pytest.MonkeyPatch) -> None:
    echo.says = lambda prompt, n: "A: one\nB: two\nC: three"
    told = []
    answer = Speaker.answer

    def spy(self: Speaker, conversations: list, adapter: str, sampling: Sampling, **kwargs: object):
        told.append((sampling.max_new_tokens, kwargs))
        return answer(self, conversations, adapter, sampling, **kwargs)

    monkeypatch.setattr(Speaker, "answer", spy)
    setup = Setup(Speaker(echo, echo.tokenizer), K, Sampling(64), Sampling(128))
    METHODS[name].make(setup).attempt(PROBLEMS)
    assert {str(kwargs) for limit, kwargs in told if limit == 64} == {"{'enable_thinking': False}"}
    assert {str(kwargs) for limit, kwargs in told if limit == 128} == {"{}"}


def test_a_plan_that_was_cut_while_it_was_thought_is_none(
    voices: tuple[Voice, Voice], echo: Echo
) -> None:
    echo.says = lambda prompt, n: "<think>so I have to"
    (turn,) = voices[0].answer(["?"])
    assert answer_text(turn) == ""
    echo.says = lambda prompt, n: "<think>so</think>Sort it."
    (turn,) = voices[0].answer(["?"])
    assert answer_text(turn) == "Sort it."


def test_the_templates_of_an_evaluation_reach_the_methods(echo: Echo) -> None:
    echo.says = lambda prompt, n: "A: one\nB: two\nC: three"
    words = {item.name: item.name.upper() for item in fields(Templates)}
    more = {"latent": "{z}", "derive": "{observations}", "plan_search": "{observations}"}
    templates = Templates(
        **{
            name: "{statement} " + word + " " + (more | {"solve": "{strategy}"}).get(name, "")
            for name, word in words.items()
        }
    )
    speaker = Speaker(echo, echo.tokenizer)
    setup = Setup(speaker, K, Sampling(64), Sampling(64), templates)
    for method in ("direct", "latent", "plan-and-solve", "plansearch", "untrained-planner"):
        METHODS[method].make(setup).attempt(PROBLEMS)
    said = "\n".join(prompt for _, prompt in echo.asked)
    assert [word for word in words.values() if f" {word} " not in said] == []


def test_labels_of_observations_are_no_part_of_them(
    voices: tuple[Voice, Voice], echo: Echo
) -> None:
    echo.says = lambda prompt, n: "A: sort\n2) scan\n- Merge\nO(n) is enough"
    (turn,) = voices[0].answer(["?"])
    assert listed(turn) == ("sort", "scan", "Merge", "O(n) is enough")


def test_what_is_spent_is_told_apart_by_role() -> None:
    assert Spent(1, 10, 3, 60).tokens == 70


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p, s: Direct(s, 0), "num_attempts is 0"),
        (lambda p, s: Direct(s, K, "{contract}"), "direct template lacks .*statement"),
        (lambda p, s: Direct(s, K, "{statement}{z}"), "direct template has the unknown field {z}"),
        (lambda p, s: Latent(s, K, "{statement}"), "latent template lacks .*{z}"),
        (lambda p, s: PlanAndSolve(p, s, K, "{plan}"), "plan_and_solve template has the unknown"),
        (lambda p, s: PlanSearch(p, s, K, num_observations=0), "num_observations is 0"),
        (lambda p, s: PlanSearch(p, s, K, plan_template="{statement}"), "lacks .*observations"),
        (lambda p, s: PlanSearch(p, s, True), "num_attempts is True"),
    ],
)
def test_what_cannot_work_is_refused_at_once(
    make: Callable[[Voice, Voice], Method], message: str, voices: tuple[Voice, Voice]
) -> None:
    with pytest.raises(ValueError, match=message):
        make(*voices)
