"""What a rank asks, on its way to the notebook and back: `input()`, `getpass()`, `sys.stdin.readline()`, debuggers.

::

    input("name? ") ─► Asker ─► Question: kind, prompt, text … ─► gang ─► notebook's input box
                         ◄────── {"line": …} or {"end": true} ◄───────────┘

Descriptor 0 of a rank stays empty: whatever reads it without Python finds the end of a file, as in any batch job.
"""

from __future__ import annotations

import builtins
import getpass
import io
import os
import sys
from types import FrameType
from typing import Any

from nblaunch.events import QuestionKind
from nblaunch.processes.child.imports import when_imported
from nblaunch.rank.asker import PACKAGE, Asker, become_asker, current_asker

__all__ = ["end_tracebacks_at_questions", "listen_to_people"]


def listen_to_people(asker: Asker) -> None:
    """Have what asks for input in this process ask in the notebook from now on."""
    become_asker(asker)
    builtins.input = _input
    getpass.getpass = _getpass
    sys.breakpointhook = _breakpointhook
    for name in ("pdb", "IPython.core.debugger"):
        when_imported(name, _take_over)
    # without anybody there it is empty, as for any program in a batch job
    if not asker.no_input_reason:
        sys.stdin = _Stdin(open(0, "rb", closefd=False), encoding="utf-8")


def end_tracebacks_at_questions(error: BaseException) -> None:
    """Let the traceback of an exception, and of those that it was raised from, end where the user's code has asked.

    What lies below is this package's way to ask, which tells the reader nothing.
    """
    seen: set[int] = set()
    left: list[BaseException | None] = [error]
    while left:
        one = left.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        left += [one.__cause__, one.__context__]
        asked_at, step = None, one.__traceback__
        while step is not None and step.tb_next is not None:
            if asked_at is None and step.tb_next.tb_frame.f_code.co_filename in _OWN:
                asked_at = step
            step = step.tb_next
        # a prompt's own __str__ may have raised, which is the user's code again
        if asked_at is not None and step is not None and step.tb_frame.f_code.co_filename.startswith(PACKAGE):
            asked_at.tb_next = None


# what stands in the place of builtins that the user's code calls
_OWN = (__file__, os.path.join(os.path.dirname(__file__), "write_order.py"))


def _input(prompt: object = "", /) -> str:
    """Ask for a line in the notebook; the prompt says which rank asks."""
    return _line("input()", QuestionKind.LINE, prompt)


def _getpass(prompt: str = "Password: ", stream: object = None) -> str:
    """Ask for a line in the notebook that is not shown."""
    return _line("getpass()", QuestionKind.PASSWORD, prompt)


class _Stdin(io.TextIOWrapper):
    """Standard input whose lines are asked for, one by one."""

    def readline(self, size: int | None = -1, /) -> str:  # type: ignore[override]
        try:
            return f"{_line('sys.stdin.readline()', QuestionKind.LINE, '')}\n"
        except EOFError:
            return ""


def _line(what: str, kind: QuestionKind, prompt: object) -> str:
    asker = current_asker()
    if not asker.belongs_here():
        raise EOFError(
            f"{what} in a process that rank {asker.rank} has started: only the rank itself can ask in the notebook. "
            "Ask there, and hand the answer on"
        )
    if asker.no_input_reason:
        raise EOFError(
            f"rank {asker.rank} called {what}, but nobody can answer: {asker.no_input_reason}. Ask in an ordinary "
            "cell or in the program itself, before, and let the ranks use the variable"
        )
    # what was written before stands before the question
    sys.stdout.flush()
    sys.stderr.flush()
    return asker.ask(kind, f"rank {asker.rank}: {prompt}")


def _breakpointhook(*args: Any, **options: Any) -> Any:
    """Do what ``breakpoint()`` does: what the user has chosen by PYTHONBREAKPOINT, or open a debugger."""
    if os.environ.get("PYTHONBREAKPOINT"):
        return sys.__breakpointhook__(*args, **options)
    # imported when it is needed: ranks that run a function of a plain program have no IPython
    from nblaunch.rank.debugging import open_at

    open_at(sys._getframe(1), options.get("header"))
    return None


def _take_over(module: Any) -> None:
    module.set_trace = _set_trace


def _set_trace(frame: FrameType | None = None, header: str | None = None, **_: object) -> None:
    """Open a debugger in the notebook, at this frame or the caller's."""
    from nblaunch.rank.debugging import open_at

    open_at(frame or sys._getframe(1), header)
