"""The debugger of a rank, operated from the notebook.

::

    breakpoint() ───────────┐
    --pdb: the cell raised ─┴─► RankDebugger (IPython's, without a terminal) ─► Asker ─► notebook's input box

What the debugger writes is kept, and sent with the question for the next command. A *session* lasts from the first
command to the one that lets the rank continue or end; its number tells the notebook which questions belong together.
"""

from __future__ import annotations

import ast
import bdb
import contextlib
import itertools
import linecache
import os
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType, TracebackType
from typing import Any, TextIO, cast

from IPython.core import debugger as _ipython

from nblaunch.events import QuestionKind
from nblaunch.payload import traceback_of
from nblaunch.rank.asker import PACKAGE, Asker, current_asker

__all__ = ["DebuggerQuit", "debug_failure", "make_readable", "open_at", "stop_tracing"]

_SESSION_NUMBERS = itertools.count(1)
# The debugger of each thread, as its attribute `debugger`.
_DEBUGGERS = threading.local()


class DebuggerQuit(BaseException):
    """The debugger of a rank was left with ``q``. ``except Exception`` does not catch this."""


class _Output:
    """Keeps what the debugger writes."""

    def __init__(self) -> None:
        self._parts: list[str] = []

    def write(self, text: str) -> int:
        self._parts.append(text)
        return len(text)

    def flush(self) -> None:
        """Do nothing: the text is sent with the next question."""

    def isatty(self) -> bool:
        return False

    def take(self) -> str:
        parts, self._parts = self._parts, []
        return "".join(parts)


