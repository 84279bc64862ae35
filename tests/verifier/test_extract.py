"""The program in a completion."""

from __future__ import annotations

import time
import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cppo_trl.verifier import extract_code

CODE = "n = int(input())\nprint(n)\n"


@pytest.mark.parametrize(
    "completion",
    [
        f"```python\n{CODE}```",
        f"```py\n{CODE}```",
        f"```Python3\n{CODE}```",
        f"``` python\n{CODE}```",
        f'```python title="a.py"\n{CODE}```',
        f"~~~python\n{CODE}~~~",
        f"````python\n{CODE}````",
        f"```\n{CODE}```",
        f"Sure. Here it is:\n\n```python\n{CODE}```\nIt reads a number.",
        f"Here it is: ```python\n{CODE}```",
        f"```python\n{CODE}",
        f"```python\r\n{CODE}```".replace("\n", "\r\n").replace("\r\r", "\r"),
        "1. First:\n   ```python\n   n = int(input())\n   print(n)\n   ```\n",
        f"```python\nprint(0)\n```\nBetter:\n```python\n{CODE}```",
        f"```python\n{CODE}```\nExample:\n```\n3\n```",
        f"```python\n{CODE}```\nIn C++:\n```cpp\nint main() {{}}\n```",
        f"```text\n3\n```\n```\n{CODE}```",
        f"```\n{CODE}```\nIt prints:\n```\n3\n```",
        f"```\nprint(0)\n```\nBetter:\n```\n{CODE}```\nInput:\n```text\n1 2\n```",
        f"```python\n{CODE}```\n```python\n```",
        f"```python\nprint(0)\n```python\n{CODE}```",
        f"```python\n{CODE}```<|im_end|>",
        f"```python\n{CODE}``` That is all.",
        f"<think>```python\nprint(0)\n```</think>```python\n{CODE}```",
        f"<think>a</think>b</think>\n```python\n{CODE}```",
        f"```python\n{CODE}```</think>",
        f"<think>no end\n```python\n{CODE}```",
        f"<think>```python\n{CODE}```</think>That is all.",
    ],
)
def test_the_last_program_of_a_completion_is_found(completion: str) -> None:
    assert extract_code(completion) == CODE


@pytest.mark.parametrize("text", [CODE.strip("\n"), "def f(x):\n    return x", "print(1)"])
def test_bare_text_that_is_code_is_taken_as_it_is(text: str) -> None:
    assert extract_code(f"\n{text}\n") == text
    assert extract_code(f"<think>hm</think>\n{text}") == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "42",
        "done",
        "Answer: 42",
        "I cannot solve this.",
        "x = ",
        "```python\n```",
        "```python\n\n  \n```",
        "</think>",
        "x = 1\0",
        "(" * 10_000 + ")" * 10_000,
        "x" + ".y" * 40_000,
    ],
)
def test_what_is_no_program_gives_none(text: str) -> None:
    assert extract_code(text) is None


@pytest.mark.parametrize(
    "text",
    [
        "```" + " " * 50_000 + "x",
        "```" + " " * 50_000 + "`",
        "```python " + " " * 50_000 + "`",
        "a`" * 50_000 + "```",
        "``` " * 20_000,
        "```a b" * 20_000,
        "```python\n" * 20_000,
        "```python " * 20_000,
        "</think>" * 20_000,
        " " * 100_000 + "`",
        "~" * 50_000 + "`",
        " " * 100_000 + "````\n" + "```\n" * 25_000,
        "\t" * 100_000 + "````\n" + "```\n" * 25_000,
    ],
)
def test_hostile_text_takes_no_time(text: str) -> None:
    start = time.process_time()
    extract_code(text)
    assert time.process_time() - start < 2


def test_what_the_parser_has_to_say_about_bare_code_is_kept_from_the_trainer() -> None:
    code = "x = '\\d'\nprint(1or x)"
    for action in ("error", "always"):
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter(action)
            assert extract_code(code) == code
        assert said == []


def test_a_line_of_code_in_one_line_fences_is_found() -> None:
    assert extract_code("Just ```python print(input())```.") == "print(input())"


def test_fences_inside_a_string_of_the_program_do_not_end_it() -> None:
    code = 'def f():\n    """Use\n    ```python\n    f()\n    ```\n    """\n'
    assert extract_code(f"```python\n{code}```") == code


def test_where_no_block_is_a_program_the_last_one_is_taken() -> None:
    assert extract_code("```\nx = (\n```\nor\n```\ny = (\n```") == "y = (\n"


def test_a_longer_fence_holds_shorter_ones() -> None:
    code = 'text = """\n```\n"""\n'
    assert extract_code(f"````python\n{code}````") == code


@given(st.text(alphabet="`~ \n\tpython3<>/thinkx=1()\\'\"#\r\0\ud800", max_size=200))
def test_extraction_never_raises_and_never_gives_blank(text: str) -> None:
    code = extract_code(text)
    assert code is None or code.strip()


@given(st.text(max_size=200), st.sampled_from(["python", "py", ""]))
def test_a_closed_fence_gives_back_what_it_holds(body: str, language: str) -> None:
    body = body.replace("`", "").replace("~", "").replace("\r", "").replace("</think>", "")
    expected = f"{body}\n" if body.strip() else None
    assert extract_code(f"```{language}\n{body}\n```") == expected
