"""Take the program out of a completion."""

from __future__ import annotations

import ast
import re
import warnings

_PYTHON = {"python", "python3", "py", "py3"}
# A fence stands at the start of a line with anything after it, or, to open a block, at the end of
# a line of prose with at most one word after it ("Here it is: ```python"). Nothing is given back
# (`++`): on long lines that would take quadratic time.
_FENCE = re.compile(r"(?P<indent>[ \t]*+)(?P<fence>`{3,}+|~{3,}+)(?P<info>[^`]*+)$")
_LATE_FENCE = re.compile(r"(?P<indent>)[^`~]*(?P<fence>`{3,})(?P<info>[\w+-]*)[ \t]*$")
_ONE_LINE = re.compile(r"`{3}(?:python|py)3?[ \t]([^`\n]+)`{3}")
_NAME = "<completion>"  # of the file that the parser takes bare text for
_LONGEST_BARE_TEXT = 100_000  # characters; parsing takes memory many times that
_STATEMENTS = (
    ast.Import,
    ast.ImportFrom,
    ast.FunctionDef,
    ast.AsyncFunctionDef,
    ast.ClassDef,
    ast.Assign,
    ast.AugAssign,
    ast.For,
    ast.While,
    ast.If,
    ast.With,
    ast.Try,
)


def extract_code(completion: str) -> str | None:
    """The program in a completion, or None when there is none; never raises on any text.

    In the text after the last `</think>`, and if that has no program in the text before: the last
    fenced block marked as Python, else the last other one that parses as Python and holds more than
    expressions (an example of the output does not), else the last other one, else the text itself
    if it parses so. A last fence that is not closed runs to the end of the text. Blocks without
    content do not count.
    """
    thought, _, answer = completion.rpartition("</think>")
    code = _program(answer)
    return code if code is not None or not thought else _program(thought)


def _program(text: str) -> str | None:
    blocks = [(info, code) for info, code in _fenced_blocks(text) if code.strip()]
    if not blocks:
        blocks = [("python", code.strip()) for code in _ONE_LINE.findall(text) if code.strip()]
    python = [code for info, code in blocks if info in _PYTHON]
    if python:
        return python[-1]
    if blocks:
        others = [code for _, code in reversed(blocks)]
        return next(filter(_is_bare_code, others), others[0])
    return text.strip("\n") if _is_bare_code(text) else None


def _fenced_blocks(text: str) -> list[tuple[str, str]]:
    """The (language in lower case, code) pairs of the fenced blocks, in order."""
    blocks: list[tuple[str, str]] = []
    block: re.Match[str] | None = None  # the opening line of the block that we are in
    lines: list[str] = []
    for line in text.replace("\r\n", "\n").split("\n"):
        fence = _FENCE.match(line)
        if block is None:
            block = fence or _LATE_FENCE.match(line)
        elif fence is None or not _ends(block, fence):
            lines.append(line.removeprefix(block["indent"]))
        else:
            blocks.append((_language(block), "\n".join(lines) + "\n"))
            lines = []
            # With a language, it opens the next block: the closing line was forgotten.
            block = fence if re.fullmatch(r"\w+", fence["info"].strip()) else None
    if block is not None:
        blocks.append((_language(block), "\n".join(lines).removesuffix("\n") + "\n"))
    return blocks


def _ends(block: re.Match[str], fence: re.Match[str]) -> bool:
    if not fence["fence"].startswith(block["fence"]):
        return False
    # Fences in a docstring are indented: more than 3 columns are too many (as in CommonMark).
    deeper = len(fence["indent"].expandtabs()) - len(block["indent"].expandtabs())
    return deeper <= (0 if fence["info"].strip() else 3)


def _language(fence: re.Match[str]) -> str:
    words = re.findall(r"[\w+#-]+", fence["info"].lower())
    return words[0] if words else ""


def _is_bare_code(text: str) -> bool:
    # A word, a number or "Answer: 42" is valid Python too: ask for a statement or a call.
    if len(text) > _LONGEST_BARE_TEXT:
        return False
    # The parser warns of what looks odd ("1or"); filters for this name are no one else's.
    warnings.filterwarnings("ignore", module=_NAME)
    try:
        tree = ast.parse(text.strip("\n"), _NAME)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return any(
        isinstance(node, _STATEMENTS)
        or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Call))
        for node in tree.body
    )
