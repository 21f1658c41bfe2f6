"""What the ranks of a chaotic run do: imported by them and by their notebook, by name.

Ranks tell the driver over a datagram socket what they have reached, so that it can hit them there.
"""

from __future__ import annotations

import atexit
import builtins
import contextlib
import ctypes
import getpass
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, NoReturn

__all__ = [
    "EXCEPTIONS",
    "Sprung",
    "Trap",
    "act",
    "ask",
    "at_exit",
    "begin_attempt",
    "bystand",
    "close_descriptors",
    "flood",
    "fork_and_go_on",
    "linger",
    "never_end",
    "stubborn_child",
    "value",
    "write_garbage",
]

# Variables of the ranks: where the driver listens, and which run it is.
SOCKET, RUN = "NBCHAOS_SOCKET", "NBCHAOS"


def announce(what: str) -> None:
    """Tell the driver what this process has reached."""
    told = {
        "run": os.environ.get(RUN, ""),
        "rank": int(os.environ["RANK"]),
        "attempt": _attempt(),
        "pid": os.getpid(),
        "what": what,
    }
    # a driver that is gone is told nothing
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as connection:
        connection.sendto(json.dumps(told).encode(), os.environ[SOCKET])


def _attempt() -> int:
    return int(os.environ["TORCHELASTIC_RESTART_COUNT"])


def pause() -> NoReturn:
    """Wait for the end; a signal that comes just before is noticed too."""
    while True:
        time.sleep(0.05)


# ---- attempts


class Survivor(Exception):
    """Something of an earlier attempt is left."""


_PORTS: list[socket.socket] = []


def begin_attempt() -> int:
    """Return which attempt this is.

    Raises
    ------
    Survivor
        If a process of an earlier one is left, or the port is the same.
    """
    for line in _note_birth().splitlines():
        attempt, pid, born, port = line.split()
        if int(attempt) < _attempt():
            if _born(int(pid)) == born:
                raise Survivor(f"pid {pid} of attempt {attempt} is left in attempt {_attempt()}")
            if port == os.environ["MASTER_PORT"]:
                raise Survivor(f"attempt {_attempt()} has the port {port} of attempt {attempt}")
    if os.environ["RANK"] == "0":
        # as the first rank of a process group does; it goes with the process
        _PORTS.append(socket.create_server((os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]))))
    return _attempt()


def _note_birth(pid: int | None = None) -> str:
    """Write down that this process, or another one, belongs to this attempt; return all that were written down."""
    pid = os.getpid() if pid is None else pid
    path = os.path.join(os.path.dirname(os.environ[SOCKET]), f"born-{os.environ.get(RUN, '').replace('/', '-')}")
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        os.write(descriptor, f"{_attempt()} {pid} {_born(pid)} {os.environ['MASTER_PORT']}\n".encode())
        os.lseek(descriptor, 0, os.SEEK_SET)
        return os.read(descriptor, 1 << 20).decode()
    finally:
        os.close(descriptor)


def _born(pid: int) -> str:
    """Return when a process began, in the kernel's ticks; "gone" if it has ended, even if nobody has asked for it."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b") ")[2].split()
    except OSError:
        return "gone"
    return "gone" if fields[0] in (b"Z", b"X") else fields[19].decode()


# ---- exceptions of odd kinds


class TwoArguments(Exception):
    def __init__(self, first: int, second: str) -> None:
        super().__init__(f"{first} and {second}")
        self.first = first
        self.second = second


class KeywordOnly(Exception):
    def __init__(self, *, code: int) -> None:
        super().__init__("by keyword")
        self.code = code


class NoException(BaseException):
    """Not an `Exception`, so that hardly anybody catches it."""


class Unpicklable(Exception):
    def __init__(self) -> None:
        super().__init__("has a lock")
        self.lock = threading.Lock()


class Unbuildable(Exception):
    """Pickles, and cannot be built again where it arrives."""

    def __reduce__(self) -> tuple[Callable[[str], object], tuple[str]]:
        return int, ("not a number",)


class Wordless(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


class Nameless(Exception):
    def __repr__(self) -> str:
        raise SystemExit(3)

    __str__ = __repr__


def _recurse() -> NoReturn:
    _recurse()


def _chained() -> NoReturn:
    try:
        raise KeyError("cause")
    except KeyError as error:
        raise ValueError("effect") from error


def _group() -> NoReturn:
    kind: Any = getattr(builtins, "ExceptionGroup", None)
    raise kind("several", [ValueError("a"), KeyError("b")]) if kind else ValueError("no groups in this Python")


def _raise(error: BaseException) -> NoReturn:
    raise error


EXCEPTIONS: dict[str, tuple[Callable[[], object], tuple[str, ...]]] = {
    "two arguments": (lambda: _raise(TwoArguments(1, "b")), ("TwoArguments",)),
    "keyword only": (lambda: _raise(KeywordOnly(code=3)), ("KeywordOnly",)),
    "BaseException": (lambda: _raise(NoException("bare")), ("NoException",)),
    "group": (_group, ("ExceptionGroup", "ValueError")),
    "chain": (_chained, ("ValueError",)),
    "unpicklable": (lambda: _raise(Unpicklable()), ("Unpicklable",)),
    "cannot be rebuilt": (lambda: _raise(Unbuildable()), ("Unbuildable",)),
    "str() raises": (lambda: _raise(Wordless()), ("Wordless",)),
    "str() leaves": (lambda: _raise(Nameless()), ("Nameless",)),
    "huge message": (lambda: _raise(ValueError("x" * 10_000_000)), ("ValueError",)),
    "odd text": (lambda: _raise(ValueError("\ud800 \0 \x1b[31m")), ("ValueError",)),
    "recursion": (_recurse, ("RecursionError",)),
    "SystemExit": (lambda: _raise(SystemExit(3)), ("SystemExit",)),
    "SystemExit with text": (lambda: _raise(SystemExit("text")), ("SystemExit",)),
    "KeyboardInterrupt": (lambda: _raise(KeyboardInterrupt()), ("KeyboardInterrupt",)),
    "GeneratorExit": (lambda: _raise(GeneratorExit()), ("GeneratorExit",)),
    "MemoryError": (lambda: _raise(MemoryError()), ("MemoryError",)),
}
"""How each is raised, and the names of types under which it may arrive."""

# One that is raised while a variable of the notebook is rebuilt arrives with the name of that variable.
EXCEPTIONS = {name: (how, (*kinds, "NotRebuilt")) for name, (how, kinds) in EXCEPTIONS.items()}


# ---- what happens to the one that is hit


def act(action: str) -> None:
    """Do what the words say: ``SIGKILL``, ``crash``, ``exit 3``, ``raise chain``, ``announce result``."""
    verb, _, rest = action.partition(" ")
    if verb.startswith("SIG"):
        os.kill(os.getpid(), signal.Signals[verb])
    elif verb == "crash":
        ctypes.string_at(0)
    elif verb == "exit":
        os._exit(int(rest))
    elif verb == "raise":
        EXCEPTIONS[rest][0]()
    else:
        announce(rest)
        pause()


class Trap:
    """Acts in one rank while the ranks are handed the notebook's variables; in one attempt, if there are several."""

    def __init__(self, victim: int, action: str, attempt: int | None = None) -> None:
        self.victim = victim
        self.action = action
        self.attempt = attempt

    def __reduce__(self) -> tuple[Callable[[int, str, int | None], None], tuple[int, str, int | None]]:
        return _step_on, (self.victim, self.action, self.attempt)


