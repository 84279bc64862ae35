"""How different the K attempts at a problem are, and what they cost."""

from __future__ import annotations

import ast
import io
import itertools
import keyword
import re
import tokenize
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike

NGRAM = 4  # tokens
THRESHOLD = 0.8  # similarity from which on two programs are near-duplicates
_NO_TEXT = (
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENCODING,
    tokenize.ENDMARKER,
)


def program_similarity(first: str, second: str) -> float:
    """How alike two programs are, from 0 to 1, whatever names they use.

    1 where they are the same but for names, comments, layout and docstrings; else the Jaccard index
    of their sets of 4-grams of tokens, all names of the program's own being one token.
    """
    trees = [_normalised(program) for program in (first, second)]
    if trees[0] is not None and trees[0] == trees[1]:
        return 1.0
    left, right = (_ngrams(program) for program in (first, second))
    union = left | right
    return len(left & right) / len(union) if union else 1.0


def normalise_program(program: str) -> str:
    """The program without names, comments, layout and docstrings: equal results mean the same one.

    What does not parse stays as it is.
    """
    tree = _normalised(program)
    return program if tree is None else tree


def near_duplicate_rate(programs: Sequence[str], threshold: float = THRESHOLD) -> float:
    """The share of pairs of programs that are near-duplicates; 0 for fewer than two programs.

    Args:
        programs: the attempts at one problem that have code.
        threshold: similarity from which on a pair counts.
    """
    pairs = list(itertools.combinations(programs, 2))
    if not pairs:
        return 0.0
    return sum(program_similarity(*pair) >= threshold for pair in pairs) / len(pairs)


def solved_by_one(passed_PK: ArrayLike) -> float:
    """The share of problems that exactly one of the K attempts solved, from passes (P, K).

    High where routes complement each other, low where all do the same.

    Raises:
        ValueError: another shape, or no problem.
    """
    passed_PK = np.asarray(passed_PK, dtype=bool)
    if passed_PK.ndim != 2 or not passed_PK.size:
        raise ValueError(f"passed_PK has shape {passed_PK.shape}; it must be (P, K), and not empty")
    return float((passed_PK.sum(1) == 1).mean())


def pass_per_10k_tokens(pass_at_k: float, tokens: float) -> float:
    """pass@K for 10,000 decoded tokens of a problem, the planner's counted (METHOD, section 7).

    Args:
        pass_at_k: mean over problems, from 0 to 1.
        tokens: mean decoded tokens of one problem, of all its K attempts and plans together.

    Raises:
        ValueError: no tokens.
    """
    if not tokens > 0:
        raise ValueError(f"tokens is {tokens!r}; it must be above 0")
    return pass_at_k / tokens * 10_000


_NAMED = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.ExceptHandler)


class _Rename(ast.NodeTransformer):
    """Numbers the names that a program makes up, in the order in which they come."""

    def __init__(self, own: set[str]) -> None:
        self._own = own
        self._numbers: dict[str, str] = {}

    def _renamed(self, name: str) -> str:
        if name not in self._own:
            return name
        return self._numbers.setdefault(name, f"_{len(self._numbers)}")

    def visit_Name(self, node: ast.Name) -> ast.AST:
        node.id = self._renamed(node.id)
        return node

    def visit_arg(self, node: ast.arg) -> ast.AST:
        node.arg = self._renamed(node.arg)
        node.annotation = None
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.name = self._renamed(node.name)
        node.returns = None
        return self.generic_visit(node)

    visit_AsyncFunctionDef = visit_FunctionDef

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> ast.AST:
        node.name = node.name and self._renamed(node.name)
        return self.generic_visit(node)

    def visit_keyword(self, node: ast.keyword) -> ast.AST:
        node.arg = node.arg and self._renamed(node.arg)
        return self.generic_visit(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        node.name = self._renamed(node.name)
        return self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        if node.value is None:
            return ast.Pass()
        return self.visit(ast.Assign([node.target], node.value))

    def visit_Global(self, node: ast.Global) -> ast.AST:
        return ast.Pass()

    visit_Nonlocal = visit_Global

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        if isinstance(node.value, ast.Constant):
            return None  # a docstring, or another remark
        return self.generic_visit(node)


# A program is met once for each other one of its tuple, and again in other tuples.
@lru_cache(maxsize=4096)
def _normalised(program: str) -> str | None:
    """The syntax tree as text, with names numbered; None for what does not parse."""
    try:
        tree = ast.parse(program)
        return ast.dump(_Rename(_own_names(tree)).visit(tree))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _own_names(tree: ast.AST) -> set[str]:
    """Names that the program binds; built-in functions and imported modules keep theirs."""
    own = set()
    for node in ast.walk(tree):
        if isinstance(node, _NAMED) and node.name:
            own.add(node.name)
        elif isinstance(node, ast.arg):
            own.add(node.arg)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            own.add(node.id)
    return own


@lru_cache(maxsize=4096)
def _ngrams(program: str) -> frozenset[tuple[str, ...]]:
    tokens = _tokens(program)
    if len(tokens) < NGRAM:
        return frozenset([tuple(tokens)] if tokens else [])
    return frozenset(zip(*(tokens[start:] for start in range(NGRAM)), strict=False))


def _tokens(program: str) -> list[str]:
    try:
        own = _own_names(ast.parse(program))
        return [
            "name" if token.string in own else token.string
            for token in tokenize.generate_tokens(io.StringIO(program).readline)
            if token.type not in _NO_TEXT
        ]
    except (SyntaxError, ValueError, RecursionError, MemoryError, tokenize.TokenError):
        words = re.findall(r"\w+|[^\w\s]", program)
        return [
            "name" if word.isidentifier() and not keyword.iskeyword(word) else word
            for word in words
        ]
