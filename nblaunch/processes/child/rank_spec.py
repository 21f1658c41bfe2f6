"""The first steps of a rank's process, before any code of the user's: guards, log files, signals, surroundings.

Whatever the start method, a rank is described by a `RankSpec` and ends here: `main` in a fresh interpreter,
`run_forked` in a forked one. Both call the entry point that the gang was given, ``"module:function"``, with a
`Context`, and turn what it returns into the exit code.
"""

from __future__ import annotations

import atexit
import ctypes
import gc
import importlib
import os
import signal
import socket
import sys
import threading
import traceback
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

from nblaunch.payload import Parts, Stored
from nblaunch.processes import _linux
from nblaunch.processes.channel import Channel
from nblaunch.processes.child.cleaners import set_apart
from nblaunch.processes.child.debuggers import past_debuggers
from nblaunch.processes.child.leaving import exit_code, flush, leave
from nblaunch.stacks.dump import answer_with_stacks

__all__ = [
    "MOST_BAGS",
    "Context",
    "Descriptors",
    "RankSpec",
    "become_rank",
    "forget_ahead",
    "fork",
    "leave_parent",
    "main",
    "run_forked",
    "settle",
]

_libc = ctypes.CDLL(None)

MOST_BAGS = 64
"""Sockets with descriptors that one rank may be given."""


@dataclass(frozen=True)
class RankSpec:
    """What one rank starts with.

    Parameters
    ----------
    rank : int
        Its number in the gang.
    entry : str
        ``"module:function"`` for a Python rank; empty for a program.
    command : tuple of str
        Program and arguments; empty for a Python rank.
    cpus : tuple of int
        The processors on which a program may run; empty for any.
    env : dict of str to str
        The whole environment.
    cwd : str or None
        Working directory; None keeps the parent's.
    stdout, stderr : str
        Files for descriptors 1 and 2; an empty string leaves the parent's.
    stacks : str
        File for the stacks of a Python rank's threads, see `nblaunch.stacks.dump`; empty for none.
    sys_path, argv : tuple of str
        ``sys.path`` and ``sys.argv`` of a Python rank.
    main_module, main_path : str
        Main module to import under the name ``__main__`` first, by name or by path; see `multiprocessing.spawn`.
    """

    rank: int
    entry: str = ""
    command: tuple[str, ...] = ()
    cpus: tuple[int, ...] = ()
    env: dict[str, str] = field(default_factory=dict, repr=False)
    cwd: str | None = None
    stdout: str = ""
    stderr: str = ""
    stacks: str = ""
    sys_path: tuple[str, ...] = field(default=(), repr=False)
    argv: tuple[str, ...] = ("",)
    main_module: str = ""
    main_path: str = ""

    def as_json(self) -> dict[str, Any]:
        """Return the fields that a process cannot find in itself."""
        # not asdict(), which copies every part of every part
        return {name: value for name, value in vars(self).items() if name != "env"}


@dataclass(frozen=True)
class Descriptors:
    """Descriptors that a rank inherits; -1 is one that it does not have.

    Parameters
    ----------
    control : int
        Socket to the gang.
    payload : tuple of int
        The files of the gang's payload.
    guard : int
        Reading end of the guard pipe.
    bags : tuple of int
        Where the descriptors wait that arguments hold, see `nblaunch.processes.elastic.inheritance`.
    stdout, stderr : int
        What the rank writes to where its description names no file; -1 leaves what the process has.
    """

    control: int = -1
    payload: tuple[int, ...] = ()
    guard: int = -1
    bags: tuple[int, ...] = ()
    stdout: int = -1
    stderr: int = -1

    def given(self) -> tuple[int, ...]:
        """Return those that exist."""
        return (*self.payload, *self.bags, *(descriptor for _, descriptor in self._single()))

    def renumbered(self, numbers: Sequence[int]) -> Descriptors:
        """Return the same with other numbers for those that exist, which are in the order of `given`."""
        rest = iter(numbers)
        payload, bags = (tuple(next(rest) for _ in several) for several in (self.payload, self.bags))
        return Descriptors(payload=payload, bags=bags, **{name: next(rest) for name, _ in self._single()})

    def as_json(self) -> dict[str, Any]:
        """Return the fields."""
        return dict(vars(self))

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> Descriptors:
        """Return what `as_json` was made of."""
        return cls(**{**fields, "payload": tuple(fields["payload"]), "bags": tuple(fields["bags"])})

    def _single(self) -> list[tuple[str, int]]:
        return [(name, number) for name, number in vars(self).items() if not isinstance(number, tuple) and number >= 0]


