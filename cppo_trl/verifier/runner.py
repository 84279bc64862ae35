"""The sandboxed side of the engine: runs one program on all its tests, each in a forked child.

Never imported: `engine.py` compiles this file and sends the code, with `job`, to a bare
interpreter. Starting up is most of the cost of a short program, so only modules that are built in
or come as small C extensions are used (no `os`, `json`, `signal`, ...).

What the job is: `parent` (process id), `code` (text of the program), `inputs` (bytes for each
test; for a function, one JSON value per line), `fn_name` (None for standard input and output),
`preload` (modules to import once for all tests), `prelude` (name -> (module, attribute or None)),
`folder` (empty, ours), and the limits `time` (whole CPU seconds), `memory` and `output` (bytes) and
`processes` (number or None).

What goes back on descriptor 1, as text lines of decimal numbers, with the bytes counted in them:
`ready`; `compiled` or `invalid LENGTH` + message; for each test `test INDEX WAIT_STATUS
CPU_MICROSECONDS PEAK_KB OUTPUT_LENGTH SENT` + SENT bytes; `trouble LENGTH` + message for anything
that is not the program's fault. Standard error is one file for all: the engine reads its last
line. A program that got hold of this channel could at most claim an output, which the engine
compares with answers that no process of this tree has ever seen.
"""

import builtins
import gc
import posix
import resource
import sys

FILE = "program.py"
PRCTL_PDEATHSIG, PRCTL_DUMPABLE, PRCTL_SUBREAPER, PRCTL_NO_NEW_PRIVS = 1, 4, 36, 38
SIGKILL = 9
ENOSPC, EDQUOT = 28, 122
CHUNK = 1 << 20
LINUX = sys.platform == "linux"


def main(job):
    job["set_option"] = lock_down(job["parent"])
    sys.set_int_max_str_digits(0)
    prelude = load(job)
    base_pages, base_resident = memory_pages()
    limit_runner(job, base_pages)
    # Objects made so far are never looked at by the children's garbage collector.
    gc.collect()
    gc.freeze()
    send(b"ready")
    try:
        code = compiled(job["code"].removeprefix("\ufeff"), job["fn_name"] is None)
    except SyntaxError as error:
        message = f"{type(error).__name__}: {error.msg} (line {error.lineno})"
        return send(b"invalid", body=message.encode("utf-8", "replace"))
    except (ValueError, OverflowError, MemoryError, RecursionError) as error:
        message = f"{type(error).__name__}: {error}"
        return send(b"invalid", body=message.encode("utf-8", "replace"))
    send(b"compiled")
    for index, data in enumerate(job["inputs"]):
        if not run_test(index, data, code, job, prelude, base_resident):
            return  # the last line of standard error stays for the engine to read


def lock_down(parent):
    """No new privileges, no debugger, no life without the engine; orphans come to us.

    Returns the setter of process options, or None where there is none.
    """
    if not LINUX:
        return None
    try:
        import _ctypes  # not `ctypes`, which takes 3 ms to import

        prctl = _ctypes.dlsym(_ctypes.dlopen(None, 2), "prctl")
    except (ImportError, OSError):
        return None

    def set_option(option, value):
        _ctypes.call_function(prctl, (option, value, 0, 0, 0))

    set_option(PRCTL_NO_NEW_PRIVS, 1)
    set_option(PRCTL_DUMPABLE, 0)
    set_option(PRCTL_SUBREAPER, 1)
    set_option(PRCTL_PDEATHSIG, SIGKILL)
    if posix.getppid() != parent:  # it died before we asked to hear of it
        posix._exit(1)
    return set_option


def load(job):
    """Imports what all tests need and returns the names that a function problem is given."""
    for name in job["preload"]:
        try:
            __import__(name)
        except ImportError:
            pass  # the program hears of it itself
    names = {}
    for name, (module, attribute) in job["prelude"].items():
        names[name] = __import__(module)
        if attribute is not None:
            names[name] = getattr(names[name], attribute)
    if not hasattr(builtins, "exit"):  # under -S, where `site` does not define them
        import _sitebuiltins

        builtins.exit = _sitebuiltins.Quitter("exit", "Ctrl-D")
        builtins.quit = _sitebuiltins.Quitter("quit", "Ctrl-D")
    return names


def memory_pages():
    """(address space, resident) of this process in pages; zeros where there is no /proc."""
    try:
        file = posix.open("/proc/self/statm", posix.O_RDONLY)
    except OSError:
        return 0, 0
    fields = posix.read(file, 200).split()
    posix.close(file)
    return int(fields[0]), int(fields[1])


def limit_runner(job, base_pages):
    """Limits that the children inherit and that the runner, compiling, needs itself."""
    limit("RLIMIT_AS", base_pages * resource.getpagesize() + job["memory"])
    limit("RLIMIT_NOFILE", 64)
    limit("RLIMIT_CORE", 0)
    limit("RLIMIT_STACK", 512 << 20)


