"""Programs that are right in an unusual way, and programs that no mode of comparison may pass.

What passes follows from what CPython does with the program as a script of its own (with no limit on
the digits of integers), and from what `cppo_trl.verifier.compare` documents for each mode; nothing
here was read off a verifier.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from textwrap import dedent

from cppo_trl.verifier import Status

ALL = "lcb codecontests apps tokens exact"
NOT_EXACT = "lcb codecontests apps tokens"
NUMBERS = "lcb codecontests apps"  # the modes that read numbers
SUM = (("1 2\n", "3\n"), ("10 20\n", "30\n"), ("-5 5\n", "0\n"))


@dataclass(frozen=True)
class Unusual:
    """A program with tests (input, expected output), and the modes in which it passes.

    In the other modes its verdict is `failure`. `fn_name` makes it a function problem.
    """

    name: str
    program: str
    tests: tuple[tuple[str, str], ...]
    modes: str = ALL
    failure: Status = Status.WRONG_ANSWER
    fn_name: str | None = None


def script(name: str, program: str, *tests: tuple[str, str], modes: str = ALL) -> Unusual:
    return Unusual(name, dedent(program).strip("\n") + "\n", tests or SUM, modes)


def verbatim(name: str, program: str, *tests: tuple[str, str], modes: str = ALL) -> Unusual:
    return Unusual(name, program, tests or SUM, modes)


def function(name: str, program: str, *tests: tuple[str, str], modes: str = ALL) -> Unusual:
    return Unusual(name, dedent(program).strip("\n") + "\n", tests, modes, fn_name="f")


def wrong(
    name: str,
    program: str,
    *tests: tuple[str, str],
    failure: Status = Status.WRONG_ANSWER,
    fn_name: str | None = None,
) -> Unusual:
    text = dedent(program).strip("\n") + "\n"
    return Unusual(name, text, tests or SUM, "", failure, fn_name)


STANDARD_INPUT = [
    script("input", "a, b = map(int, input().split())\nprint(a + b)"),
    script("input with an empty prompt", "a, b = map(int, input('').split())\nprint(a + b)"),
    script(
        "input is readline",
        """
        import sys
        input = sys.stdin.readline
        a, b = map(int, input().split())
        print(a + b)
        """,
    ),
    script(
        "input strips readline",
        """
        import sys
        input = lambda: sys.stdin.readline().rstrip('\\r\\n')
        print(sum(map(int, input().split(' '))))
        """,
    ),
    script("read", "import sys\nprint(sum(map(int, sys.stdin.read().split())))"),
    script("readlines", "import sys\nprint(sum(map(int, sys.stdin.readlines()[0].split())))"),
    script(
        "iteration over stdin",
        "from sys import stdin\nfor line in stdin:\n    print(sum(map(int, line.split())))",
    ),
    script(
        "readline until empty",
        "import sys\nprint(*(sum(map(int, s.split())) for s in iter(sys.stdin.readline, '')))",
    ),
    script(
        "one character at a time",
        """
        import sys
        text = ''
        while char := sys.stdin.read(1):
            text += char
        print(sum(map(int, text.split())))
        """,
    ),
    script(
        "a reader of tokens",
        """
        import sys
        token = iter(sys.stdin.read().split()).__next__
        print(int(token()) + int(token()))
        """,
    ),
    script(
        "a generator of tokens",
        """
        import sys
        def tokens():
            for line in sys.stdin:
                yield from line.split()
        read = tokens()
        print(int(next(read)) + int(next(read)))
        """,
    ),
    script("buffer.read", "import sys\nprint(sum(map(int, sys.stdin.buffer.read().split())))"),
    script(
        "buffer.readline", "import sys\nprint(sum(map(int, sys.stdin.buffer.readline().split())))"
    ),
    script(
        "buffer.readlines",
        "import sys\nprint(*(sum(map(int, s.split())) for s in sys.stdin.buffer.readlines()))",
    ),
    script(
        "iteration over the buffer",
        "import sys\nfor s in sys.stdin.buffer:\n    print(sum(map(int, s.split())))",
    ),
    script("buffer.raw", "import sys\nprint(sum(map(int, sys.stdin.buffer.raw.read().split())))"),
    script(
        "buffer.readinto",
        """
        import sys
        data = bytearray(100)
        size = sys.stdin.buffer.readinto(data)
        print(sum(map(int, data[:size].split())))
        """,
    ),
    script(
        "buffer.peek",
        """
        import sys
        sys.stdin.buffer.peek(1)
        print(sum(map(int, sys.stdin.buffer.read().split())))
        """,
    ),
    script(
        "detached buffer", "import sys\nprint(sum(map(int, sys.stdin.detach().read().split())))"
    ),
    script("open(0)", "print(sum(map(int, open(0).read().split())))"),
    script("open(0) in bytes", "print(sum(map(int, open(0, 'rb').read().split())))"),
    script("open(0) unpacked", "print(*(sum(map(int, s.split())) for s in [*open(0)]))"),
    script(
        "open(0) in a with, not closed",
        "with open(0, closefd=False) as f:\n    a, b = map(int, f.readline().split())\n"
        "print(a + b)",
    ),
    script(
        "open(0) in place of stdin",
        "import sys\nsys.stdin = open(0)\nprint(sum(map(int, input().split())))",
    ),
    script("/dev/stdin", "print(sum(map(int, open('/dev/stdin').read().split())))"),
    script("os.read", "import os\nprint(sum(map(int, os.read(0, 1 << 20).split())))"),
    script(
        "os.read until empty",
        """
        import os
        data = b''
        while part := os.read(0, 2):
            data += part
        print(sum(map(int, data.split())))
        """,
    ),
    script(
        "os.read of the size of the file",
        """
        import io, os
        file = io.BytesIO(os.read(0, os.fstat(0).st_size))
        print(sum(map(int, file.readline().split())))
        """,
    ),
    script("os.fdopen", "import os\nprint(sum(map(int, os.fdopen(0).read().split())))"),
    script("io.FileIO", "import io\nprint(sum(map(int, io.FileIO(0).readall().split())))"),
    script(
        "a TextIOWrapper of one's own",
        """
        import io, sys
        stdin = io.TextIOWrapper(sys.stdin.buffer, encoding='utf-8')
        print(sum(map(int, stdin.readline().split())))
        """,
    ),
    script(
        "codecs.getreader",
        "import codecs, sys\nread = codecs.getreader('utf-8')(sys.stdin.buffer).read\n"
        "print(sum(map(int, read().split())))",
    ),
    script(
        "mmap",
        """
        import mmap
        with mmap.mmap(0, 0, access=mmap.ACCESS_READ) as data:
            print(sum(map(int, data[:].split())))
        """,
    ),
    script(
        "fileinput",
        "import fileinput\nfor s in fileinput.input():\n    print(sum(map(int, s.split())))",
    ),
    script(
        "csv",
        """
        import csv, sys
        for row in csv.reader(sys.stdin, delimiter=' '):
            print(sum(map(int, row)))
        """,
    ),
    script("json", "import json\nprint(sum(json.loads(input())))", ("[1, 2, 3]\n", "6\n")),
    script(
        "literal_eval",
        "from ast import literal_eval\nprint(max(literal_eval(input())))",
        ("(4, 9, 2)\n", "9\n"),
    ),
    script("eval", "a, b = map(eval, input().split())\nprint(a + b)"),
    script(
        "input and then read",
        """
        import sys
        n = int(input())
        print(n, sum(map(int, sys.stdin.read().split())))
        """,
        ("2\n3\n4\n", "2 7\n"),
    ),
    script(
        "input until EOFError",
        """
        total = 0
        while True:
            try:
                total += int(input())
            except EOFError:
                break
        print(total)
        """,
        ("1\n2\n3", "6\n"),
        ("", "0\n"),
    ),
    script(
        "EOFError leaves a function",
        """
        def main():
            while True:
                print(int(input()) * 2)
        try:
            main()
        except EOFError:
            pass
        """,
        ("1\n2\n", "2\n4\n"),
    ),
    script(
        "stdin is no terminal",
        """
        import os, sys
        assert not sys.stdin.isatty() and not os.isatty(0)
        assert (sys.stdin.fileno(), sys.stdout.fileno()) == (0, 1)
        print(sum(map(int, input().split())))
        """,
    ),
    script("sys.__stdin__", "import sys\nprint(sum(map(int, sys.__stdin__.readline().split())))"),
    script(
        "stdin closed after reading",
        """
        import sys
        a, b = map(int, sys.stdin.readline().split())
        sys.stdin.close()
        print(a + b)
        """,
    ),
    script("leaves input unread", "print(input())", ("1\n" + "x" * 100_000 + "\n", "1\n")),
]

INPUT_SHAPES = [
    script("no line break at the end", "print(input()[::-1])", ("abc", "cba\n")),
    script("no input at all", "import sys\nprint(len(sys.stdin.read()))", ("", "0\n")),
    script(
        "lines that end in CR LF, as text",
        "print(repr(input()), repr(input()))",
        ("a b\r\nc\r\n", "'a b\\r' 'c\\r'\n"),
    ),
    script(
        "lines that end in CR LF, as bytes",
        "import sys\nprint(sys.stdin.buffer.read())",
        ("a\r\n", "b'a\\r\\n'\n"),
    ),
    script(
        "lines that end in CR LF, in an opened file",
        "print(open(0).read().split('\\n'))",
        ("a\rb\r\nc", "['a', 'b', 'c']\n"),
    ),
    script(
        "numbers on lines that end in CR LF",
        "print(int(input()) + int(input()))",
        ("1\r\n2\r\n", "3\n"),
    ),
    script(
        "words on lines that end in CR",
        "import sys\nprint(*sys.stdin.read().split())",
        ("a\rb\r", "a b\n"),
    ),
    script(
        "blank lines before and between",
        "import sys\nprint(sys.stdin.readlines())",
        ("\n1\n\n2\n\n", "['\\n', '1\\n', '\\n', '2\\n', '\\n']\n"),
    ),
    script("blanks around", "print([input()])", ("  1 2\t \n", "['  1 2\\t ']\n")),
    script(
        "characters outside ASCII",
        "s = input()\nprint(len(s), s[::-1])",
        ("aé中\U0001f600\n", "4 \U0001f600中éa\n"),
    ),
    script(
        "characters as bytes",
        "import sys\nprint(len(sys.stdin.buffer.readline()))",
        ("é中\U0001f600\n", "10\n"),
    ),
    script(
        "separators that are no line breaks",
        "print(len(input()))",
        ("a\x0bb\x0cc\x1cd\x85e\u2028f\n", "11\n"),
    ),
    script("a null character", "print(ascii(input()))", ("a\0b\n", "'a\\x00b'\n")),
    script(
        "a long line", "print(sum(map(int, input().split())))", ("7 " * 200_000 + "\n", "1400000\n")
    ),
    script(
        "many lines",
        "import sys\ninput = sys.stdin.readline\nn = int(input())\n"
        "print(sum(int(input()) for _ in range(n)))",
        ("100000\n" + "3\n" * 100_000, "300000\n"),
    ),
    script(
        "numbers longer than 4,300 digits",
        "print(int(input()) + 1)",
        ("9" * 5000 + "\n", "1" + "0" * 5000 + "\n"),
    ),
]

STANDARD_OUTPUT = [
    script(
        "sys.stdout.write", "import sys\nsys.stdout.write('%d\\n' % sum(map(int, input().split())))"
    ),
    script(
        "print is write",
        """
        import sys
        print = sys.stdout.write
        print(str(sum(map(int, input().split()))))
        print('\\n')
        """,
    ),
    script(
        "writelines",
        "import sys\nsys.stdout.writelines([str(sum(map(int, input().split()))), '\\n'])",
    ),
    script(
        "stdout.buffer",
        "import sys\nsys.stdout.buffer.write(b'%d\\n' % sum(map(int, input().split())))",
    ),
    script(
        "stdout.buffer.raw",
        """
        import sys
        sys.stdout.buffer.raw.write(b'%d\\n' % sum(map(int, input().split())))
        """,
    ),
    script("os.write", "import os\nos.write(1, b'%d\\n' % sum(map(int, input().split())))"),
    script(
        "/dev/stdout",
        """
        with open('/dev/stdout', 'w') as out:
            print(sum(map(int, input().split())), file=out)
        """,
    ),
    script(
        "open(1)",
        "with open(1, 'w') as out:\n    out.write(f'{sum(map(int, input().split()))}\\n')",
    ),
    script(
        "open(1) left open",
        "out = open(1, 'w', closefd=False)\nprint(sum(map(int, input().split())), file=out)",
    ),
    script(
        "sys.__stdout__", "import sys\nprint(sum(map(int, input().split())), file=sys.__stdout__)"
    ),
    script("flush in print", "print(sum(map(int, input().split())), flush=True)"),
    script(
        "flushed, then os.write",
        """
        import os, sys
        sys.stdout.write('1')
        sys.stdout.flush()
        os.write(1, b'2\\n')
        """,
        ("", "12\n"),
    ),
    script(
        "os.write goes before what is not flushed",
        "import os\nprint('second')\nos.write(1, b'first\\n')",
        ("", "first\nsecond\n"),
    ),
    script(
        "the buffer goes before what is not flushed",
        "import sys\nprint('second')\nsys.stdout.buffer.write(b'first\\n')",
        ("", "first\nsecond\n"),
    ),
    script(
        "output collected in a StringIO",
        """
        import io, sys
        out = sys.stdout = io.StringIO()
        print(sum(map(int, input().split())))
        sys.__stdout__.write(out.getvalue())
        """,
    ),
    script(
        "output collected and written at exit",
        """
        import atexit, io, os, sys
        sys.stdout = io.BytesIO()
        @atexit.register
        def write():
            os.write(1, sys.stdout.getvalue())
        sys.stdout.write(b'%d\\n' % sum(map(int, input().split())))
        """,
    ),
    script(
        "redirect_stdout",
        """
        import contextlib, io
        with contextlib.redirect_stdout(io.StringIO()) as out:
            print(sum(map(int, input().split())))
        print(out.getvalue(), end='')
        """,
    ),
    script(
        "stdout reconfigured",
        """
        import sys
        sys.stdout.reconfigure(encoding='utf-8', line_buffering=True, newline='\\n')
        print('é', sum(map(int, input().split())))
        """,
        ("1 2\n", "é 3\n"),
    ),
    script(
        "a wrapper of stdout",
        """
        import io, sys
        sys.stdout = io.TextIOWrapper(sys.stdout.buffer, encoding='utf-8', write_through=True)
        print(sum(map(int, input().split())))
        """,
    ),
    script(
        "stdout closed at the end",
        """
        import sys
        print(sum(map(int, input().split())))
        sys.stdout.close()
        """,
    ),
    script(
        "much on standard error",
        """
        import sys
        print('debug ' * 50_000, file=sys.stderr)
        print(sum(map(int, input().split())))
        """,
    ),
    script(
        "log and warnings",
        """
        import logging, warnings
        logging.basicConfig(level=logging.DEBUG)
        logging.debug('debug')
        warnings.warn('careful')
        print(sum(map(int, input().split())))
        """,
    ),
    script(
        "a traceback printed",
        """
        import traceback
        try:
            1 / 0
        except ZeroDivisionError:
            traceback.print_exc()
        print(sum(map(int, input().split())))
        """,
    ),
    script("separators and ends", "print(*input(), sep='-', end='.\\n')", ("abc\n", "a-b-c.\n")),
    script("long output", "print('ab' * 10**6)", ("", "ab" * 10**6 + "\n")),
    script(
        "many prints",
        "for i in range(50_000): print(i)",
        ("", "".join(f"{i}\n" for i in range(50_000))),
    ),
]

ENDINGS = [
    script(
        "names for interactive use",
        """
        print(sum(map(int, input().split())))
        assert all(map(callable, (help, license, copyright, credits, exit, quit)))
        """,
    ),
    script("exit()", "print(sum(map(int, input().split())))\nexit()\nprint(0)"),
    script("quit(0)", "print(sum(map(int, input().split())))\nquit(0)\nprint(0)"),
    script(
        "sys.exit(None)",
        "import sys\nprint(sum(map(int, input().split())))\nsys.exit(None)\nprint(0)",
    ),
    script("exit(False)", "print(sum(map(int, input().split())))\nexit(False)"),
    script("raise SystemExit", "print(sum(map(int, input().split())))\nraise SystemExit"),
    script(
        "exit inside of a function and a finally",
        """
        import sys
        def main():
            try:
                sys.exit(0)
            finally:
                print(sum(map(int, input().split())))
        main()
        print(0)
        """,
    ),
    script(
        "exit is not an Exception",
        """
        try:
            print(sum(map(int, input().split())))
            exit()
        except Exception:
            print(0)
        """,
    ),
    script(
        "os._exit after a flush",
        """
        import os
        print(sum(map(int, input().split())), flush=True)
        os._exit(0)
        """,
    ),
    script(
        "callbacks at exit, last one first",
        """
        import atexit
        atexit.register(print, 'second')
        atexit.register(print, 'first')
        """,
        ("", "first\nsecond\n"),
    ),
    script(
        "a callback at exit after exit()",
        """
        import atexit, sys
        atexit.register(lambda: print(sum(map(int, input().split()))))
        sys.exit()
        """,
    ),
    script(
        "a callback at exit that fails",
        """
        import atexit
        print(sum(map(int, input().split())))
        atexit.register(lambda: 1 / 0)
        """,
    ),
    script(
        "weakref.finalize at exit",
        """
        import weakref
        class C: pass
        c = C()
        weakref.finalize(c, print, sum(map(int, input().split())))
        """,
    ),
    script(
        "__del__ of a global at exit",
        """
        class C:
            def __del__(self):
                print(self.total)
        c = C()
        c.total = sum(map(int, input().split()))
        """,
    ),
    script(
        "__del__ that fails",
        """
        class C:
            def __del__(self):
                raise ValueError
        C()
        print(sum(map(int, input().split())))
        """,
    ),
    script(
        "a generator with a finally, dropped",
        """
        def numbers():
            try:
                yield sum(map(int, input().split()))
            finally:
                print(total)
        read = numbers()
        total = next(read)
        del read
        """,
    ),
    script(
        "exit caught by a bare except",
        """
        a, b = map(int, input().split())
        try:
            exit(1)
        except:
            print(a + b)
        """,
    ),
    script(
        "exit closes standard input",
        """
        import sys
        a, b = map(int, input().split())
        try:
            exit(1)
        except SystemExit:
            print(a + b if sys.stdin.closed else 0)
        """,
    ),
    script(
        "the answer in a signal handler",
        """
        import signal, sys
        a, b = map(int, input().split())
        def stop(*_):
            print(a + b)
            sys.exit()
        signal.signal(signal.SIGALRM, stop)
        signal.setitimer(signal.ITIMER_REAL, 0.02)
        while True:
            pass
        """,
    ),
    script(
        "interrupted by itself",
        """
        import signal
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            print(sum(map(int, input().split())))
        """,
    ),
    script(
        "a trace function left on",
        """
        import sys
        def trace(frame, event, arg):
            return trace
        sys.settrace(trace)
        sys.setprofile(lambda *_: None)
        def main():
            print(sum(map(int, input().split())))
        main()
        """,
    ),
    script(
        "built-ins taken away at the end",
        """
        import builtins
        print(sum(map(int, input().split())))
        builtins.print = builtins.__import__ = builtins.open = None
        """,
    ),
    script(
        "all names forgotten at the end", "print(sum(map(int, input().split())))\nglobals().clear()"
    ),
    script(
        "all modules forgotten at the end",
        "import sys\nprint(sum(map(int, input().split())))\nsys.modules.clear()",
    ),
    script(
        "no standard output at the end",
        "import sys\nprint(sum(map(int, input().split())))\nsys.stdout = None",
    ),
    script(
        "standard streams deleted",
        """
        import sys
        print(sum(map(int, input().split())))
        sys.stdout.flush()
        del sys.stdin, sys.stdout, sys.stderr
        """,
    ),
    script(
        "a duplicate of the descriptor",
        """
        import os
        with os.fdopen(os.dup(1), 'w') as out:
            out.write('%d\\n' % sum(map(int, input().split())))
        """,
    ),
    script(
        "input moved to another descriptor",
        """
        import os
        spare = os.dup(0)
        os.close(0)
        print(sum(map(int, os.fdopen(spare).read().split())))
        """,
    ),
    script(
        "an alarm that does not ring",
        """
        import signal
        signal.alarm(5)
        print(sum(map(int, input().split())))
        """,
    ),
    # Nothing for CPython, but LiveCodeBench's and APPS' graders wrap programs in a function.
    script("return at the top level", "print(sum(map(int, input().split())))\nreturn\nprint(0)"),
]

THREADS = [
    script(
        "a thread that is joined",
        """
        import threading
        def main():
            print(sum(map(int, input().split())))
        thread = threading.Thread(target=main)
        thread.start()
        thread.join()
        """,
    ),
    script(
        "a thread that is not joined",
        """
        import threading, time
        def main():
            time.sleep(0.05)
            print(sum(map(int, input().split())))
        threading.Thread(target=main).start()
        """,
    ),
    script(
        "a thread with a big stack",
        """
        import sys, threading
        sys.setrecursionlimit(10**6)
        threading.stack_size(2**27)
        def depth(n):
            return 0 if n == 0 else 1 + depth(n - 1)
        def main():
            print(depth(int(input())))
        threading.Thread(target=main).start()
        """,
        ("20000\n", "20000\n"),
        ("30000\n", "30000\n"),
    ),
    script(
        "a daemon thread that never ends",
        """
        import threading
        threading.Thread(target=threading.Event().wait, daemon=True).start()
        print(sum(map(int, input().split())))
        """,
    ),
    script(
        "an exception in a thread",
        """
        import threading
        thread = threading.Thread(target=lambda: 1 / 0)
        thread.start()
        thread.join()
        print(sum(map(int, input().split())))
        """,
    ),
    script(
        "exit in a thread ends the thread",
        """
        import sys, threading
        thread = threading.Thread(target=sys.exit, args=(1,))
        thread.start()
        thread.join()
        print(sum(map(int, input().split())))
        """,
    ),
    script(
        "a pool of threads",
        """
        from concurrent.futures import ThreadPoolExecutor
        with ThreadPoolExecutor(4) as pool:
            print(sum(pool.map(int, input().split())))
        """,
    ),
    script(
        "a queue between threads",
        """
        import queue, threading
        numbers = queue.Queue()
        thread = threading.Thread(target=lambda: [numbers.put(int(x)) for x in input().split()])
        thread.start()
        print(numbers.get() + numbers.get())
        """,
    ),
    script(
        "a timer",
        """
        import threading
        threading.Timer(0.02, lambda: print(sum(map(int, input().split())))).start()
        """,
    ),
    script(
        "asyncio",
        """
        import asyncio
        async def double(x):
            await asyncio.sleep(0)
            return 2 * x
        async def main():
            numbers = map(int, input().split())
            print(sum(await asyncio.gather(*map(double, numbers))) // 2)
        asyncio.run(main())
        """,
    ),
    script(
        "a coroutine driven by hand",
        """
        async def total(numbers):
            return sum([x async for x in numbers])
        async def read():
            for x in input().split():
                yield int(x)
        try:
            total(read()).send(None)
        except StopIteration as stop:
            print(stop.value)
        """,
    ),
]

NAMES = [
    script(
        "main guard",
        """
        def main():
            print(sum(map(int, input().split())))
        if __name__ == '__main__':
            main()
        """,
    ),
    script(
        "code after the main guard",
        """
        if __name__ == '__main__':
            numbers = [int(x) for x in input().split()]
        print(sum(numbers))
        """,
    ),
    script(
        "else of the main guard",
        """
        if __name__ != '__main__':
            print(0)
        else:
            print(sum(map(int, input().split())))
        """,
    ),
    script(
        "global in a function",
        """
        def read():
            global a, b
            a, b = map(int, input().split())
        read()
        print(a + b)
        """,
    ),
    script(
        "global at the top level", "global a, b\na, b = map(int, input().split())\nprint(a + b)"
    ),
    script(
        "globals()",
        """
        for name, value in zip('ab', input().split()):
            globals()[name] = int(value)
        print(a + b)
        """,
    ),
    script(
        "import __main__",
        """
        import __main__
        a, b = map(int, input().split())
        print(__main__.a + vars(__main__)['b'])
        """,
    ),
    script(
        "sys.modules",
        """
        import sys
        a, b = map(int, input().split())
        print(sum(getattr(sys.modules[__name__], name) for name in 'ab'))
        """,
    ),
    script(
        "a comprehension sees what is global",
        """
        base = 10
        print(sum(base + int(x) for x in input().split()) - 2 * base)
        """,
    ),
    script(
        "names of built-ins reused",
        """
        list = [int(x) for x in input().split()]
        max, str, id = list[0], list[1], None
        print(max + str)
        """,
    ),
    script(
        "a built-in replaced",
        """
        import builtins
        builtins.sum = lambda numbers: __import__('functools').reduce(int.__add__, numbers)
        print(sum(map(int, input().split())))
        """,
    ),
    script(
        "a docstring of its own",
        '"""doc"""\na, b = map(int, input().split())\nprint(a + b if __doc__ == \'doc\' else 0)',
    ),
    script(
        "no arguments",
        "import sys\nassert len(sys.argv) == 1\nprint(sum(map(int, input().split())))",
    ),
    script("__builtins__", "__builtins__.print(__builtins__.sum(map(int, input().split())))"),
    script(
        "__file__ and the folder",
        """
        import os
        os.chdir(os.path.dirname(os.path.abspath(__file__)))
        print(sum(map(int, input().split())))
        """,
    ),
    script(
        "nothing imported beforehand",
        """
        try:
            math, sys, os
        except NameError:
            print(sum(map(int, input().split())))
        """,
    ),
    script(
        "names that a harness may use",
        """
        for name in 'job code names result fn_name status run main test'.split():
            assert name not in globals(), name
        a, b = map(int, input().split())
        print(a + b)
        """,
    ),
    script(
        "exec in a namespace",
        """
        names = {}
        exec('def add(a, b): return a + b', names)
        print(names['add'](*map(int, input().split())))
        """,
    ),
    script(
        "pickle of an own class",
        """
        import pickle
        class Point:
            def __init__(self, x, y):
                self.x, self.y = x, y
        point = pickle.loads(pickle.dumps(Point(*map(int, input().split()))))
        print(point.x + point.y)
        """,
    ),
    script(
        "pickle of an own function and an enum",
        """
        import enum, pickle
        Sign = enum.Enum('Sign', 'PLUS MINUS')
        def add(a, b):
            return a + b
        sign, apply = pickle.loads(pickle.dumps((Sign.PLUS, add)))
        print(apply(*map(int, input().split())) if sign is Sign.PLUS else 0)
        """,
    ),
    script(
        "deep copy of own objects",
        """
        import copy
        class Node:
            def __init__(self, value, next=None):
                self.value, self.next = value, next
        a, b = map(int, input().split())
        node = copy.deepcopy(Node(a, Node(b)))
        print(node.value + node.next.value)
        """,
    ),
    script(
        "type hints of an own class",
        """
        from __future__ import annotations
        from dataclasses import dataclass
        import typing
        @dataclass
        class Pair:
            a: int
            b: Other
        Other = int
        assert typing.get_type_hints(Pair) == {'a': int, 'b': int}
        pair = Pair(*map(int, input().split()))
        print(pair.a + pair.b)
        """,
    ),
    script(
        "doctest",
        '''
        def add(a, b):
            """
            >>> add(1, 2)
            3
            """
            return a + b
        import doctest
        doctest.testmod()
        print(add(*map(int, input().split())))
        ''',
    ),
    script(
        "a mark left in a module",
        """
        import math
        assert not hasattr(math, 'seen')
        math.seen = True
        print(sum(map(int, input().split())))
        """,
    ),
    script(
        "a cache at the top level",
        """
        import functools
        calls = []
        @functools.lru_cache(maxsize=None)
        def add(a, b):
            calls.append(1)
            return a + b
        a, b = map(int, input().split())
        print(add(a, b) if add(a, b) == add(a, b) and len(calls) == 1 else 0)
        """,
    ),
    script(
        "limits and settings changed",
        """
        import decimal, gc, os, random, sys
        sys.setrecursionlimit(200)
        decimal.getcontext().prec = 3
        gc.disable()
        random.seed(1)
        os.environ['TOTAL'] = str(sum(map(int, input().split())))
        print(os.environ['TOTAL'])
        """,
    ),
    script(
        "a bigger stack asked for",
        """
        import resource, sys
        resource.setrlimit(resource.RLIMIT_STACK, (2**28, 2**28))
        sys.setrecursionlimit(10**6)
        print(sum(map(int, input().split())))
        """,
    ),
]

SOURCE = [
    verbatim("no line break after the program", "print(sum(map(int, input().split())))"),
    verbatim(
        "lines of the program end in CR LF",
        "a, b = map(int, input().split())\r\nif a:\r\n    print(a + b)\r\n",
    ),
    verbatim("byte order mark", "\ufeffprint(sum(map(int, input().split())))\n"),
    verbatim("indented by tabs", "if True:\n\ta, b = map(int, input().split())\n\tprint(a + b)\n"),
    verbatim("a form feed", "a, b = map(int, input().split())\n\x0c\nprint(a + b)\n"),
    verbatim(
        "a shebang and a coding line",
        "#!/usr/bin/env python3\n# -*- coding: utf-8 -*-\n"
        "s = 'é'\nprint(sum(map(int, input().split())) if len(s) == 1 else 0)\n",
    ),
    verbatim("one line", "a,b=map(int,input().split());print(a+b);"),
    verbatim("lines continued", "a, \\\n    b = map(int, \\\n  input().split())\nprint(a\\\n+b)\n"),
    script("names outside ASCII", "größe, 数 = map(int, input().split())\nprint(größe + 数)"),
    script("named characters and escapes", r"print('\N{BULLET}\u00e9\x41\101')", ("", "•éAA\n")),
    script(
        "future imports",
        """
        'doc'
        from __future__ import annotations
        def add(a: Unknown, b: list[Unknown]) -> Nothing:
            return a + b
        print(add(*map(int, input().split())))
        """,
    ),
    script(
        "import of everything",
        "from math import *\nfrom itertools import *\n"
        "print(*accumulate(map(int, input().split())), gcd(12, 18))",
        ("1 2\n", "1 3 6\n"),
    ),
    script(
        "a warning while compiling",
        "a, b = map(int, input().split())\nprint(a + b if '\\d' != 1 is 1 else a + b)",
    ),
    script("unused text and numbers", "...\n'text'\n10**6\nprint(sum(map(int, input().split())))"),
    verbatim("a long program", "x = [\n" + "1,\n" * 20_000 + "]\nprint(len(x))\n", ("", "20000\n")),
]

LANGUAGE = [
    script("walrus", "print(total if (total := sum(map(int, input().split()))) else 0)"),
    script(
        "match",
        """
        match input().split():
            case [a, b]:
                print(int(a) + int(b))
            case _:
                print('?')
        """,
    ),
    script(
        "match on a class",
        """
        from dataclasses import dataclass
        @dataclass
        class Pair:
            a: int
            b: int
        match Pair(*map(int, input().split())):
            case Pair(a=x, b=y) if x or y:
                print(x + y)
        """,
    ),
    script(
        "except*",
        """
        try:
            raise ExceptionGroup('g', [ValueError(int(x)) for x in input().split()])
        except* ValueError as group:
            print(sum(error.args[0] for error in group.exceptions))
        """,
    ),
    script(
        "decorators with arguments",
        """
        import functools
        def times(n):
            def wrap(call):
                @functools.wraps(call)
                def inner(*args):
                    return n * call(*args)
                return inner
            return wrap
        @times(2)
        def half(a, b):
            return (a + b) / 2
        print(int(half(*map(int, input().split()))))
        """,
    ),
    script(
        "generators that are sent values",
        """
        def adder():
            total = 0
            while True:
                total += yield total
        add = adder()
        next(add)
        for x in input().split():
            total = add.send(int(x))
        print(total)
        """,
    ),
    script(
        "a slotted dataclass in a heap",
        """
        import heapq
        from dataclasses import dataclass, field
        @dataclass(order=True, slots=True)
        class Item:
            key: int
            name: str = field(compare=False)
        heap = [Item(int(x), 'n') for x in input().split()]
        heapq.heapify(heap)
        print(sum(heapq.heappop(heap).key for _ in range(2)))
        """,
    ),
    script(
        "metaclass and operators",
        """
        class Meta(type):
            def __call__(cls, text):
                return super().__call__(int(text))
        class Number(metaclass=Meta):
            def __init__(self, value): self.value = value
            def __radd__(self, other): return other + self.value
        print(sum(map(Number, input().split())))
        """,
    ),
    script(
        "a context manager that swallows",
        """
        from contextlib import contextmanager
        @contextmanager
        def quiet():
            try:
                yield
            except ZeroDivisionError:
                pass
        with quiet():
            1 / 0
        print(sum(map(int, input().split())))
        """,
    ),
    script(
        "named tuples and enums",
        """
        from collections import namedtuple
        from enum import IntEnum
        Pair = namedtuple('Pair', 'a b')
        Sign = IntEnum('Sign', {'PLUS': 1})
        pair = Pair(*map(int, input().split()))
        print((pair.a + pair.b) * Sign.PLUS)
        """,
    ),
    script(
        "sorted by comparison",
        """
        from functools import cmp_to_key
        numbers = sorted(input().split(), key=cmp_to_key(lambda a, b: int(b) - int(a)))
        print(*numbers)
        """,
        ("3 10 2\n", "10 3 2\n"),
    ),
    script(
        "recursion in a lambda",
        "f = lambda n: 1 if n < 2 else n * f(n - 1)\nprint(f(int(input())))",
        ("20", "2432902008176640000\n"),
    ),
    script(
        "deep recursion",
        """
        import sys
        sys.setrecursionlimit(10**7)
        def depth(n):
            return 0 if n == 0 else 1 + depth(n - 1)
        print(depth(int(input())))
        """,
        ("100000\n", "100000\n"),
    ),
    script(
        "deep recursion through a cache",
        """
        import sys
        from functools import lru_cache
        sys.setrecursionlimit(10**6)
        @lru_cache(None)
        def steps(n):
            return 0 if n == 0 else 1 + steps(n - 1)
        print(steps(int(input())))
        """,
        # CPython 3.12 has a limit of its own for recursion through C, which no program can change.
        ("150\n", "150\n") if sys.version_info[:2] == (3, 12) else ("1200\n", "1200\n"),
    ),
    script(
        "RecursionError caught",
        """
        def forever(n):
            return forever(n + 1)
        try:
            forever(0)
        except RecursionError:
            print(sum(map(int, input().split())))
        """,
    ),
    script(
        "MemoryError and OverflowError caught",
        """
        try:
            float(10**400)
        except (MemoryError, OverflowError):
            print(sum(map(int, input().split())))
        """,
    ),
    script(
        "third-party numbers",
        "import numpy as np\nprint(np.array(input().split(), dtype=np.int64).sum())",
    ),
    script(
        "many modules of the standard library",
        """
        import array, base64, bisect, calendar, cmath, collections.abc, colorsys, contextlib, copy
        import datetime, difflib, enum, fractions, graphlib, heapq, html, inspect, io, itertools
        import json, keyword, numbers, operator, pprint, queue, random, re, secrets, statistics
        import string, struct, tempfile, textwrap, timeit, types, typing, unicodedata, uuid
        print(sum(map(int, input().split())))
        """,
    ),
    script(
        "a seeded generator",
        "import random\nrandom.seed(0)\nprint(random.random())",
        ("", "0.8444218515250481\n"),
    ),
    script(
        "days between dates",
        """
        from datetime import date
        print((date.fromisoformat(input()) - date(2000, 1, 1)).days)
        """,
        ("2000-03-01\n", "60\n"),
    ),
    script(
        "sorted topologically",
        """
        from graphlib import TopologicalSorter
        print(*TopologicalSorter({2: [1], 3: [2]}).static_order())
        """,
        ("", "1 2 3\n"),
    ),
    script(
        "modules imported late",
        """
        def main():
            import importlib
            return importlib.import_module('operator').add(*map(int, input().split()))
        print(main())
        """,
    ),
    script(
        "time measured and slept",
        """
        import time
        start = time.perf_counter()
        time.sleep(0.01)
        if time.perf_counter() > start and time.time() > 0:
            print(sum(map(int, input().split())))
        """,
    ),
    script(
        "hashes and compression",
        """
        import hashlib, zlib
        data = zlib.decompress(zlib.compress(input().encode()))
        print(hashlib.sha256(data).hexdigest()[:8])
        """,
        ("abc\n", "ba7816bf\n"),
    ),
]

NUMBERS_PRINTED = [
    script("a number of 5,001 digits", "print(10**5000)", ("", "1" + "0" * 5000 + "\n")),
    script("fractions", "from fractions import Fraction\nprint(Fraction(6, 4))", ("", "3/2\n")),
    script(
        "Decimal with much precision",
        """
        from decimal import Decimal, getcontext
        getcontext().prec = 30
        print(Decimal(1) / 3)
        """,
        ("", "0." + "3" * 30 + "\n"),
    ),
    script("true division of whole numbers", "print(6 / 2)", ("", "3\n"), modes=NUMBERS),
    script("a float with zeros", "print('%.2f' % 0.5)", ("", "0.5\n"), modes=NUMBERS),
    script(
        "scientific notation", "print(1e16, '1E3')", ("", "10000000000000000 1000\n"), modes=NUMBERS
    ),
    script("a negative zero", "print(-0.0)", ("", "0.0\n"), modes=NUMBERS),
    script("a plus sign and leading zeros", "print('+7 007')", ("", "7 7\n"), modes=NUMBERS),
    script("rounding noise", "print(0.1 + 0.2)", ("", "0.3\n"), modes="codecontests apps"),
    script(
        "more digits than asked for", "print(1 / 3)", ("", "0.333333\n"), modes="codecontests apps"
    ),
    script(
        "a float for a whole number, nearly",
        "print(2.9999999)",
        ("", "3\n"),
        modes="codecontests apps",
    ),
    script(
        "a float in a sentence",
        "print('x = %.7f' % 0.1)",
        ("", "x = 0.1\n"),
        modes="codecontests apps",
    ),
    script("nearly, for its size", "print(123456.789)", ("", "123456.789012\n"), modes="apps"),
    script(
        "nearly, but not for its size", "print('0.00001')", ("", "0.000012\n"), modes="codecontests"
    ),
    script("an underscore in a number", "print('1_000')", ("", "1000\n"), modes="lcb"),
    script("digits of another script", "print('\\uff15')", ("", "5\n"), modes="lcb"),
    script("not a number", "print(float('nan'))", ("", "nan\n")),
]

WHITE_SPACE = [
    script("no line break at the end of output", "print(input(), end='')", ("3", "3\n")),
    script("a line break that is not asked for", "print(input())", ("3", "3")),
    script("nothing where nothing is expected", "pass", ("", "")),
    script("a blank line where nothing is expected", "print()", ("", "")),
    script("blank lines where nothing is expected", "print('\\n')", ("", ""), modes=NOT_EXACT),
    script("a blank at the end of a line", "print(1, 2, '')", ("", "1 2\n"), modes=NOT_EXACT),
    script("a blank line at the end", "print('1\\n')", ("", "1\n"), modes=NOT_EXACT),
    script("a blank line at the start", "print('\\n1')", ("", "1\n"), modes=NOT_EXACT),
    script("indented lines", "print('  1\\n\\t2')", ("", "1\n2\n"), modes=NOT_EXACT),
    script("output that ends in CR LF", "print('1\\r\\n2\\r')", ("", "1\n2\n"), modes=NOT_EXACT),
    script("CR LF in what is expected", "print('1\\n2')", ("", "1\r\n2\r\n"), modes=NOT_EXACT),
    script("two blanks between numbers", "print('1  2')", ("", "1 2\n"), modes=NOT_EXACT),
    script("a tab between numbers", "print('1\\t2')", ("", "1 2\n"), modes=NOT_EXACT),
    script(
        "two blanks between words", "print('a  b')", ("", "a b\n"), modes="codecontests apps tokens"
    ),
    script(
        "a blank line between lines",
        "print('1\\n\\n2')",
        ("", "1\n2\n"),
        modes="codecontests apps tokens",
    ),
    script(
        "a blank line left out",
        "print('1\\n2')",
        ("", "1\n\n2\n"),
        modes="codecontests apps tokens",
    ),
    script("one line for several", "print(1, 2)", ("", "1\n2\n"), modes="codecontests tokens"),
    script("several lines for one", "print('1\\n2')", ("", "1 2\n"), modes="codecontests tokens"),
    script("other case", "print('Yes')", ("", "YES\n"), modes="codecontests"),
]

FUNCTIONS = [
    function("a plain function", "def f(a, b): return a + b", ("1\n2", "3"), ("-5\n5", "0")),
    function("a method", "class Solution:\n    def f(self, a, b): return a + b", ("1\n2", "3")),
    function(
        "a method of a subclass",
        """
        class Base:
            def f(self, a): return self.g(a) * 2
        class Solution(Base):
            def g(self, a): return a + 1
        """,
        ("1", "4"),
        ("2", "6"),
    ),
    function(
        "a method with state",
        """
        class Solution(object):
            def __init__(self):
                self.seen = []
            def f(self, a):
                self.seen.append(a)
                return len(self.seen)
        """,
        ("5", "1"),
    ),
    function(
        "a static method and a helper class",
        """
        class Node:
            def __init__(self, value): self.value = value
        class Solution:
            @staticmethod
            def f(a): return Node(a).value
        """,
        ("1", "1"),
    ),
    function("a lambda", "f = lambda *numbers: sum(numbers)", ("1\n2\n3", "6")),
    function("defaults and keywords", "def f(a, b=2, *, c=3): return a + b + c", ("1", "6")),
    function(
        "a cached function",
        """
        from functools import lru_cache
        @lru_cache(None)
        def f(n): return n if n < 2 else f(n - 1) + f(n - 2)
        """,
        ("90", "2880067194370816120"),
    ),
    function(
        "a mutable default",
        """
        def f(a, seen=[]):
            seen.append(a)
            return seen
        """,
        ("1", "[1]"),
        ("2", "[2]"),
    ),
    function("a tuple for a list", "def f(a): return a, a", ("1", "[1, 1]")),
    function("tuples in a list", "def f(a): return [(a, 1), (a, 2)]", ("0", "[[0, 1], [0, 2]]")),
    function(
        "a named tuple and a subclass of list",
        """
        from collections import namedtuple
        class L(list): pass
        def f(a): return L([namedtuple('P', 'x y')(a, 2)])
        """,
        ("1", "[[1, 2]]"),
    ),
    function(
        "a Counter",
        "from collections import Counter\ndef f(s): return Counter(s)",
        ('"aba"', '{"b": 1, "a": 2}'),
    ),
    function("numbers as keys", "def f(n): return {n: [n]}", ("1", '{"1": [1]}')),
    function(
        "an IntEnum", "import enum\nE = enum.IntEnum('E', 'A B')\ndef f(n): return E(n)", ("2", "2")
    ),
    function("a float that is whole", "def f(n): return n / 2", ("4", "2"), ("6", "3.0")),
    function(
        "a number of numpy", "import numpy as np\ndef f(n): return np.int64(n).sum()", ("4", "4")
    ),
    function(
        "rounding noise in a value",
        "def f(a, b): return [a + b]",
        ("0.1\n0.2", "[0.3]"),
        modes="codecontests",
    ),
    function("nothing", "def f(a): pass", ("1", "null")),
    function("true", "def f(a): return a > 0", ("1", "true"), ("-1", "false")),
    function(
        "text",
        "def f(s): return s[::-1] + '\\n'",
        ('"a\\u00e9\\ud83d\\ude00"', '"\\ud83d\\ude00\\u00e9a\\n"'),
    ),
    function("a number of 5,000 digits", "def f(n): return n", ("7" * 5000, "7" * 5000)),
    function("an empty list", "def f(a): return a", ("[]", "[]"), ("[[], {}]", "[[], {}]")),
    function(
        "the argument sorted in place",
        "def f(a):\n    a.sort()\n    return a",
        ("[3, 1, 2]", "[1, 2, 3]"),
    ),
    function(
        "names that graders import",
        """
        class Solution:
            def f(self, a: List[int]) -> Optional[int]:
                heapify(a)
                return reduce(gcd, [heappop(a), inf if not a else a[0]])
        """,
        ("[6, 4]", "2"),
    ),
    function("prints beside its result", "def f(a):\n    print('[9]')\n    return a", ("1", "1")),
    function(
        "a main guard that is not entered",
        """
        def f(a): return a
        if __name__ == '__main__':
            print(f(int(input())))
        """,
        ("1", "1"),
    ),
    function(
        "a function defined in a condition",
        """
        if True:
            def f(*rows): return [row[::-1] for row in rows]
        else:
            f = None
        """,
        ("[1, null]\n[true, 0.5]", "[[null, 1], [0.5, true]]"),
    ),
    function(
        "an inner function with nonlocal",
        """
        def f(n):
            total = 0
            def add(x):
                nonlocal total
                total += x
            for i in range(n):
                add(i)
            return total
        """,
        ("5", "10"),
    ),
    function("infinity", "def f(a): return float('inf')", ("1", "Infinity")),
    function("a negative zero for zero", "def f(a): return -0.0", ("1", "0")),
    function(
        "a large float for a whole number",
        "def f(a): return a * 1e22",
        ("1", "10000000000000000000000"),
    ),
    function(
        "a StrEnum",
        "import enum\nclass E(enum.StrEnum):\n    A = 'a'\ndef f(s): return E(s)",
        ('"a"', '"a"'),
    ),
    function(
        "values by their keys in any order",
        "def f(d): return dict(reversed(d.items()))",
        ('{"a": 1, "b": [2]}', '{"a": 1, "b": [2]}'),
    ),
    function(
        "a function that calls itself deeply",
        """
        import sys
        sys.setrecursionlimit(10**6)
        def f(n): return 0 if n == 0 else 1 + f(n - 1)
        """,
        ("20000", "20000"),
    ),
]

VALID = [
    *STANDARD_INPUT,
    *INPUT_SHAPES,
    *STANDARD_OUTPUT,
    *ENDINGS,
    *THREADS,
    *NAMES,
    *SOURCE,
    *LANGUAGE,
    *NUMBERS_PRINTED,
    *WHITE_SPACE,
    *FUNCTIONS,
]

READ = "a, b = map(int, input().split())\n"
ERROR = Status.RUNTIME_ERROR

WRONG = [
    wrong("one too many", READ + "print(a + b + 1)"),
    wrong("right on the first test only", "print(3)"),
    wrong("nothing printed", READ),
    wrong("the beginning of the answer", "print(1)", ("", "1\n2\n")),
    wrong("the answer and more", READ + "print(a + b)\nprint('done')"),
    wrong("the answer twice", READ + "print(a + b, a + b)"),
    wrong("a prompt", "a, b = map(int, input('Numbers: ').split())\nprint(a + b)"),
    wrong("debug output", READ + "print('debug', a)\nprint(a + b)"),
    wrong("a label", READ + "print('Answer:', a + b)"),
    wrong("printed as a list", READ + "print([a + b])"),
    wrong("printed in quotes", READ + "print(repr(str(a + b)))"),
    wrong("printed as hexadecimal", "print(hex(5))", ("", "5\n")),
    wrong("on standard error", READ + "import sys\nprint(a + b, file=sys.stderr)"),
    wrong("the other order", "print('2 1')", ("", "1 2\n")),
    wrong("the lines in another order", "print('2\\n1')", ("", "1\n2\n")),
    wrong("a repeated number left out", "print('1 2')", ("", "1 1 2\n")),
    wrong("a repeated line left out", "print('1\\n2')", ("", "1\n2\n2\n")),
    wrong("digits joined", "print('12')", ("", "1 2\n")),
    wrong("a digit apart", "print('1 2')", ("", "12\n")),
    wrong("the sign left out", "print(3)", ("", "-3\n")),
    wrong("a large number off by one", "print(100001)", ("", "100000\n")),
    wrong("beyond the precision of floats", "print(2**53)", ("", f"{2**53 + 1}\n")),
    wrong("through a float", "print(int(float(10**17 + 1)))", ("", f"{10**17 + 1}\n")),
    wrong("cut off", "print(int(100000.4))", ("", "100000.4\n")),
    wrong("too few digits", "print('%.2f' % 0.34)", ("", "0.3389\n")),
    wrong("a small number taken for none", "print('0.0001')", ("", "0.0004\n")),
    wrong("not a number for a number", "print(float('nan'))", ("", "1.0\n")),
    wrong("infinity for a number", "print(float('inf'))", ("", "1e308\n")),
    wrong("infinity of the other sign", "print(-float('inf'))", ("", "inf\n")),
    wrong("a number for a word", "print(1)", ("", "YES\n")),
    wrong("a word that begins alike", "print('NOT')", ("", "NO\n")),
    wrong("nothing but blanks", "print('  \\n ')", ("", "0\n")),
    wrong("something where nothing is expected", "print(0)", ("", "")),
    wrong("another accent", "print('e')", ("", "é\n")),
    wrong(
        "in another encoding",
        "import sys\nsys.stdout.buffer.write('é'.encode('latin-1'))",
        ("", "é\n"),
    ),
    wrong("in UTF-16", "import sys\nsys.stdout.buffer.write('3'.encode('utf-16'))", ("", "3\n")),
    wrong("left in a StringIO", READ + "import io, sys\nsys.stdout = io.StringIO()\nprint(a + b)"),
    wrong("not flushed before os._exit", READ + "import os\nprint(a + b)\nos._exit(0)"),
    wrong("exit before the answer", READ + "exit()\nprint(a + b)"),
    wrong("right, but exit(1)", READ + "print(a + b)\nexit(1)", failure=ERROR),
    wrong("right, but exit with a text", READ + "print(a + b)\nexit('done')", failure=ERROR),
    wrong("right, but exit(-1)", READ + "print(a + b)\nexit(-1)", failure=ERROR),
    wrong(
        "right, but os._exit(3)",
        READ + "import os\nprint(a + b, flush=True)\nos._exit(3)",
        failure=ERROR,
    ),
    wrong("right, but an exception", READ + "print(a + b)\nraise ValueError", failure=ERROR),
    wrong("right, but an assertion", READ + "print(a + b)\nassert a > 9, a", failure=ERROR),
    wrong(
        "right, but aborted",
        READ + "import os\nprint(a + b, flush=True)\nos.abort()",
        failure=ERROR,
    ),
    wrong("right, but interrupted", READ + "print(a + b)\nraise KeyboardInterrupt", failure=ERROR),
    wrong("more input than there is", READ + "print(a + b)\ninput()", failure=ERROR),
    wrong("input of another form", "print(int(input()))", failure=ERROR),
    wrong(
        "recursion without a limit", READ + "def f(): return f()\nprint(a + b)\nf()", failure=ERROR
    ),
    wrong(
        "input after exit closed it",
        "try:\n    exit()\nexcept SystemExit:\n    pass\n" + READ + "print(a + b)",
        failure=ERROR,
    ),
    wrong(
        "standard output closed too early",
        READ + "import sys\nsys.stdout.close()\nprint(a + b)",
        failure=ERROR,
    ),
    wrong(
        "an exception shown by an own hook",
        READ + "import sys\nprint(a + b)\nsys.excepthook = lambda *_: None\n1 / 0",
        failure=ERROR,
    ),
    wrong(
        "a daemon thread cut off",
        READ + "import threading, time\n"
        "def late():\n    time.sleep(5)\n    print(a + b)\n"
        "threading.Thread(target=late, daemon=True).start()",
    ),
    wrong("no such module", "import no_such_module_anywhere\n", failure=ERROR),
    wrong("a name not defined", READ + "print(a + b)\nprint(c)", failure=ERROR),
    wrong("not Python", "print 3\n", failure=Status.COMPILE_ERROR),
    wrong("Python 2", READ + "print a + b\n", failure=Status.COMPILE_ERROR),
    wrong("a bracket missing", READ + "print(a + b\n", failure=Status.COMPILE_ERROR),
    wrong("main never called", "def main():\n    print(sum(map(int, input().split())))"),
    wrong("a function for a script", "class Solution:\n    def f(self, a, b): return a + b"),
    wrong("true for one", "def f(a): return True", ("1", "1"), fn_name="f"),
    wrong("zero for false", "def f(a): return 0", ("1", "false"), fn_name="f"),
    wrong("a text for a number", "def f(a): return str(a)", ("1", "1"), fn_name="f"),
    wrong("a list for a number", "def f(a): return [a]", ("1", "1"), fn_name="f"),
    wrong("a set for a list", "def f(a): return set(a)", ("[1, 2]", "[1, 2]"), fn_name="f"),
    wrong("a range for a list", "def f(a): return range(a)", ("2", "[0, 1]"), fn_name="f"),
    wrong("bytes for text", "def f(s): return s.encode()", ('"a"', '"a"'), fn_name="f"),
    wrong(
        "the argument sorted, not returned", "def f(a): a.sort()", ("[2, 1]", "[1, 2]"), fn_name="f"
    ),
    wrong("printed, not returned", "def f(a): print(a)", ("1", "1"), fn_name="f"),
    wrong("a generator", "def f(a):\n    yield a", ("1", "[1]"), fn_name="f"),
    wrong("a map object", "def f(a): return map(abs, a)", ("[1]", "[1]"), fn_name="f"),
    wrong(
        "a deque",
        "from collections import deque\ndef f(a): return deque(a)",
        ("[1]", "[1]"),
        fn_name="f",
    ),
    wrong(
        "a Fraction",
        "from fractions import Fraction\ndef f(a): return Fraction(a)",
        ("1", "1"),
        fn_name="f",
    ),
    wrong(
        "an array of numpy",
        "import numpy as np\ndef f(a): return np.array(a)",
        ("[1]", "[1]"),
        fn_name="f",
    ),
    wrong("true in a list for one", "def f(a): return [a > 0]", ("1", "[1]"), fn_name="f"),
    wrong("text for nothing", "def f(a): return ''", ("1", "null"), fn_name="f"),
    wrong("a key too many", "def f(a): return {'a': a, 'b': 1}", ("1", '{"a": 1}'), fn_name="f"),
    wrong("exit from a function", "def f(a): exit(0)", ("1", "1"), failure=ERROR, fn_name="f"),
    wrong(
        "right on the first call only", "def f(a): return 1", ("1", "1"), ("2", "2"), fn_name="f"
    ),
    wrong("a coroutine", "async def f(a): return a", ("1", "1"), fn_name="f"),
    wrong(
        "equal to everything",
        "class E:\n    def __eq__(self, other): return True\ndef f(a): return E()",
        ("1", "1"),
        fn_name="f",
    ),
    wrong(
        "a large value off by one",
        "def f(a): return a + 1",
        ("9007199254740992", "9007199254740992"),
        fn_name="f",
    ),
    wrong("another name", "def g(a): return a", ("1", "1"), failure=ERROR, fn_name="f"),
    wrong("too many arguments", "def f(a, b): return a", ("1", "1"), failure=ERROR, fn_name="f"),
]
