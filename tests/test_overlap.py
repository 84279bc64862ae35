"""Problems that are in a training and an evaluation set are found."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cppo_trl import Problem, TestCase
from cppo_trl.benchmarks import Overlap, find_overlap
from cppo_trl.benchmarks.codecontests import to_problem as codecontests_problem
from cppo_trl.benchmarks.livecodebench import to_problem as livecodebench_problem
from cppo_trl.benchmarks.overlap import statement_hash
from upstream_rows import codecontests_row, livecodebench_row


def problem(name: str, statement: str, source: str | None = None) -> Problem:
    return Problem(name, statement, (TestCase("1", "1"),), metadata={"source_id": source})


@pytest.mark.parametrize(
    "copy",
    ["print the SUM of a, b!", "  Print the\nsum of $a$, $b$. ", "**Print** the sum of `a`,\tb"],
)
def test_a_statement_is_the_same_whatever_its_form(copy):
    found = find_overlap([problem("t", "Print the sum of a, b.")], [problem("e", copy)])
    assert found == [Overlap("t", "e", "statement")]


@given(*[st.text("aB1 ,_$\n", max_size=6)] * 2)
def test_statements_are_the_same_only_if_their_words_are(one, other):
    def words(text):
        return "".join(char if char.isalnum() else " " for char in text.lower()).split()

    assert (statement_hash(one) == statement_hash(other)) == (words(one) == words(other))


def test_numbers_do_not_run_into_each_other():
    assert statement_hash("3 12") != statement_hash("31 2")


def test_a_problem_is_found_by_its_source_id_if_the_statement_differs():
    train = [codecontests_problem(codecontests_row())]
    row = livecodebench_row(platform="codeforces", question_id="1_A", question_content="Add.")
    assert find_overlap(train, [livecodebench_problem(row)]) == [
        Overlap("1_A. Sum", "1_A", "source id")
    ]


def test_empty_statements_and_unknown_sources_are_not_the_same():
    assert find_overlap([problem("t", "")], [problem("e", "")]) == []
    assert find_overlap([problem("t", "...")], [problem("e", "?")]) == []


def test_different_problems_are_not_found():
    train = [problem("t", "Print the sum.", "codeforces/1_a")]
    assert find_overlap(train, [problem("e", "Print the product.", "codeforces/1_b")]) == []
