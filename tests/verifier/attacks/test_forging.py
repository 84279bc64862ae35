"""Programs that do not solve the problem and try to be told that they do."""

from __future__ import annotations

import secrets

import pytest

from cppo_trl.problems import Problem, TestCase

FUNCTION = Problem("f", "", (TestCase("1", "[1, 2]"), TestCase("2", "[2, 3]")), "function", "f")

FORGERIES = {
    "nothing at all": "",
    "exit code 0 at once": "import os; os._exit(0)",
    "exit code 0 at exit": "import atexit, os; atexit.register(os._exit, 0)",
    "a stop of itself": "import os, signal\nos.kill(os.getpid(), signal.SIGSTOP)",
    "stops in a loop": "import os, signal\nfor _ in range(9): os.kill(os.getpid(), signal.SIGSTOP)",
    "markers of graders": "print('PASS\\nOK\\nAll tests passed\\n[True, True]\\n[[1]]')",
    "answers of the zygote on every descriptor": "import os, struct\n"
    "words = struct.pack('<c7q', b'T', 0, 0, 1, 0, 2, 2, 0) + b'3\\n'\n"
    "words += struct.pack('<c7q', b'T', 0, 0, 1, 0, 3, 3, 0) + b'30\\n'\n"
    "words += struct.pack('<c7q', b'E', 0, 0, 0, 0, 0, 0, 0)\n"
    "for n in range(3, 2048):\n  try: os.write(n, words)\n  except OSError: pass",
    "garbage on every descriptor": "import os\nfor n in range(3, 2048):\n"
    "  try: os.write(n, os.urandom(500))\n  except OSError: pass",
    "patched builtins": "import builtins\n"
    "builtins.exec = builtins.compile = builtins.print = lambda *_: None\n"
    "builtins.any = builtins.all = lambda *_: True",
    "a patched harness": "import sys\nf = sys._getframe()\nwhile f:\n"
    "  for name in [*f.f_globals]:\n"
    "    if callable(f.f_globals[name]) and name[0] == '_' != name[1]: f.f_globals[name] = print\n"
    "  f = f.f_back",
    "a harness that never ends tests": "import sys\nf = sys._getframe()\nwhile f:\n"
    "  if '_wait_for_next' in f.f_globals: f.f_globals['_wait_for_next'] = lambda *_: True\n"
    "  f = f.f_back",
    "a word that all is well": "import os\nos.write(1028, b'd')\nos.read(1029, 1)",
    "words that all is well, as many as fit": "import os\nos.set_blocking(1028, False)\n"
    "try:\n  while True: os.write(1028, b'd')\nexcept OSError: pass\nwhile True: pass",
    "a word that all is well and a loop": "import os\nprint(3, flush=True)\n"
    "os.write(1028, b'd')\nwhile True: pass",
    "pipes to the zygote closed": "import os\nos.closerange(3, 4096)",
    "pipes to the zygote closed, then a loop": "import os\nos.closerange(3, 4096)\n"
    "while True: pass",
    "pipes to the zygote exchanged": "import os\nos.dup2(1028, 1029)",
    "a word that is said for it": "import os\nos.read(1029, 1)",
    "a harness that finds no failure": "import sys\nf = sys._getframe()\nwhile f:\n"
    "  if '_run_script' in f.f_globals: f.f_globals['_run_script'] = lambda *_: 0\n  f = f.f_back\n"
    "1 / 0",
    "standard output replaced": "import sys\nclass Always:\n"
    "  def __eq__(self, other): return True\n  def __getattr__(self, name): return lambda *_: 3\n"
    "sys.stdout = Always()\nprint(0)",
    "an exception that cannot be told": "class E(BaseException):\n"
    "  def __str__(self): raise self\n  __repr__ = __str__\nraise E",
    "signals at the end": "import signal\ndef f(*_): raise BaseException\n"
    "signal.signal(signal.SIGALRM, f)\nsignal.setitimer(signal.ITIMER_REAL, 0.001, 0.0001)",
    "a thread left for the next test": "import threading, time, os\n"
    "def late():\n  time.sleep(0.01)\n  os.write(1, b'30\\n')\n"
    "threading.Thread(target=late, daemon=True).start()\nprint(3)",
    "a finalizer left for the next test": "import builtins\nclass D:\n"
    "  def __del__(self): print(30)\nx = D(); x.y = x\nprint(3)",
    "an exit handler left for the next test": "import atexit, sys\nprint(3)\n"
    "import threading; threading._register_atexit(print, 30)",
    "the right answer and a failure": "a, b = map(int, input().split())\nprint(a + b)\nexit(1)",
    "the right answer and a crash": "a, b = map(int, input().split())\nprint(a + b, flush=True)\n"
    "import os; os.kill(os.getpid(), 11)",
}


