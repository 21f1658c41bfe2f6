"""`input()`, `getpass()`, `sys.stdin.readline()` and debuggers in a rank: they ask in the notebook.

::

    input("name? ") ─► Asker ─► Question: kind, prompt, text … ─► gang ─► notebook's input box
                         ◄────── {"line": …} or {"end": true} ◄───────────┘

Descriptor 0 of a rank is empty: C code and child processes that read it find the end of the file, as in a batch job.
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
    """Have Python code of this process that asks for input ask in the notebook from now on."""
    become_asker(asker)
    builtins.input = _input
    getpass.getpass = _getpass
    sys.breakpointhook = _breakpointhook
    for name in ("pdb", "IPython.core.debugger"):
        when_imported(name, _replace_set_trace)
    # if nobody can answer, sys.stdin stays empty, as in a batch job
    if not asker.no_input_reason:
        sys.stdin = _Stdin(open(0, "rb", closefd=False), encoding="utf-8")


def end_tracebacks_at_questions(error: BaseException) -> None:
    """Cut tracebacks where the user's code calls `input()` and the like, in an exception, its causes and contexts.

    The frames below are those of this package, which tell the reader nothing.
    """
    seen: set[int] = set()
    remaining: list[BaseException | None] = [error]
    while remaining:
        one = remaining.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        remaining += [one.__cause__, one.__context__]
        asked_at, step = None, one.__traceback__
        while step is not None and step.tb_next is not None:
            if asked_at is None and step.tb_next.tb_frame.f_code.co_filename in _REPLACEMENTS:
                asked_at = step
            step = step.tb_next
        # unless it ends in the user's code again: the __str__ of a prompt may raise
        if asked_at is not None and step is not None and step.tb_frame.f_code.co_filename.startswith(PACKAGE):
            asked_at.tb_next = None


# files with the functions that the user's code calls instead of Python's
_REPLACEMENTS = (__file__, os.path.join(os.path.dirname(__file__), "write_order.py"))


def _input(prompt: object = "", /) -> str:
    """Ask for a line in the notebook, with the number of the rank before the prompt."""
    return _line("input()", QuestionKind.LINE, prompt)


def _getpass(prompt: str = "Password: ", stream: object = None) -> str:
    """Ask for a line in the notebook, which does not show what is typed."""
    return _line("getpass()", QuestionKind.PASSWORD, prompt)


class _Stdin(io.TextIOWrapper):
    """Standard input, each line of which is asked for in the notebook."""

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
    # so that earlier output appears before the question
    sys.stdout.flush()
    sys.stderr.flush()
    return asker.ask(kind, f"rank {asker.rank}: {prompt}")


def _breakpointhook(*args: Any, **options: Any) -> Any:
    """Open a debugger in the notebook, unless PYTHONBREAKPOINT says what ``breakpoint()`` is to do."""
    if os.environ.get("PYTHONBREAKPOINT"):
        return sys.__breakpointhook__(*args, **options)
    # imported only now, because it needs IPython, which ranks of a plain program have not imported
    from nblaunch.rank.debugging import open_at

    open_at(sys._getframe(1), options.get("header"))
    return None


def _replace_set_trace(module: Any) -> None:
    module.set_trace = _set_trace


def _set_trace(frame: FrameType | None = None, header: str | None = None, **_: object) -> None:
    """Open a debugger in the notebook, at this frame or the caller's."""
    from nblaunch.rank.debugging import open_at

    open_at(frame or sys._getframe(1), header)