class RankDebugger(_ipython.Pdb):
    """IPython's debugger, which asks for each command in the notebook."""

    def __init__(self, completekey: Any = None, stdin: Any = None, stdout: Any = None, **options: Any) -> None:
        # pdb's command `debug` makes another debugger of this class with these arguments
        self._output = stdout if isinstance(stdout, _Output) else _Output()
        self.session: int = 0
        self.timeout: float | None = None
        self.has_quit: bool = False
        self._at_failure = False
        # the outermost frame of the cell or function that it was opened in
        self._bottom: FrameType | None = None
        self._interrupted = False
        # `nosigint`, because a rank handles SIGINT itself. By name, because IPython 7 has another first argument.
        super().__init__(completekey=completekey, stdin=self, stdout=self._output, nosigint=True, **options)

    @property
    def asker(self) -> Asker:
        """The asker of this rank."""
        return current_asker()

    # ---- its input

    def readline(self) -> str:
        """Ask for a command."""
        text = self._output.take()
        prompt = self.prompt if text.endswith(self.prompt) else ""
        text = text[: len(text) - len(prompt)]
        where = _place(self.curframe) if self.curframe is not None else ""
        try:
            prompt = f"rank {self.asker.rank} {prompt or '... '}"
            line = self.asker.ask(QuestionKind.COMMAND, prompt, text, where, self.session, self.timeout)
        except EOFError:
            return ""
        return f"{line}\n"

    # ---- sessions

    def open_at(self, frame: FrameType, header: str | None = None) -> None:
        """Stop at the next line of this frame."""
        if header is not None:
            self._output.write(f"{header}\n")
        self._bottom = _outermost(frame)
        self.has_quit = False
        self.set_trace(frame)

    def debug(self, failure: BaseException | TracebackType | None, session: int, timeout: float) -> None:
        """Debug a failure; return when the user leaves the debugger.

        Raises
        ------
        TimeoutError
            If there was no command within `timeout` seconds.
        KeyboardInterrupt
            If the rank is interrupted.
        """
        self._at_failure, self.session, self.timeout = True, session, timeout
        try:
            self.reset()
            self.interaction(None, failure)
        finally:
            self._at_failure, self.session, self.timeout = False, 0, None

    def leftover(self) -> str:
        """Return what the debugger has written since the last command."""
        return self._output.take()

    def leave(self) -> None:
        """Tell the notebook that the session is over, if there is one."""
        if self.session and not self._at_failure:
            session, self.session = self.session, 0
            with contextlib.suppress(OSError):
                self.asker.end_session(session, self.leftover(), quits=self.has_quit)

    # ---- methods of pdb and bdb that behave differently here

    def interaction(self, frame: FrameType | None, tb_or_exc: Any) -> None:
        """Ask for commands at a frame."""
        if not self.session:
            self.session = next(_SESSION_NUMBERS)
        self._interrupted = False
        super().interaction(frame, tb_or_exc)
        if self._interrupted:
            # the interrupt is to end the rank, not only the command
            self.set_continue()
            raise KeyboardInterrupt

    def _cmdloop(self) -> None:
        try:
            self.allow_kbdint: bool = True
            self.cmdloop()
        except KeyboardInterrupt:
            self._interrupted = True
        finally:
            self.allow_kbdint = False

    def onecmd(self, line: str) -> bool:
        """Carry out a command; what it prints to `sys.stdout` is shown with what the debugger writes."""
        with contextlib.redirect_stdout(cast(TextIO, self._output)):
            return bool(super().onecmd(line))

    def do_run(self, arg: str) -> None:
        """Refuse to run or restart: a rank cannot be started again from its debugger.

        Leave the debugger and run the cell again; with --max-restarts N all ranks are started again after a failure.
        """
        self.error(
            "a rank cannot be started again from its debugger: leave it with c or q and run the cell again, or have "
            "all ranks started again after a failure with max_restarts (--max-restarts)"
        )

    do_restart = do_run

    def do_interact(self, arg: str) -> None:
        """Refuse: the way back is Ctrl-D, the end of the input, which the notebook's input box does not have.

        Type Python at the prompt of the debugger, after ! if it begins like a command.
        """
        self.error("interact does not work here: type Python at this prompt, after ! if it looks like a command")

    def default(self, line: str) -> None:
        """Run a line of Python; ``exit()`` in it is an error, and ends neither the debugger nor the rank."""
        try:
            super().default(line)
        except SystemExit as end:
            self.error(f"SystemExit: {end} (the rank goes on with c, and the run is ended with q)")

    def get_stack(self, *args: Any, **options: Any) -> tuple[list[tuple[FrameType, int]], int]:
        """Return the frames, without those of IPython and nblaunch that run the user's code."""
        stack, position = super().get_stack(*args, **options)
        first = next((i + 1 for i in range(len(stack) - 1, -1, -1) if _launches(stack[i][0])), 0)
        if first > position:
            return stack, position
        return stack[first:], position - first

    def set_continue(self) -> None:
        """Leave the debugger and let the rank continue."""
        super().set_continue()
        self.leave()

    def set_quit(self) -> None:
        """Leave the debugger and end the rank."""
        super().set_quit()
        self.has_quit = True
        self.leave()
        main = threading.main_thread()
        if not self._at_failure and threading.current_thread() is not main and main.ident is not None:
            # in another thread, quitting ends that thread only, so the main thread is interrupted
            signal.pthread_kill(main.ident, signal.SIGINT)

    def trace_dispatch(self, frame: FrameType, event: str, arg: Any) -> Any:
        """Trace as bdb does, but quit by an exception that ``except Exception`` in the user's code does not catch."""
        try:
            return super().trace_dispatch(frame, event, arg)
        except bdb.BdbQuit:
            raise DebuggerQuit("the debugger of this rank was left with q, which ends the run") from None

    def stop_here(self, frame: FrameType) -> bool:
        """Tell whether to stop at a frame when stepping, not at those of IPython between two statements of a cell."""
        return self._is_users(frame) and bool(super().stop_here(frame))

    def _is_users(self, frame: FrameType) -> bool:
        if self._bottom is None:
            return True
        return not _launches(frame) and _outermost(frame).f_code.co_filename == self._bottom.f_code.co_filename

    def user_exception(self, frame: FrameType, exc_info: Any) -> None:
        """Stop where an exception passes, but not at those that an event loop raises at each ``await``."""
        if self._is_users(frame):
            super().user_exception(frame, exc_info)

    def user_call(self, frame: FrameType, argument_list: None) -> None:
        """Stop where a function is called, but not at a statement of a cell, which has a frame of its own too."""
        if not _is_statement(frame):
            super().user_call(frame, argument_list)

    def user_return(self, frame: FrameType, return_value: Any) -> None:
        """Stop where a function returns, or the last statement of a cell ends."""
        if not _is_statement(frame) or frame.f_lineno >= _last_statement(frame):
            super().user_return(frame, return_value)


def _is_statement(frame: FrameType) -> bool:
    return frame.f_back is not None and _runs_cells(frame.f_back)


def _last_statement(frame: FrameType) -> int:
    """Return the line in which the last statement of a cell begins."""
    lines = linecache.getlines(frame.f_code.co_filename)
    try:
        return ast.parse("".join(lines)).body[-1].lineno
    except (SyntaxError, IndexError):
        return 0


def _runs_cells(frame: FrameType) -> bool:
    return frame.f_code.co_name == "run_code" and frame.f_code.co_filename.endswith("interactiveshell.py")