def limit_child(job):
    limit("RLIMIT_CPU", job["time"], 1)  # SIGXCPU can be caught; the kill a second later cannot
    limit("RLIMIT_FSIZE", job["output"])
    if job["processes"] is not None:
        limit("RLIMIT_NPROC", job["processes"])


def limit(name, soft, extra=0):
    number = getattr(resource, name)
    ceiling = resource.getrlimit(number)[1]
    hard = soft + extra
    if ceiling != resource.RLIM_INFINITY:
        soft, hard = min(soft, ceiling), min(hard, ceiling)
    try:
        resource.setrlimit(number, (soft, hard))
    except (OSError, ValueError):
        if LINUX:
            raise


def compiled(text, script):
    try:
        return compile(text, FILE, "exec", dont_inherit=True)
    except SyntaxError as error:
        if not script or error.msg != "'return' outside function":
            raise
    # APPS' own tester wraps programs in a function, so some of its solutions return at top level.
    # An exit says the same and leaves names global, star imports legal and strings unindented.
    import ast

    def ended(statements):
        for node in statements:
            if isinstance(node, ast.Return):
                if node.value is not None:
                    yield ast.copy_location(ast.Expr(node.value), node)
                name = ast.Name("SystemExit", ast.Load())
                yield ast.copy_location(ast.Raise(name, None), node)
                continue
            if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                for block in ("body", "orelse", "finalbody"):
                    if getattr(node, block, None):
                        setattr(node, block, list(ended(getattr(node, block))))
                for part in (*getattr(node, "handlers", ()), *getattr(node, "cases", ())):
                    part.body = list(ended(part.body))
            yield node

    tree = ast.parse(text, FILE)
    tree.body = list(ended(tree.body))
    return compile(ast.fix_missing_locations(tree), FILE, "exec", dont_inherit=True)


