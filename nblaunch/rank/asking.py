"""What a rank asks, on its way to the notebook and back: `input()`, `getpass()`, `sys.stdin.readline()`, debuggers.

::

    input("name? ") ─► Asker ─► "ask" {kind, prompt, text …} ─► gang ─► notebook's input box
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

from nblaunch.payload import encodable, pack_plain, unpack_plain
from nblaunch.processes.channel import Channel, in_whole
from nblaunch.processes.child.imports import when_imported

__all__ = ["PACKAGE", "Asker", "current_asker", "end_tracebacks_at_questions", "listen_to_people"]

PACKAGE = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "")
"""The folder of nblaunch, to tell its frames from those of others."""

# Characters of a question: of what a debugger has written the end counts.
_LONGEST = 50_000


class Asker:
    """Asks in the notebook on behalf of one rank.

    Parameters
    ----------
    rank : int
        Who asks.
    channel : Channel
        The way to the notebook.
    nobody : str
        Why nobody can answer there; empty if somebody can.
    hold : float
        Seconds that the rank waits for a debugger when it has raised; 0 does not wait.
    """

    def __init__(self, rank: int, channel: Channel, nobody: str = "", hold: float = 0.0) -> None:
        self.rank = rank
        self.nobody = nobody
        self.hold = hold
        self._channel = channel
        self._owner = os.getpid()

    def belongs_here(self) -> bool:
        """Tell whether this process is the rank, and not one that it has forked."""
        return os.getpid() == self._owner

    def ask(
        self, kind: str, prompt: str, text: str = "", where: str = "", session: int = 0, timeout: float | None = None
    ) -> str:
        """Ask, and return the line that was answered; for the fields see `nblaunch.events.Asked`.

        Raises
        ------
        EOFError
            If whoever was asked has ended the input, or the rank has no notebook any more.
        TimeoutError
            If there is no answer in time.
        """
        question = {
            "kind": kind,
            "prompt": _cut(prompt),
            "text": _cut(text),
            "where": _cut(where),
            "session": session,
        }
        try:
            answer = unpack_plain(self._channel.ask(bytes(pack_plain(question)), timeout))
        except TimeoutError:
            raise
        except OSError as error:
            raise EOFError(f"rank {self.rank} cannot ask any more: {error}") from None
        line = answer.get("line")
        if not isinstance(line, str):
            raise EOFError("EOF when reading a line")
        return line

    def end_session(self, session: int, text: str, *, quits: bool) -> None:
        """Tell that a debugger was left."""
        over = pack_plain({"session": session, "text": _cut(text), "quit": quits})
        in_whole(lambda: self._channel.send("session_ended", over))


_ASKER: Asker | None = None


def current_asker() -> Asker:
    """Return the asker of this rank."""
    assert _ASKER is not None
    return _ASKER


def listen_to_people(asker: Asker) -> None:
    """Have what asks for input in this process ask in the notebook from now on."""
    global _ASKER
    _ASKER = asker
    builtins.input = _input
    getpass.getpass = _getpass
    sys.breakpointhook = _breakpointhook
    for name in ("pdb", "IPython.core.debugger"):
        when_imported(name, _take_over)
    # without anybody there it is empty, as for any program in a batch job
    if not asker.nobody:
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
    return _line("input()", "input", prompt)


def _getpass(prompt: str = "Password: ", stream: object = None) -> str:
    """Ask for a line in the notebook that is not shown."""
    return _line("getpass()", "password", prompt)


class _Stdin(io.TextIOWrapper):
    """Standard input whose lines are asked for, one by one."""

    def readline(self, size: int | None = -1, /) -> str:  # type: ignore[override]
        try:
            return f"{_line('sys.stdin.readline()', 'input', '')}\n"
        except EOFError:
            return ""


def _line(what: str, kind: str, prompt: object) -> str:
    asker = current_asker()
    if not asker.belongs_here():
        raise EOFError(
            f"{what} in a process that rank {asker.rank} has started: only the rank itself can ask in the notebook. "
            "Ask there, and hand the answer on"
        )
    if asker.nobody:
        raise EOFError(
            f"rank {asker.rank} called {what}, but nobody can answer: {asker.nobody}. Ask in an ordinary cell or in "
            "the program itself, before, and let the ranks use the variable"
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


def _cut(text: str) -> str:
    text = encodable(text)
    return text if len(text) <= _LONGEST else f"…{text[-_LONGEST:]}"