def _launches(frame: FrameType) -> bool:
    return frame.f_code.co_filename.startswith(PACKAGE) or _runs_cells(frame)


def _outermost(frame: FrameType) -> FrameType:
    while frame.f_back is not None and not _launches(frame.f_back):
        frame = frame.f_back
    return frame


def _place(frame: FrameType) -> str:
    """Say where a frame is, as tracebacks do."""
    name = frame.f_code.co_filename
    shell = _ipython.get_ipython()
    # private in IPython: the table behind "Cell In[5]" in its tracebacks
    number = getattr(getattr(shell, "compile", None), "_filename_map", {}).get(name)
    return f"{f'Cell In[{number}]' if number is not None else name}, line {frame.f_lineno}"


def open_at(frame: FrameType, header: str | None = None) -> None:
    """Open the debugger at a frame.

    Raises
    ------
    RuntimeError
        If nobody can operate it.
    """
    asker = current_asker()
    if not asker.belongs_here():
        raise RuntimeError(
            f"a breakpoint in a process that rank {asker.rank} has started: only the rank itself can be debugged in "
            "the notebook. Take the breakpoint out, or have the rank do the work itself, for example with num_workers=0"
        )
    if asker.no_input_reason:
        raise RuntimeError(
            f"rank {asker.rank} reached a breakpoint, but nobody can operate the debugger: {asker.no_input_reason}. "
            "Take the breakpoint out, or set PYTHONBREAKPOINT=0 (--env PYTHONBREAKPOINT=0), which makes breakpoint() "
            "do nothing"
        )
    with _without_tracing():
        debugger = getattr(_DEBUGGERS, "debugger", None)
        if debugger is None:
            debugger = _DEBUGGERS.debugger = RankDebugger()
    debugger.open_at(frame, header)


# otherwise a process that is forked while somebody steps would wait for commands
os.register_at_fork(after_in_child=lambda: sys.settrace(None))


@contextlib.contextmanager
def _without_tracing() -> Iterator[None]:
    trace = sys.gettrace()
    sys.settrace(None)
    try:
        yield
    finally:
        sys.settrace(trace)


def is_debuggable(error: BaseException) -> bool:
    """Tell whether an exception is one to debug: it has frames, and was not raised to end the rank."""
    # not isinstance: a user's exception may define a `__class__` that raises
    ends = issubclass(type(error), (DebuggerQuit, KeyboardInterrupt, SystemExit, GeneratorExit))
    return traceback_of(error) is not None and not ends


def debug_failure(error: BaseException, shown: str, asker: Asker) -> None:
    """Wait for somebody to debug an exception, before it is reported.

    Returns when the debugger was left, or when nobody has opened it within ``asker.hold`` seconds.

    Parameters
    ----------
    error : BaseException
        The exception, for which `is_debuggable` is true; its traceback begins in the user's code.
    shown : str
        Its traceback as text.
    asker : Asker
        Asks in the notebook.
    """
    last = tb = traceback_of(error)
    assert last is not None
    while last.tb_next is not None:
        last = last.tb_next
    where, session = _place(last.tb_frame), next(_SESSION_NUMBERS)
    # a command may raise anything, and the failure is reported all the same
    with contextlib.suppress(BaseException), _leaving_when_ended():
        asker.ask(QuestionKind.HELD, "", shown, where, session, asker.hold)
        debugger = RankDebugger()
        # newer IPython takes the exception itself, so that its command `exceptions` finds causes and contexts
        debugger.debug(error if hasattr(debugger, "do_exceptions") else tb, session, asker.hold)
        kind = QuestionKind.QUIT if debugger.has_quit else QuestionKind.LEFT
        asker.ask(kind, "", debugger.leftover(), where, session, asker.hold)


@contextlib.contextmanager
def _leaving_when_ended() -> Iterator[None]:
    """Have SIGTERM, which ends a rank, leave the debugger first, so that the failure is still reported."""

    def leave(*_: object) -> None:
        raise EOFError

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def make_readable(error: BaseException) -> None:
    """Cut the debugger's own frames off the traceback of an exception that was raised through it."""
    tb = error.__traceback__
    while tb is not None and tb.tb_next is not None:
        if tb.tb_next.tb_frame.f_code.co_filename in (__file__, bdb.__file__):
            tb.tb_next = None
        tb = tb.tb_next


def stop_tracing() -> None:
    """Leave the debugger of this thread, if somebody has stepped with it to the end of the cell."""
    debugger = getattr(_DEBUGGERS, "debugger", None)
    if debugger is not None:
        sys.settrace(None)
        debugger.leave()
