"""The first steps of a rank's process, before any code of the user's: guards, log files, signals, surroundings.

Whatever the start method, a rank is described by a `RankSpec` and ends here: `main` in a fresh interpreter,
`run_forked` in a forked one. Both call the entry point that the gang was given, ``"module:function"``, with a
`Context`, and turn what it returns into the exit code.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import os
import signal
import socket
import sys
import threading
import traceback
import weakref
from collections.abc import Callable
from typing import Any, NoReturn

from nblaunch.payload import Parts, Stored
from nblaunch.processes import _linux
from nblaunch.processes.child.channel import Channel
from nblaunch.processes.child.cleaners import set_apart
from nblaunch.processes.child.context import Context
from nblaunch.processes.child.debuggers import past_debuggers
from nblaunch.processes.child.leaving import exit_code, flush, leave
from nblaunch.processes.child.log_files import become_line_buffered, open_streams
from nblaunch.processes.child.rank_spec import Descriptors, RankSpec
from nblaunch.stacks.dump import answer_with_stacks

__all__ = [
    "become_rank",
    "configure_process",
    "forget_ahead",
    "fork",
    "leave_parent",
    "main",
    "run_forked",
    "warm_up",
]


def main(described: dict[str, Any]) -> NoReturn:
    """Run a rank in a fresh interpreter and leave it."""
    rank_spec = RankSpec(**described["rank_spec"])
    descriptors = Descriptors.from_json(described["descriptors"])
    _linux.die_with_parent(descriptors.guard, described["parent"])
    _linux.prefer_for_oom_kill()
    # before sys.path has the user's folders: a random.py beside the notebook must not replace the standard one
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
    """Fork with all signals blocked; in the child, `run_forked` unblocks them when it has set its own handlers.

    An earlier signal would run a handler of the parent's in the rank, or be ignored as in the parent.
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
    """Lead a session of its own, and drop the parent's exit functions, as processes of `multiprocessing` do."""
    os.setsid()
    atexit._clear()
    if not _without_finalizers:
        _forget_finalizers()
    # the rank's own have to register with atexit once more
    weakref.finalize._registered_with_atexit = False  # type: ignore[attr-defined]
    # With start method fork, this is a copy of the supervisor's thread, which is a daemon. The rank's threads would
    # inherit that, and would not be waited for.
    main_thread = threading.main_thread()
    main_thread.name = "MainThread"
    main_thread._daemonic = False  # type: ignore[attr-defined]
    if "multiprocessing.util" in sys.modules:
        from multiprocessing import process, util

        process._children.clear()  # type: ignore[attr-defined]
        util._finalizer_registry.clear()  # type: ignore[attr-defined]
        util._run_after_forkers()  # type: ignore[attr-defined]
        # registered again for the queues and pools that the rank itself will use
        atexit.register(util._exit_function)  # type: ignore[attr-defined]
    # The objects so far are the parent's. The rank must not write out its files, and going through all objects would
    # copy all their pages.
    gc.freeze()


_without_finalizers = False


def forget_ahead() -> None:
    """Drop now, in a process that only forks, the finalizers that each forked process would have to drop.

    Each change in a forked process costs a copy of a page: torch alone has a hundred finalizers, far apart.
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
    configured: Callable[[], object] = lambda: None,
) -> NoReturn:
    """Run a rank in a process that has left its parent; never returns.

    Parameters
    ----------
    configured : callable
        Called before the rank's own code.
    """
    code = 1
    try:
        _linux.die_with_parent(descriptors.guard, parent)
        context = configure_process(rank_spec, descriptors, inherited)
        configured()
        code = _call(context)
    except BaseException:
        traceback.print_exc()
    leave(code)


def configure_process(rank_spec: RankSpec, descriptors: Descriptors, inherited: object = None) -> Context:
    """Take the streams, directory, environment, signals and path that a rank is to have."""
    open_streams(rank_spec.stdout, rank_spec.stderr, (descriptors.stdout, descriptors.stderr))
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
    become_line_buffered()
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
        # this is a child that the rank's code has forked, which must not go on as the rank
        flush()
        os._exit(code & 0xFF)
    context.channel.close()
    return code


def _default_signals() -> None:
    # a forked rank has inherited handlers, and a spawned one ignored signals
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGCHLD, signal.SIGALRM, signal.SIGTSTP):
        # if nohup has SIGHUP ignored, the ranks outlive the terminal too
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    # an interrupt stays pending until `Context.let_interrupts_in`, because during imports it could not be reported
    signal.pthread_sigmask(signal.SIG_SETMASK, {signal.SIGINT})
