"""What a program needs loaded before it runs, told from its text.

Modules that many programs import are loaded once, by the zygote, which saves most of the time that
a short program takes. Function problems get the names that LeetCode's and LiveCodeBench's graders
import for every solution; solutions use `List` without importing it.
"""

from __future__ import annotations

import re
import sys
from functools import lru_cache

# In every zygote from its start: what most programs import, and what the library itself imports
# late. Each module makes every fork dearer.
PRELOADED = tuple(
    """
    __future__ bisect collections functools heapq io itertools json math operator os re string sys
    time typing
    """.split()
)
# And where children can open no files, so that there is no other time for them.
PRELOADED_BLIND = tuple(
    """
    _strptime abc array cmath concurrent.futures.thread contextlib copy copyreg dataclasses datetime
    decimal encodings.ascii encodings.latin_1 enum fractions inspect linecache locale numbers
    pathlib pickle queue random statistics struct textwrap threading traceback types warnings
    """.split()
)
# Loaded when the first program asks: free of effects at import, and safe to fork after; the last
# line is third-party. What is not here, a program loads for itself.
_LOADED_ONCE = frozenset(
    """
    __future__ abc array bisect collections contextlib copy copyreg dataclasses datetime enum
    functools heapq io itertools json math numbers operator os queue random re string struct sys
    threading time types typing warnings
    numpy scipy sympy networkx sortedcontainers pandas
    """.split()
)
_PARTS = {"numpy": ("numpy.fft", "numpy.linalg", "numpy.random")}  # that it imports late
_SPEAKING = ("antigravity", "idlelib", "this", "turtledemo")  # that do something when imported
_LOADED_LATE = sys.stdlib_module_names - {*_LOADED_ONCE, *PRELOADED_BLIND, *_SPEAKING}
_IMPORT = re.compile(
    r"^[ \t]*(?:from[ \t]+(\w+)[\w.]*[ \t]+import\b|import[ \t]+([\w., \t]+))", re.MULTILINE
)
_WORD = re.compile(r"[A-Za-z_]\w*")
_ATTRIBUTE_OF = re.compile(r"\b([a-z]\w*)[ \t]*\.")

_PROVIDED: dict[str, tuple[str, str | None]] = {
    name: (module, name)
    for module, names in {
        "typing": "Any Callable DefaultDict Deque Dict FrozenSet Generator Generic Iterable"
        " Iterator List Literal Mapping NamedTuple Optional Sequence Set Tuple Type TypeVar Union",
        "collections": "ChainMap Counter OrderedDict defaultdict deque namedtuple",
        "heapq": "heapify heappop heappush heappushpop heapreplace merge nlargest nsmallest",
        "bisect": "bisect_left bisect_right insort insort_left insort_right",
        "math": "ceil comb cos dist exp factorial floor gcd hypot inf isqrt lcm log log10 log2 pi"
        " perm prod sin sqrt tan",
        "itertools": "accumulate chain combinations combinations_with_replacement compress count"
        " cycle dropwhile groupby islice pairwise permutations product repeat starmap takewhile"
        " zip_longest",
        "functools": "cache cached_property cmp_to_key lru_cache partial reduce",
        "operator": "add and_ attrgetter itemgetter mul or_ sub xor",
        "string": "ascii_letters ascii_lowercase ascii_uppercase digits punctuation",
        "copy": "deepcopy",
        "random": "randint randrange shuffle",
        "dataclasses": "dataclass field",
        "datetime": "date timedelta",
    }.items()
    for name in names.split()
}
_PROVIDED_MODULES = """
    bisect collections copy datetime functools heapq itertools json math operator random re
    statistics string sys time typing
"""


# What LiveCodeBench's grader puts before a program: these names, and a deeper recursion.
_STARRED = """
    string re datetime collections heapq bisect copy math random statistics itertools functools
    operator io sys json builtins typing
""".split()
_IMPORTED = """
    string re datetime collections heapq bisect copy math random statistics itertools functools
    operator io sys json
""".split()
PRELUDES = {
    "lcb": "\n".join(
        [
            *(f"from {module} import *" for module in _STARRED),
            *(f"import {module}" for module in _IMPORTED),
            "sys.setrecursionlimit(50000)",
        ]
    )
}


def imported_modules(program: str) -> set[str]:
    """The top-level modules that the program's import statements name (in text as well)."""
    found = set()
    for origin, names in _IMPORT.findall(program):
        for name in [origin] if origin else names.split(","):
            found.update(_WORD.findall(name)[:1])
    return found


def modules_to_load(imported: set[str]) -> tuple[str, ...]:
    """Those of the modules that may be loaded once for all programs."""
    names = sorted(imported & _LOADED_ONCE)
    return tuple(part for name in names for part in (name, *_PARTS.get(name, ())))


def modules_to_load_late(imported: set[str]) -> tuple[str, ...]:
    """Other modules of the standard library that are imported.

    They are loaded for the program alone, where it may not open files itself.
    """
    return tuple(sorted(imported & _LOADED_LATE))


def needs_site_packages(imported: set[str]) -> bool:
    """Whether something is imported that is not in the standard library."""
    return not imported <= sys.stdlib_module_names


@lru_cache
def prelude_modules(prelude: str) -> tuple[str, ...]:
    """The modules that a prelude imports; to be loaded once, as all programs have it."""
    return tuple(sorted(imported_modules(prelude)))


def names_to_provide(program: str) -> dict[str, tuple[str, str | None]]:
    """For a function problem: name -> (module, attribute or None for the module itself).

    Only names that occur in the program, since some modules take long to import. The program's
    own definitions replace them.
    """
    words = set(_WORD.findall(program))
    modules = set(_ATTRIBUTE_OF.findall(program)).intersection(_PROVIDED_MODULES.split())
    names = {name: origin for name, origin in _PROVIDED.items() if name in words}
    return names | {name: (name, None) for name in modules}
