"""The world of the coordination gap: its limits hold, its tests decide, its splits are apart."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cppo_trl.benchmarks.coordination_gap import (
    LAYOUTS,
    NUM_READINGS,
    READINGS,
    RULES,
    SPLITS,
    belongs,
    coordinated_limit,
    hidden_variants,
    independent_limit,
    make_problems,
    rule_of,
)
from cppo_trl.benchmarks.coordination_gap.world import split_wordings
from cppo_trl.judges import RuleJudge
from cppo_trl.problems import (
    problems_from_dataset,
    problems_to_dataset,
    validate_problems,
)
from cppo_trl.verifier import CodeVerifier

ALL_PROBLEMS = {split: make_problems(len(split_wordings(split)), 0, split) for split in SPLITS}


@pytest.fixture(scope="module")
def verifier():
    with CodeVerifier() as running:
        yield running


def mean_pass_at_k(chances, k):
    """Mean pass@k of independent samples that pass reading j with chance j, by enumeration."""
    outcomes = [*range(len(chances)), None]  # None: passes no reading
    weights = [*chances, 1 - sum(chances)]
    total = 0.0
    for drawn in itertools.product(range(len(outcomes)), repeat=k):
        probability = 1.0
        for index in drawn:
            probability *= weights[index]
        passed = {outcomes[index] for index in drawn} - {None}
        total += probability * len(passed) / len(chances)
    return total


@pytest.mark.parametrize(("m", "k"), [(4, 4), (5, 4), (2, 3), (3, 1)])
def test_independent_limit_is_what_uniform_sampling_reaches(m, k):
    assert independent_limit(m, k) == pytest.approx(mean_pass_at_k([1 / m] * m, k))


@given(st.lists(st.floats(0, 1), min_size=1, max_size=4), st.integers(1, 4))
def test_no_independent_sampler_is_above_the_limit(weights, k):
    chances = [weight / max(1, sum(weights)) for weight in weights]
    assert mean_pass_at_k(chances, k) <= independent_limit(len(chances), k) + 1e-9


@pytest.mark.parametrize(("m", "k"), [(4, 4), (5, 4), (2, 3), (4, 2)])
def test_coordinated_limit_is_the_best_of_all_assignments(m, k):
    best = max(len(set(passed)) / m for passed in itertools.product(range(m), repeat=k))
    assert coordinated_limit(m, k) == pytest.approx(best)


@pytest.mark.parametrize("limit", [independent_limit, coordinated_limit])
def test_limits_refuse_empty_worlds(limit):
    with pytest.raises(ValueError, match="m=0"):
        limit(0, 4)
    with pytest.raises(ValueError, match="k=0"):
        limit(4, 0)


def test_splits_share_no_statement_and_are_large():
    statements = {
        split: [problem.statement for problem in problems]
        for split, problems in ALL_PROBLEMS.items()
    }
    assert all(len(texts) >= 200 for texts in statements.values())
    together = [text.lower() for texts in statements.values() for text in texts]
    assert len(set(together)) == len(together)


def test_splits_share_no_test():
    def tests(split):
        return {
            (problem.metadata["noun"], problem.metadata["layout"], problem.tests)
            for problem in ALL_PROBLEMS[split]
        }

    for one, other in itertools.combinations(SPLITS, 2):
        assert not tests(one) & tests(other)


def test_every_split_asks_for_every_noun_in_every_layout():
    expected = set(itertools.product(READINGS, LAYOUTS))
    for problems in ALL_PROBLEMS.values():
        assert {(p.metadata["noun"], p.metadata["layout"]) for p in problems} == expected


def test_problems_are_valid_and_survive_a_dataset():
    problems = validate_problems(ALL_PROBLEMS["development"])
    assert problems_from_dataset(problems_to_dataset(problems)) == problems


def test_tests_of_two_readings_never_agree():
    """With equal inputs and some unequal output, no program can pass two readings of a problem."""
    for problem in itertools.chain(*ALL_PROBLEMS.values()):
        variants = hidden_variants(problem)
        assert len(variants) == NUM_READINGS
        assert len({tuple(test.input for test in v.tests) for v in variants}) == 1
        outputs = [tuple(test.output for test in v.tests) for v in variants]
        assert len(set(outputs)) == NUM_READINGS


def test_no_rule_passes_a_reading_that_it_is_not():
    for problem in itertools.chain(*map(hidden_variants, ALL_PROBLEMS["held_out"])):
        numbers = [tuple(map(int, test.input.split())) for test in problem.tests]
        expected = [test.output.strip() for test in problem.tests]
        passing = [
            rule.name
            for rule in RULES.values()
            if [rule.answer(*pair) for pair in numbers] == expected
        ]
        assert passing == [problem.metadata["hidden"]]


def test_programs_pass_exactly_their_own_reading_in_the_verifier(verifier):
    rows = [
        (variant, reading)
        for problem in make_problems(3, 0, "development")
        for variant in hidden_variants(problem)
        for reading in problem.metadata["readings"]
    ]
    programs = [RULES[reading].program(variant.metadata["layout"]) for variant, reading in rows]
    verdicts = verifier.verify_many([variant for variant, _ in rows], programs)
    for (variant, reading), verdict in zip(rows, verdicts, strict=True):
        assert verdict.passed == (reading == variant.metadata["hidden"])


def test_every_program_passes_in_the_verifier(verifier):
    hidden = {}
    for problem in itertools.chain(*map(hidden_variants, ALL_PROBLEMS["train"])):
        hidden.setdefault((problem.metadata["hidden"], problem.metadata["layout"]), problem)
    assert set(hidden) == set(itertools.product(RULES, LAYOUTS))
    programs = [RULES[name].program(layout) for name, layout in hidden]
    verdicts = verifier.verify_many(list(hidden.values()), programs)
    assert all(verdict.passed for verdict in verdicts)


def test_statement_does_not_tell_the_hidden_reading():
    for problem in ALL_PROBLEMS["held_out"]:
        variants = hidden_variants(problem)
        assert {variant.statement for variant in variants} == {problem.statement}
        assert [v.metadata["hidden"] for v in variants] == problem.metadata["readings"]
        assert problem in variants
        assert len({variant.id for variant in variants}) == NUM_READINGS


def test_hidden_reading_is_uniform():
    places = Counter(
        problem.metadata["readings"].index(problem.metadata["hidden"])
        for seed in range(10)
        for problem in make_problems(200, seed, "train")
    )
    # 2000 draws: 500 each, standard deviation 19.
    assert all(abs(places[place] - 500) < 80 for place in range(NUM_READINGS))


def test_problems_are_even_over_nouns_and_differ_by_seed():
    one, other = (make_problems(48, seed, "train") for seed in (0, 1))
    assert set(Counter(problem.metadata["noun"] for problem in one).values()) == {3}
    assert [p.statement for p in one] != [p.statement for p in other]
    assert make_problems(48, 0, "train") == one


def test_problems_are_the_same_in_another_process():
    code = (
        "import json; from cppo_trl.benchmarks.coordination_gap import make_problems;"
        "print(json.dumps([p.to_dict() for p in make_problems(20, 3, 'held_out')]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [p.to_dict() for p in make_problems(20, 3, "held_out")]


@pytest.mark.parametrize("n", [0, 257])
def test_asking_for_more_problems_than_there_are_is_refused(n):
    with pytest.raises(ValueError, match=rf"n is {n}.*1 to 256"):
        make_problems(n, 0, "held_out")


def test_unknown_split_is_refused():
    with pytest.raises(ValueError, match=r"'test'.*train, development, held_out"):
        make_problems(1, 0, "test")


def test_readings_belong_to_their_problem_and_others_do_not():
    for problem in make_problems(32, 0, "development"):
        for rule in RULES.values():
            admitted = rule.name in problem.metadata["readings"]
            assert (belongs(problem, [rule.strategy]) is None) == admitted
        assert "strategy 2" in belongs(problem, [admitted_sentence(problem), "do nothing"])


def test_belonging_does_not_depend_on_the_hidden_reading():
    for problem in make_problems(32, 0, "development"):
        for rule in RULES.values():
            reasons = {belongs(variant, [rule.strategy]) for variant in hidden_variants(problem)}
            assert len(reasons) == 1


def test_rule_judge_accepts_just_the_coordinated_tuples():
    judge = RuleJudge(check=belongs)
    for problem in make_problems(16, 0, "development"):
        readings = [RULES[name].strategy for name in problem.metadata["readings"]]
        for order in itertools.permutations(readings):
            assert judge.judge(problem, order).valid
        assert not judge.judge(problem, [*readings[:3], readings[0].upper() + "."]).valid
        foreign = next(r for r in RULES.values() if r.name not in problem.metadata["readings"])
        assert not judge.judge(problem, [*readings[:3], foreign.strategy]).valid


def test_a_strategy_names_one_rule_whatever_its_dress():
    for rule in RULES.values():
        assert rule_of(f" {rule.strategy.capitalize()}.") == rule
    assert rule_of("guess") is None


def test_every_rule_is_a_reading_of_two_nouns_at_least():
    used = Counter(name for readings in READINGS.values() for name in readings)
    assert set(used) == set(RULES)
    assert min(used.values()) >= 2
    assert {len(set(readings)) for readings in READINGS.values()} == {NUM_READINGS}


def admitted_sentence(problem):
    return RULES[problem.metadata["readings"][0]].strategy