@dataclass
class Context:
    """What the entry point of a rank gets.

    Attributes
    ----------
    rank_spec : RankSpec
        How the rank was started.
    channel : Channel
        The way back to the gang.
    payload : list of Parts
        The gang's payload, for `nblaunch.payload.unpack`; private and writable.
    inherited : object
        With start method ``fork``: an object of the parent's memory, else None.
    guard : int
        A descriptor that becomes readable when the parent ends; -1 for none.
    bags : tuple of int
        See `Descriptors`; whoever unpacks the payload closes them.
    pid : int
        The rank's process, which is not that of a process that it forks.
    """

    rank_spec: RankSpec
    channel: Channel
    payload: list[Parts]
    inherited: Any = None
    guard: int = -1
    bags: tuple[int, ...] = ()
    pid: int = field(default_factory=os.getpid)

    def let_interrupts_in(self) -> None:
        """Receive SIGINT from now on, one that has come before included; for the entry point, which can report it."""
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def main(described: dict[str, Any]) -> NoReturn:
    """Run a rank in a fresh interpreter and leave it."""
    rank_spec = RankSpec(**described["rank_spec"])
    descriptors = Descriptors.from_json(described["descriptors"])
    _linux.die_with_parent(descriptors.guard, described["parent"])
    _linux.prefer_for_oom_kill()
    # while sys.path is still that of the interpreter: a random.py beside the notebook must not become ours
    problem = warm_up(described["prepare"])
    context = _begin(rank_spec, descriptors, None)
    if problem:
        print(problem, file=sys.stderr)
    leave(1 if problem else _call(context))


def warm_up(dotted: str) -> str:
    """Import what a rank will need, as ``"module"`` or ``"module:function"`` to be called; return what went wrong."""
    if dotted:
        try:
            module, _, function = dotted.partition(":")
            imported = importlib.import_module(module)
            if function:
                getattr(imported, function)()
        except Exception:
            return f"a process that was to be a rank could not get ready:\n{traceback.format_exc()}"
    return ""


def fork() -> int:
    """Fork with all signals blocked; the child is for `run_forked`, which lets them in when they have their meaning.

    A signal that came earlier would run a handler of the parent's in the rank, or be ignored as it is there.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    pid = -1
    try:
        with past_debuggers():
            pid = os.fork()
    finally:
        if pid != 0:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return pid


def run_forked(rank_spec: RankSpec, descriptors: Descriptors, parent: int, inherited: object = None) -> NoReturn:
    """Run a rank in the process that a fork has just made, and leave it without returning to the parent's code."""
    try:
        leave_parent()
        _linux.prefer_for_oom_kill()
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    become_rank(rank_spec, descriptors, parent, inherited)


def leave_parent() -> None:
    """Lead a session of one's own, and forget what the parent wants done at its own end.

    `multiprocessing` forgets the same in the processes that it forks.
    """
    os.setsid()
    atexit._clear()
    if not _without_finalizers:
        _forget_finalizers()
    # the rank's own have to register with atexit once more
    weakref.finalize._registered_with_atexit = False  # type: ignore[attr-defined]
    # With fork this is a copy of the gang's supervisor, which is a daemon, and threads inherit that: those of the rank
    # would not be waited for.
    main_thread = threading.main_thread()
    main_thread.name = "MainThread"
    main_thread._daemonic = False  # type: ignore[attr-defined]
    if "multiprocessing.util" in sys.modules:
        from multiprocessing import process, util

        process._children.clear()  # type: ignore[attr-defined]
        util._finalizer_registry.clear()  # type: ignore[attr-defined]
        util._run_after_forkers()  # type: ignore[attr-defined]
        # was registered at import, for the queues and pools that the rank itself will use
        atexit.register(util._exit_function)  # type: ignore[attr-defined]
    # What is here is the parent's. Its files are not to be written out by the rank, and whoever goes through all
    # objects would make copies of all their pages.
    gc.freeze()


_without_finalizers = False


def forget_ahead() -> None:
    """Forget now what each forked process would have to forget, in a process that only forks.

    Whatever a forked process changes costs it a copy of a page: torch alone has a hundred finalizers, far apart.
    """
    global _without_finalizers
    _forget_finalizers()
    _without_finalizers = True