def run_test(index, data, code, job, prelude, base_resident):
    """Runs one test and reports on it; whether there is any use in running the next."""
    posix.lseek(2, 0, 0)
    posix.ftruncate(2, 0)
    folder = f"{job['folder']}/{index}"
    try:
        posix.mkdir(folder, 0o700)
        posix.chdir(folder)
    except OSError as error:
        if index == 0 or error.errno in (ENOSPC, EDQUOT):
            raise
        write(2, b"the program damaged the folder that it runs in")
        send(b"test", index, 1 << 8, 0, 0, 0, 0)
        return False
    source = scratch(b"" if job["fn_name"] else data)
    target = scratch(b"")
    pid = posix.fork()
    if pid == 0:
        child(posix._exit, source, target, data, code, job, prelude)
    posix.close(source)
    _, status, usage = posix.wait4(pid, 0)
    kill_strays(pid)
    try:
        posix.rmdir(folder)
    except OSError:
        pass  # not empty: the engine removes it
    length = posix.fstat(target).st_size
    sent = length if status == 0 and length < job["output"] else 0
    cpu = int((usage.ru_utime + usage.ru_stime) * 1e6)
    peak = max(0, usage.ru_maxrss - base_resident * resource.getpagesize() // 1024)
    send(b"test", index, status, cpu, peak, length, sent)
    posix.lseek(target, 0, 0)
    while sent > 0:
        chunk = posix.read(target, min(sent, CHUNK))
        write(1, chunk or b"\0" * sent)  # it cannot shrink: the writers are dead
        sent -= len(chunk) or sent
    posix.close(target)
    return status == 0 and (length > 0 or job["fn_name"] is None)


def scratch(data):
    """A new file without a name that holds `data`, at its start."""
    if hasattr(posix, "memfd_create"):
        file = posix.memfd_create("data")
    else:
        file = posix.open("data", posix.O_RDWR | posix.O_CREAT | posix.O_EXCL, 0o600)
        posix.unlink("data")
    write(file, data)
    posix.lseek(file, 0, 0)
    return file


def kill_strays(pid):
    """Ends what the program left running, also what left its process group."""
    try:
        posix.killpg(pid, SIGKILL)
    except OSError:
        pass
    while True:
        try:
            if posix.waitpid(-1, posix.WNOHANG)[0]:
                continue
        except ChildProcessError:
            return
        me = posix.getpid()
        try:
            file = posix.open(f"/proc/self/task/{me}/children", posix.O_RDONLY)
        except OSError:
            return
        for stray in posix.read(file, CHUNK).split():
            try:
                posix.kill(int(stray), SIGKILL)
            except OSError:
                pass
        posix.close(file)
        posix.waitpid(-1, 0)


def child(leave, source, target, data, code, job, prelude):
    status = 1
    try:
        if LINUX:
            posix.setpgid(0, 0)
        if job["set_option"] is not None:  # the kernel clears it in a forked child
            job["set_option"](PRCTL_PDEATHSIG, SIGKILL)
        limit_child(job)
        if job["fn_name"] is None:
            posix.dup2(source, 0)
            posix.dup2(target, 1)
            posix.closerange(3, 256)
            status = run_script(code)
        else:
            nothing = posix.open("/dev/null", posix.O_RDWR)
            posix.dup2(nothing, 0)
            posix.dup2(nothing, 1)
            posix.dup2(target, 3)
            posix.closerange(4, 256)
            status = run_function(code, job["fn_name"], data, prelude)
    except BaseException as error:
        describe(error)
    finally:
        while True:
            try:
                leave(status)
            except BaseException:  # a signal handler of the program's
                pass


def new_module(name):
    module = type(sys)(name)
    module.__builtins__ = builtins
    module.__file__ = FILE
    sys.modules[name] = module
    sys.argv = [FILE]
    return module.__dict__


def run_script(code):
    """Runs the program as `__main__`, then what an interpreter does at its end; the exit code."""
    names = new_module("__main__")
    status = 0
    try:
        exec(code, names)
    except SystemExit as stop:
        status = exit_status(stop.code)
    except BaseException as error:
        status = 1
        describe(error)
    try:
        if "threading" in sys.modules:
            sys.modules["threading"]._shutdown()
        import atexit

        atexit._run_exitfuncs()
    except BaseException as error:
        describe(error)
    files = [value for value in names.values() if isinstance(value, type(sys.__stdout__.buffer))]
    files += [value for value in names.values() if isinstance(value, type(sys.__stdout__))]
    for file in (*files[::-1], sys.__stdout__):
        try:
            if not file.closed:
                file.flush()
        except (OSError, ValueError):
            pass
    try:
        if sys.stdout is not None and not getattr(sys.stdout, "closed", False):
            sys.stdout.flush()
    except BaseException as error:
        describe(error)
        return 120  # as the interpreter's own
    return status


def exit_status(code):
    if code is None:
        return 0
    if isinstance(code, int):
        return code & 0xFF
    write(2, f"\n{code}".encode("utf-8", "replace"))
    return 1


def run_function(code, name, data, prelude):
    """Calls the function on the arguments and writes its result as JSON to descriptor 3."""
    # Not `json`, which takes 7 ms to import.
    from _json import encode_basestring_ascii, make_encoder, make_scanner

    arguments = [
        make_scanner(Decoding())(line.strip(), 0)[0]
        for line in data.decode("utf-8", "surrogatepass").split("\n")
        if line.strip()
    ]
    names = new_module("solution")
    names.update(prelude)
    exec(code, names)
    holder = names.get("Solution")
    if isinstance(holder, type) and hasattr(holder, name):
        function = getattr(holder(), name)
    elif name in names:
        function = names[name]
    else:
        write(2, f"\nNameError: no function {name!r} and no Solution.{name}".encode())
        return 1
    result = function(*arguments)
    encode = make_encoder(
        {}, not_json, encode_basestring_ascii, None, ": ", ", ", False, False, True
    )
    try:
        text = "".join(encode(result, 0)).encode("ascii")
    except (TypeError, ValueError, RecursionError) as error:
        write(2, f"\n{error}".encode("utf-8", "replace"))
        return 0  # the run is fine, its answer is nothing that could be right
    posix.lseek(3, 0, 0)
    posix.ftruncate(3, 0)
    write(3, text)
    return 0


class Decoding:
    """What the C scanner of JSON asks for."""

    strict = True
    object_hook = None
    object_pairs_hook = None
    parse_float = float
    parse_int = int

    @staticmethod
    def parse_constant(name):
        return float(name.replace("Infinity", "inf"))


def not_json(value):
    """Called for what JSON does not know; numpy's scalars are numbers to every grader."""
    if type(value).__module__ == "numpy" and getattr(value, "shape", None) == ():
        return value.item()
    raise TypeError(f"the result holds a {type(value).__name__}, which is not plain JSON data")


def describe(error):
    """The last line of standard error: what was raised, and where in the program."""
    line, entry = None, error.__traceback__
    while entry is not None:
        if entry.tb_frame.f_code.co_filename == FILE:
            line = entry.tb_lineno
        entry = entry.tb_next
    error.__traceback__ = error.__context__ = None  # they hold on to memory that is needed below
    name = "MemoryError" if isinstance(error, MemoryError) else type(error).__name__
    try:
        text = f"{name}: {error}"[:300].replace("\n", " ").removesuffix(": ")
        where = "" if line is None else f" (line {line})"
        write(2, f"\n{text}{where}".encode("utf-8", "replace"))
    except BaseException:
        write(2, b"\n" + name.encode("utf-8", "replace"))


def send(kind, *numbers, body=None):
    if body is not None:
        numbers = (*numbers, len(body))
    write(1, b" ".join((kind, *(b"%d" % number for number in numbers))) + b"\n" + (body or b""))


def write(file, data):
    while data:
        data = data[posix.write(file, data) :]


try:
    main(job)  # noqa: F821
except OSError as error:
    send(b"trouble", body=str(error).encode("utf-8", "replace"))
posix._exit(0)