def _step_on(victim: int, action: str, attempt: int | None) -> None:
    if int(os.environ["RANK"]) == victim and attempt in (None, _attempt()):
        act(action)


class Sprung:
    """A value that acts while it is pickled."""

    def __init__(self, action: str) -> None:
        self.action = action

    def __reduce__(self) -> tuple[Callable[[], object], tuple[()]]:
        act(self.action)
        return dict, ()


def at_exit(action: str) -> None:
    """Act when the interpreter of this rank ends, after its value was sent."""
    atexit.register(act, action)


def never_end() -> None:
    """Have a thread run that the interpreter waits for at its end."""
    threading.Thread(target=pause).start()


def close_descriptors(*numbers: int) -> None:
    for number in numbers:
        with contextlib.suppress(OSError):
            os.close(number)


def write_garbage() -> None:
    """Write to each socket of this process: the one to its gang is among them."""
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            if stat.S_ISSOCK(os.fstat(int(name)).st_mode):
                os.write(int(name), b"garbage, and no message at all" * 10)


def flood(stream: str, size: int) -> None:
    line = b"x" * 99 + b"\n"
    descriptor = getattr(sys, stream).fileno()
    block = line * 1000
    written = 0
    while written < size:
        written += os.write(descriptor, block[: size - written])


def stubborn_child(how: str) -> None:
    """Fork a process that ignores what can be ignored: in this ``group``, a ``session`` of its own, or ``double``."""
    pid = os.fork()
    if pid:
        if how == "double":
            os.waitpid(pid, 0)
        return
    try:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
            signal.signal(number, signal.SIG_IGN)
        if how != "group":
            os.setsid()
        if how == "double" and os.fork():
            os._exit(0)
        _note_birth()
        announce("child")
        pause()
    finally:
        os._exit(1)


def fork_and_go_on() -> None:
    """Fork, and let both go on as if they were the rank."""
    if not os.fork():
        _note_birth()


def bystand(how: str) -> None:
    """Do what a rank does that nothing happens to."""
    if how in ("finish", "display"):
        if how == "display":
            print("nothing happens here", flush=True)
        return
    if how == "deaf":
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
    announce("run")
    if how == "busy":
        while True:
            pass
    elif how == "holding the lock":
        ctypes.PyDLL(None).pause()  # a PyDLL keeps the interpreter's lock
    elif how == "child":
        with subprocess.Popen(["sleep", "600"]) as child:
            _note_birth(child.pid)
    pause()


NEXT_ATTEMPT = "when the next attempt begins, or the run ends"
"""What another thread of the notebook waits for, among the things that it does."""

ANSWER = "the answer"
"""What the frontend says when a rank asks for a line."""


def ask(how: str) -> None:
    """Ask for a line by ``input``, ``getpass`` or ``readline``.

    Raises
    ------
    EOFError
        If there is none.
    """
    if how == "readline":
        line = sys.stdin.readline().removesuffix("\n")
        if not line:
            raise EOFError("an empty line")
    else:
        line = input("what? ") if how == "input" else getpass.getpass("what? ")
    if line != ANSWER:
        raise ValueError(f"asked in vain: {line!r}")


def linger() -> int:
    """Take a moment, in a run beside the one that is hit."""
    time.sleep(0.2)
    return int(os.environ["RANK"])


def value(size: int) -> dict[str, Any]:
    """Return what a rank sends back: its number, that of its attempt, and so many bytes."""
    data = bytearray(size)
    if data:
        data[0] = data[-1] = int(os.environ["RANK"]) + 1
    return {"rank": int(os.environ["RANK"]), "attempt": _attempt(), "data": data}