def _forget_finalizers() -> None:
    for finalizer in list(weakref.finalize._registry):  # type: ignore[attr-defined]
        finalizer.atexit = False


def become_rank(
    rank_spec: RankSpec,
    descriptors: Descriptors,
    parent: int,
    inherited: object = None,
    *,
    settled: Callable[[], object] = lambda: None,
) -> NoReturn:
    """Run a rank in a process that has left its parent; never returns.

    Parameters
    ----------
    settled : callable
        Called before the rank's own code.
    """
    code = 1
    try:
        _linux.die_with_parent(descriptors.guard, parent)
        context = settle(rank_spec, descriptors, inherited)
        settled()
        code = _call(context)
    except BaseException:
        traceback.print_exc()
    leave(code)


def settle(rank_spec: RankSpec, descriptors: Descriptors, inherited: object = None) -> Context:
    """Take the streams, directory, environment, signals and path that a rank is to have."""
    _redirect(rank_spec, descriptors)
    if rank_spec.cwd is not None:
        os.chdir(rank_spec.cwd)
    _take_environment(rank_spec.env)
    return _begin(rank_spec, descriptors, inherited)


def _take_environment(env: dict[str, str]) -> None:
    here = os.environ.copy()  # once, because every look at a variable encodes and decodes it
    for name in here.keys() - env.keys():
        del os.environ[name]
    for name, value in env.items():
        if here.get(name) != value:
            os.environ[name] = value


def _begin(rank_spec: RankSpec, descriptors: Descriptors, inherited: object) -> Context:
    _default_signals()
    for descriptor in (descriptors.control, *descriptors.payload, *descriptors.bags, descriptors.guard):
        if descriptor >= 0:
            os.set_inheritable(descriptor, False)
    _line_buffered()
    set_apart()
    answer_with_stacks(rank_spec.stacks)
    sys.path[:] = rank_spec.sys_path
    sys.argv[:] = rank_spec.argv
    payload: list[Parts] = []
    if descriptors.payload:
        with Stored(*descriptors.payload) as stored:
            payload = stored.parts()
    channel = Channel(socket.socket(fileno=descriptors.control))
    return Context(rank_spec, channel, payload, inherited, descriptors.guard, descriptors.bags)


def _call(context: Context) -> int:
    code = 1
    try:
        module, _, function = context.rank_spec.entry.partition(":")
        entry: Callable[[Context], int] = getattr(importlib.import_module(module), function)
        code = entry(context)
    except SystemExit as leaving:
        code = exit_code(leaving)
    except KeyboardInterrupt:
        code = -signal.SIGINT
    except BaseException:
        traceback.print_exc()
    if os.getpid() != context.pid:
        # the code that was run has forked, and this is the child: it must not go on as if it were the rank
        flush()
        os._exit(code & 0xFF)
    context.channel.close()
    return code


def _default_signals() -> None:
    # a forked rank has its parent's handlers, a spawned one whatever its parent ignores
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGCHLD, signal.SIGALRM, signal.SIGTSTP):
        # ignored since nohup: the ranks are to outlive the terminal too
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    # an interrupt in the middle of an import would show its frames: it waits for `Context.let_interrupts_in`
    signal.pthread_sigmask(signal.SIG_SETMASK, {signal.SIGINT})


def _redirect(rank_spec: RankSpec, descriptors: Descriptors) -> None:
    _move(os.open(os.devnull, os.O_RDONLY), 0)
    for path, given, target in ((rank_spec.stdout, descriptors.stdout, 1), (rank_spec.stderr, descriptors.stderr, 2)):
        if path:
            _move(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600), target)
        elif given >= 0:
            _move(given, target)
    # whatever the parent had put there (a kernel's streams go to its frontend) belongs to the parent
    sys.stdin = open(0, closefd=False)
    sys.stdout = open(1, "w", errors="backslashreplace", closefd=False)
    sys.stderr = open(2, "w", errors="backslashreplace", closefd=False)
    for name in ("stdin", "stdout", "stderr"):
        setattr(sys, f"__{name}__", getattr(sys, name))


def _move(source: int, target: int) -> None:
    os.dup2(source, target)
    os.close(source)


def _line_buffered() -> None:
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    line_buffered = 1  # _IOLBF of glibc and musl
    _libc.setvbuf(ctypes.c_void_p.in_dll(_libc, "stdout"), None, line_buffered, ctypes.c_size_t(0))