@pytest.mark.parametrize("name", FORGERIES)
def test_a_forgery_is_no_pass(target, name: str) -> None:
    verdict = target.run(FORGERIES[name])
    assert verdict.reward == 0.0, verdict


ONES = Problem("ones", "", (TestCase("1\n", "1\n"),) * 500 + (TestCase("2\n", "2\n"),))
RACES = {
    "the place in its input is moved": "while True:\n  try: os.lseek(0, 2**63 - 1, 0)\n"
    "  except OSError: pass",
    "its word is taken back": "try: word = os.open('/proc/self/fd/1028', os.O_NONBLOCK)\n"
    "except OSError: word = 0\nwhile True:\n  try: os.read(word, 1)\n  except OSError: pass",
}


@pytest.mark.parametrize("name", RACES)
def test_a_race_with_the_zygote_is_no_trouble_of_ours(target, name: str) -> None:
    program = (
        f"import os, threading\ndef f():\n  {RACES[name].replace(chr(10), chr(10) + '  ')}\n"
        "threading.Thread(target=f, daemon=True).start()\nos.set_blocking(1029, False)\n"
        "while True:\n  os.pwrite(1, b'1', 0)\n  os.write(1028, b'd')\n"
        "  while True:\n    try: os.read(1029, 1)\n    except OSError: continue\n    break\n"
    )
    assert target.run(program, ONES).reward == 0.0


RESULTS = {
    "equal to everything": "class X:\n  def __eq__(self, o): return True\ndef f(x): return X()",
    "a list equal to everything": "class X(list):\n  def __eq__(self, o): return True\n"
    "def f(x): return X()",
    "a number equal to everything": "class X(int):\n  def __eq__(self, o): return True\n"
    "  __hash__ = int.__hash__\ndef f(x): return [X(), X()]",
    "a patched encoder": "import json\njson.dumps = lambda *_, **__: 'true'\ndef f(x): return 0",
    "a patched encoder of everything": "import json\njson.dumps = lambda *_, **__: '[1, 2]'\n"
    "def f(x): return 0",
    "two results": "import os\ndef f(x):\n  os.write(3, b'[1, 2] [2, 3]')\n  os._exit(0)",
    "a pickled object": "import os, pickle\ndef f(x):\n  os.write(3, pickle.dumps([x, x + 1]))\n"
    "  os._exit(0)",
    "no result": "import os\ndef f(x): os._exit(0)",
}


@pytest.mark.parametrize("name", RESULTS)
def test_a_forged_result_is_no_pass(target, name: str) -> None:
    verdict = target.run(RESULTS[name], FUNCTION)
    assert verdict.reward == 0.0, verdict


SEARCHES = {
    "all objects": "import gc\nseen = repr([o for o in gc.get_objects() if isinstance(o, (list,"
    " tuple, dict)) and len(o) < 100])[:10**6]",
    "all frames": "import sys\nf, seen = sys._getframe(), ''\nwhile f:\n"
    "  seen += repr(f.f_locals) + repr(f.f_globals)\n  f = f.f_back",
    "all modules": "import sys\nseen = ''.join(repr(vars(m)) for m in [*sys.modules.values()])",
    "all descriptors": "import os\nseen = ''\nfor n in range(2048):\n  try:\n"
    "    seen += repr(os.pread(n, 10**5, 0))\n  except OSError: pass",
}


@pytest.mark.parametrize("name", SEARCHES)
def test_no_answer_can_be_found_in_the_process(target, name: str) -> None:
    answer = f"answer-{secrets.token_hex(8)}"
    program = (
        f"{SEARCHES[name]}\nimport re\nfound = re.findall('answer-[0-9a-f]{{16}}', seen)\n"
        "print(*found[:1] or ['no'])"
    )
    verdict = target.run(program, Problem("hidden", "", (TestCase("", answer),) * 2))
    assert verdict.message.startswith("got 'no") or verdict.status == "time_limit", verdict


def test_a_test_that_passed_tells_the_next_one_nothing_of_its_answer(target) -> None:
    # What remembers the input of the first test and prints it in the next fails there.
    program = "import math\nprint(getattr(math, 'kept', 3))\nmath.kept = input()"
    assert target.run(program).reward == 0.0
