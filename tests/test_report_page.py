"""The page of the report in a real browser, at the width of a phone and of a desk."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from cppo_trl.evaluation.report import write_report
from evaluation_samples import sample_evaluation

SIZES = {"phone": (390, 844), "desk": (1280, 900)}
OPTIONS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
HOSTILE = """\
</script><script>alert(1)</script><img src=x onerror="alert(2)">\u2028
<a href="javascript:alert(3)">{{ 7 * 7 }}</a>"""
METHODS = {  # by problem: both, none, cppo only, direct only, unknown
    "direct": ["+---", "----", "----", "-+--", "+--?"] * 8,
    "plan <b>": ["++--", "----", "-+--", "!!!!", "----"] * 8,
}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    names = ("chromium", "chromium-browser", "google-chrome")
    found = next(filter(None, map(shutil.which, names)), None)
    if found is None and not os.environ.get("CPPO_TRL_REQUIRE_BROWSER"):
        pytest.skip(f"no browser: none of {', '.join(names)} is on the PATH")
    assert found, f"CPPO_TRL_REQUIRE_BROWSER is set and none of {', '.join(names)} is on the PATH"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=OPTIONS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Of a report where all text is hostile."""
    evaluation = sample_evaluation(
        {"one:test": METHODS, "two:test": METHODS},
        seeds=2,
        described=f"AT MOST 2 TESTS A PROBLEM {HOSTILE}",
        text=HOSTILE,
        statement=HOSTILE,
        settings={"model": HOSTILE},
        command=HOSTILE,
    )
    return write_report(tmp_path_factory.mktemp("report"), evaluation)[0].as_uri()


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report of 1,000 problems."""
    methods = {"direct": ["+---", "----"] * 500, "cppo": ["+---", "-+--"] * 500}
    evaluation = sample_evaluation({"b": methods}, ks=[1, 4], statement="Add two numbers. " * 60)
    return write_report(tmp_path_factory.mktemp("large"), evaluation)[0]


@pytest.fixture(params=SIZES)
def page(browser: Browser, request: pytest.FixtureRequest) -> Iterator[Page]:
    """A page that must stay without errors, dialogs and requests but for its own file."""
    width, height = SIZES[request.param]
    page = browser.new_page(viewport={"width": width, "height": height})
    trouble: list[str] = []
    requests: set[str] = set()
    page.on("console", lambda message: trouble.append(message.text))
    page.on("pageerror", lambda error: trouble.append(str(error)))
    page.on("dialog", lambda dialog: (trouble.append(dialog.message), dialog.dismiss()))
    page.on("request", lambda request: requests.add(request.url.split("#")[0]))
    yield page
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.close()
    assert trouble == []
    assert len([url for url in requests if not url.startswith("data:")]) == 1


def first_words(page: Page) -> list[str]:
    """The ids in the list as it is shown."""
    return page.locator("#list tbody a").all_inner_texts()


def test_tables_and_figures_are_seen(page: Page, address: str) -> None:
    page.goto(address)
    tables, figures = page.locator("table:visible"), page.locator("svg")
    expect(tables).to_have_count(5)  # scores, differences, diversity, cost, problems
    expect(figures).to_have_count(4)
    for element in [*tables.all(), *figures.all()]:
        box = element.bounding_box()
        assert box["width"] > 200
        assert box["height"] > 100


def test_what_limits_the_numbers_is_seen_without_a_click(page: Page, address: str) -> None:
    page.goto(address)
    expect(page.get_by_text("AT MOST 2 TESTS A PROBLEM").first).to_be_visible()
    expect(page.get_by_text("8 problems are left out of all numbers").first).to_be_visible()


def test_figures_scale_to_the_page(page: Page, address: str) -> None:
    page.goto(address)
    width = page.viewport_size["width"]
    for figure in page.locator("svg").all():
        box = figure.bounding_box()
        assert 0 <= box["x"] < box["x"] + box["width"] <= width


def test_things_to_press_are_large_enough_for_a_thumb(page: Page, address: str) -> None:
    for route in ("", "#/problem/3"):
        page.goto(address + route)
        page.reload()
        page.locator("#list tbody tr, #problem h1").locator("visible=true").first.wait_for()
        for element in page.locator("button:visible, nav a:visible, input:visible").all():
            assert element.bounding_box()["height"] >= 40


def test_a_problem_shows_strategies_programs_and_verdicts(page: Page, address: str) -> None:
    page.goto(address)
    page.get_by_role("link", name="p2", exact=True).first.click()
    expect(page.locator("h1:visible")).to_have_text("p2")
    page.get_by_role("button", name="plan <b>").click()
    attempts = page.locator("#problem article")
    expect(attempts).to_have_count(4)
    expect(attempts.nth(1)).to_contain_text("passed · 2 of 2 tests · 0.25 s CPU")
    expect(attempts.nth(0)).to_contain_text("wrong answer · 0 of 2 tests")
    expect(attempts.nth(0).locator(".why")).to_have_text("test 1: expected <3>")
    expect(attempts.nth(1).locator(".strategy")).to_contain_text("route 1")
    assert attempts.nth(1).locator("code").text_content() == HOSTILE
    assert HOSTILE in page.locator("pre.statement").text_content()
    assert page.locator("#problem img, #problem script, #problem a[href^=javascript]").count() == 0


def test_a_plan_that_does_not_parse_is_said_to_be_k_failures(page: Page, address: str) -> None:
    page.goto(f"{address}#/problem/4/1/0")
    expect(page.get_by_text("The plan does not parse: 4 failures.")).to_be_visible()
    expect(page.get_by_text("Never made.")).to_have_count(4)


def test_every_seed_can_be_chosen_and_linked(page: Page, address: str) -> None:
    page.goto(f"{address}#/problem/3")
    page.get_by_role("button", name="direct 0/8").click()
    page.get_by_role("button", name="seed 1: 0/4").click()
    expect(page).to_have_url(f"{address}#/problem/3/0/1")
    expect(page.get_by_role("button", name="seed 1: 0/4")).to_be_focused()
    page.reload()
    for name in ("direct 0/8", "seed 1: 0/4"):
        expect(page.get_by_role("button", name=name)).to_have_attribute("aria-pressed", "true")


@pytest.mark.parametrize(
    ("kind", "ids"),
    [
        ("solved by every method", {0}),
        ("solved by some method", {0, 2, 3, 4}),
        ("solved by no method", {1}),
        ("methods disagree: some solve it, some do not", {2, 3, 4}),
        ("plan <b> solves it, direct does not", {2}),
        ("direct solves it, plan <b> does not", {3, 4}),
        ("left out for lack of a verdict", {4}),
    ],
)
def test_filters_keep_the_problems_that_they_say(page: Page, address: str, kind, ids) -> None:
    page.goto(address)
    page.get_by_label("Show").select_option(kind)
    page.locator("#benchmark").select_option("two:test")
    assert first_words(page) == [f"p{place}" for place in range(40) if place % 5 in ids]


def test_search_finds_ids_and_statements(page: Page, address: str) -> None:
    page.goto(address)
    search = page.get_by_label("Search id or statement")
    search.fill("P17")
    assert first_words(page) == ["p17", "p17"]
    search.fill("number 33.")
    assert first_words(page) == ["p33", "p33"]
    search.fill("nothing like that")
    expect(page.locator("#found")).to_have_text("No problem is like that.")


@pytest.mark.parametrize("way", ["the browser's button", "the link"])
def test_back_leads_to_the_list_as_it_was(page: Page, address: str, way: str) -> None:
    page.goto(address)
    page.get_by_label("Show").select_option("solved by no method")
    page.get_by_role("link", name="p36", exact=True).first.click()
    expect(page.locator("h1:visible")).to_have_text("p36")
    scrolled = page.evaluate("left")
    if way == "the link":
        page.get_by_role("link", name="Report").click()
    else:
        page.go_back()
    expect(page.locator("#list")).to_be_visible()
    assert first_words(page)[0] == "p1"
    assert scrolled > 100
    assert abs(page.evaluate("scrollY") - scrolled) < 5


def test_neighbours_are_those_of_the_list_as_it_is_filtered(page: Page, address: str) -> None:
    page.goto(address)
    page.get_by_label("Show").select_option("solved by no method")
    page.get_by_role("link", name="p1", exact=True).first.click()
    page.get_by_role("link", name="Next").click()
    expect(page.locator("h1:visible")).to_have_text("p6")
    page.get_by_role("link", name="Previous").click()
    expect(page.locator("h1:visible")).to_have_text("p1")
    page.get_by_role("link", name="Report").click()
    expect(page.locator("#problem")).to_be_hidden()


def test_a_link_to_a_problem_opens_it(page: Page, address: str) -> None:
    page.goto(f"{address}#/problem/42")
    expect(page.locator("h1:visible")).to_have_text("p1")
    expect(page.locator("#problem .eyebrow")).to_have_text("two:test")
    expect(page).to_have_title(re.compile("^p1 – "))


def test_a_link_to_no_problem_leads_to_the_report(page: Page, address: str) -> None:
    page.goto(f"{address}#/problem/4711")
    expect(page.locator("#list")).to_be_visible()


def test_tables_need_no_script(browser: Browser, address: str) -> None:
    page = browser.new_page(java_script_enabled=False)
    page.goto(address)
    expect(page.locator("table:visible")).to_have_count(4)
    expect(page.locator("noscript p")).to_be_visible()
    page.close()


def test_a_thousand_problems_come_in_pages_of_a_hundred(page: Page, large: Path) -> None:
    page.goto(large.as_uri())
    expect(page.locator("#found")).to_have_text("1–100 of 1000 problems")
    expect(page.locator("#list tbody tr")).to_have_count(100)
    page.get_by_role("button", name="Next").click()
    expect(page.locator("#found")).to_have_text("101–200 of 1000 problems")
    page.get_by_label("Search id or statement").fill("p99")
    expect(page.locator("#found")).to_have_text("1–11 of 11 problems")
    page.get_by_role("link", name="p999", exact=True).click()
    expect(page.locator("h1:visible")).to_have_text("p999")


def test_a_single_benchmark_is_not_to_be_chosen(page: Page, large: Path) -> None:
    page.goto(large.as_uri())
    expect(page.locator("#search")).to_be_visible()
    expect(page.locator("#benchmark")).to_be_hidden()
