"""The report says what the summaries say, leaves nothing out, and takes no text for markup."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import zlib
from dataclasses import replace
from pathlib import Path

import pytest

from cppo_trl.evaluation.report import write_report
from cppo_trl.evaluation.report.conclusion import conclusion
from cppo_trl.evaluation.results import Evaluation
from evaluation_samples import sample_evaluation

HOSTILE = "</script><img src=x onerror=alert(1)>|*[x](y)`\u2028"
MIXED = {
    "direct": ["++--", "----", "----", "+---"] * 6,
    "worse": ["----"] * 24,
    "same": ["+---", "----", "----", "++--"] * 6,
    "better": ["+---", "-+--", "--+-", "---+"] * 5 + ["+---", "-+--", "--+-", "!!!!"],
}


@pytest.fixture(scope="module")
def mixed() -> Evaluation:
    return sample_evaluation({"one:test": MIXED, "two:test": MIXED}, seeds=2)


def report(tmp_path: Path, evaluation: Evaluation) -> dict[str, str]:
    """The texts of the report by the names of their files."""
    paths = write_report(tmp_path, evaluation)
    return {path.name: path.read_text("utf-8") for path in paths if path.suffix != ".png"}


def table_rows(markdown: str, caption: str) -> dict[str, list[str]]:
    """The cells of each method in the first table below a caption."""
    lines = markdown[markdown.index(caption) :].split("\n\n")[1].splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]
    return {name: cells for name, *cells in rows}


def test_the_page_comes_first_and_all_files_are_there(tmp_path, mixed) -> None:
    paths = write_report(tmp_path / "new", mixed)
    names = ["report.html", "report.md", "summary.json", "pass_at_k.png", "solved_by.png"]
    assert [path.name for path in paths] == names
    assert all(path.stat().st_size > 1000 for path in paths)


def test_scores_in_markdown_are_those_of_the_summaries(tmp_path, mixed) -> None:
    rows = table_rows(report(tmp_path, mixed)["report.md"], "pass@1 and pass@4 in percent")
    for benchmark, column in zip(mixed.benchmarks, (0, 2), strict=True):
        for summary in benchmark.summaries:
            for cell, place in zip(rows[summary.method][column : column + 2], (0, 3), strict=True):
                score = summary.scores[place]
                expected = [f"{100 * x:.1f}" for x in (score.mean, score.low, score.high)]
                assert re.findall(r"\d+\.\d", cell) == expected


def test_differences_in_markdown_are_those_of_the_summaries(tmp_path, mixed) -> None:
    rows = table_rows(report(tmp_path, mixed)["report.md"], "pass@4 less that of the baseline")
    assert [*rows] == ["worse", "same", "better"]
    for benchmark, column in zip(mixed.benchmarks, (0, 1), strict=True):
        for summary in benchmark.summaries[1:]:
            found = summary.against
            cell = rows[summary.method][column].replace("−", "-")
            numbers = [float(n) for n in re.findall(r"[+-]?\d+\.\d+", cell)]
            expected = [100 * found.difference, 100 * found.low, 100 * found.high]
            assert numbers[:3] == pytest.approx(expected, abs=0.05)
            assert numbers[3] == pytest.approx(max(found.p_value, 0.001), abs=0.0005)


def test_marks_stand_exactly_where_a_difference_is_significant(tmp_path, mixed) -> None:
    rows = table_rows(report(tmp_path, mixed)["report.md"], "pass@1 and pass@4 in percent")
    marks = {name: [re.sub(r"[^▲▼]", "", cell) for cell in cells] for name, cells in rows.items()}
    assert marks == {
        "direct": [""] * 4,
        "worse": ["", "▼"] * 2,
        "same": [""] * 4,
        "better": ["", "▲"] * 2,
    }


def test_the_best_of_a_column_are_bold(tmp_path) -> None:
    outcomes = {"direct": ["+---", "--++"], "other": ["-+--", "++--"], "cppo": ["+---", "----"]}
    texts = report(tmp_path, sample_evaluation({"b": outcomes}))
    rows = table_rows(texts["report.md"], "pass@1 and pass@4 in percent")
    bold = {name: ["**" in cell for cell in cells] for name, cells in rows.items()}
    assert bold == {"direct": [True, True], "other": [True, True], "cppo": [False, False]}


def test_problems_without_a_verdict_and_the_cap_on_tests_are_told(tmp_path) -> None:
    cap = "AT MOST 10 TESTS A PROBLEM (fewer than all for 2)"
    outcomes = {"direct": ["+-", "--", "-?"], "cppo": ["++", "?-", "--"]}
    for name, text in report(tmp_path, sample_evaluation({"b": outcomes}, described=cap)).items():
        assert cap in text
        if name == "summary.json":
            assert json.loads(text)["benchmarks"][0]["unknown"] == ["p1", "p2"]
        else:
            assert "2 problems are left out of all numbers for lack of a verdict (1 of 3" in text
            assert "p1, p2" in text


def test_nothing_is_said_of_left_out_problems_where_there_are_none(tmp_path, mixed) -> None:
    assert "left out" not in report(tmp_path, mixed)["report.md"]


@pytest.mark.parametrize(
    ("methods", "said"),
    [
        (
            {"direct": ["--"] * 30, "cppo": ["+-"] * 30},
            "cppo has the highest pass@2 on b, significantly above the baseline direct.",
        ),
        (
            {"direct": ["--", "--"], "cppo": ["+-", "--"]},
            "cppo has the highest pass@2 on b, but not significantly above the baseline direct.",
        ),
        (
            {"direct": ["+-"] * 30, "cppo": ["--"] * 30},
            "the baseline direct has the highest pass@2 on b.",
        ),
        (
            {"direct": ["+-", "--"], "cppo": ["--", "-+"]},
            "the baseline direct and cppo share the highest pass@2 on b.",
        ),
        (
            {"direct": ["--"]},
            "direct has a pass@2 of 0.0 % (0.0–0.0) on b; there is no method to compare it with.",
        ),
    ],
)
def test_the_conclusion_claims_no_more_than_the_numbers(methods, said) -> None:
    assert conclusion(sample_evaluation({"b": methods})) == said


def test_the_conclusion_names_the_benchmarks_where_a_claim_holds() -> None:
    clear = {"direct": ["--"] * 30, "cppo": ["+-"] * 30}
    unclear = {"direct": ["--"] * 30, "cppo": ["+-"] + ["--"] * 29}
    assert conclusion(sample_evaluation({"a": clear, "b": unclear})) == (
        "cppo has the highest pass@2 on a and b, significantly above the baseline direct on a but "
        "not b."
    )


def test_one_seed_is_said_to_leave_out_what_runs_differ_by(tmp_path) -> None:
    text = report(tmp_path, sample_evaluation({"b": {"direct": ["+-", "--"]}}))["report.md"]
    assert "There is one seed, so they do not say how much another run would differ." in text


@pytest.mark.parametrize(("problems", "is_told"), [(29, True), (30, False)])
def test_few_problems_are_said_to_make_the_bootstrap_too_sure(tmp_path, problems, is_told) -> None:
    evaluation = sample_evaluation({"b": {"m": ["+-"] * problems}})
    write_report(tmp_path, evaluation)
    said = "Fewer than 30 problems" in (tmp_path / "report.md").read_text()
    assert said == is_told == ("Fewer than 30 problems" in (tmp_path / "report.html").read_text())


def test_text_of_any_origin_is_no_markup(tmp_path) -> None:
    outcomes = {HOSTILE: ["+-", "--"], "<b>cppo</b>": ["++", "+-"]}
    texts = report(
        tmp_path,
        sample_evaluation(
            {f"bench {HOSTILE}": outcomes},
            described=HOSTILE,
            text=HOSTILE,
            statement=HOSTILE,
            settings={"model": HOSTILE, HOSTILE: {"deep": HOSTILE}},
            command=HOSTILE,
        ),
    )
    assert not re.search("<img|<b>", texts["report.html"])
    assert texts["report.html"].count("<script>") == 1
    outside_of_code = re.sub(r"```.*?\n```", "", texts["report.md"], flags=re.DOTALL)
    assert not re.search(r"(?<!\\)<(?=[a-z/!])(?!/?(details|summary)>)", outside_of_code)
    rows = table_rows(texts["report.md"].replace(r"\|", "_"), "pass@1 and pass@2 in percent")
    assert [len(cells) for cells in rows.values()] == [2, 2]


def test_no_text_ends_its_block_of_code(tmp_path) -> None:
    outcomes = {"b": {"direct": ["+-"]}}
    texts = report(tmp_path, sample_evaluation(outcomes, command="eval \\\n```\n# heading"))
    assert "````bash\neval \\\n```\n# heading\n````" in texts["report.md"]


def test_the_same_evaluation_gives_the_same_bytes(tmp_path, mixed) -> None:
    first, second = (write_report(tmp_path / name, mixed) for name in "ab")
    assert [p.read_bytes() for p in first] == [p.read_bytes() for p in second]


def test_json_has_every_number_and_none_that_is_not_finite(tmp_path, mixed) -> None:
    evaluation = replace(mixed, settings={"top_p": float("nan"), "stop": ("a", "b")})
    text = report(tmp_path, evaluation)["summary.json"]
    found = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert found["settings"] == {"top_p": None, "stop": ["a", "b"]}
    assert found["sessions"] == list(evaluation.sessions)
    for told, benchmark in zip(found["benchmarks"], evaluation.benchmarks, strict=True):
        for method, summary in zip(told["methods"], benchmark.summaries, strict=True):
            assert method["method"] == summary.method
            assert [s["mean"] for s in method["pass_at_k"]] == [s.mean for s in summary.scores]
            assert method["significant"] == summary.is_significant
            assert (method["against"] or {}).get("p_value") == (
                summary.against and summary.against.p_value
            )
            numbers = ("distinct", "parse_rate", "near_duplicates", "pass_per_10k_tokens")
            assert all(method[name] == getattr(summary, name) for name in numbers)


def test_the_page_asks_for_nothing_but_itself(tmp_path, mixed) -> None:
    html = report(tmp_path, mixed)["report.html"]
    assert set(re.findall(r"(?:src|href|action)=\"([^#\"][^,\"]*)", html)) <= {
        "data:",
        "data:image/png;base64",
    }
    assert "@import" not in html
    assert "url(http" not in html
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', html)[1]
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    script = re.search(r"<script>(.*?)</script>", html, re.DOTALL)[1]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"'sha256-{digest}'" in policy


def test_no_id_is_twice_on_the_page(tmp_path, mixed) -> None:
    ids = re.findall(r'\sid="([^"]*)"', report(tmp_path, mixed)["report.html"])
    assert len(ids) > 50
    assert len(ids) == len(set(ids))


def test_equal_programs_of_a_problem_are_kept_once(tmp_path, mixed) -> None:
    html = report(tmp_path, mixed)["report.html"]
    packed = re.search(r'id="page-1">([^<]*)<', html)[1]
    page = json.loads(zlib.decompress(base64.b64decode(packed)))
    assert page["texts"] == [f"print({place})" for place in range(4)]
    assert [len(tuples) for tuples in page["tuples"]] == [2] * 4


def test_scores_without_pass_at_K_are_refused(tmp_path) -> None:
    evaluation = sample_evaluation({"b": {"direct": ["+-"]}}, ks=[1])
    with pytest.raises(ValueError, match=r"'direct' has no pass@2 on b"):
        write_report(tmp_path, evaluation)
