"""Tracebacks of ranks, rebuilt from file, function and line; and tracebacks without the frames of nblaunch.

::

    a rank's frames ─► (file, function, module, first line, line) ─► traceback_from ─► a traceback of this process
                                                                          ▲
    %debug, %pdb on ─► frames of the user's, none of this package ─── leave_users_frames
"""

from __future__ import annotations

import builtins
import linecache
import sys
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Any

__all__ = ["leave_users_frames", "step_of", "traceback_from"]

Step = tuple[str, str, str, int, int]
"""A frame: file, function, module, first line of the function, line at which the frame was."""

_MAGIC = "nblaunch.magic.multiproc"


class _NoVariables(dict[str, Any]):
    """The variables of a frame of a rank, which are not here: reading one raises a NameError that says why."""

    def __init__(self, why: str) -> None:
        super().__init__()
        self._why = why

    def __missing__(self, name: str) -> Any:
        if name.startswith("__") or hasattr(builtins, name):
            raise KeyError(name)
        raise NameError(f"{name} is not here: {self._why}")


def step_of(tb: TracebackType) -> Step:
    """Return the description of a frame, for `traceback_from`."""
    code = tb.tb_frame.f_code
    module = str(tb.tb_frame.f_globals.get("__name__", ""))
    return code.co_filename, code.co_name, module, code.co_firstlineno, tb.tb_lineno


def traceback_from(
    steps: Sequence[Step], after: TracebackType | None = None, no_variables: str = ""
) -> TracebackType | None:
    """Make a traceback.

    Parameters
    ----------
    steps : sequence of tuple
        Its frames, the outermost first.
    after : traceback, optional
        A traceback to continue with after the innermost.
    no_variables : str
        Why the frames have no variables, for a user who reads one in a debugger.
    """
    # The code of each frame begins at the first line of its function: IPython counts the lines of a cell from there.
    made = after
    for filename, name, module, first_line, line in reversed(steps):
        code = compile("\n" * (line - first_line) + "raise StopIteration", filename, "exec")
        code = code.replace(co_name=name, co_firstlineno=first_line)
        namespace = {"__name__": module, "__file__": filename, "__builtins__": builtins}
        try:
            exec(code, namespace, _NoVariables(no_variables) if no_variables else namespace)
        except StopIteration as stop:
            assert stop.__traceback__ is not None
            raised = stop.__traceback__.tb_next
            assert raised is not None
            made = TracebackType(made, raised.tb_frame, raised.tb_lasti, line)
    return made


def leave_users_frames(
    error: BaseException, sentence: str, ranks: TracebackType | None = None, no_variables: str = ""
) -> None:
    """Remove all frames but the user's from an exception that IPython shows, so that ``%debug`` stops in user code.

    If no frame is left, ``%debug`` shows a single line that says why. This has to be called when IPython shows the
    exception, because frames are added until then.

    Parameters
    ----------
    error : BaseException
        An exception that nblaunch has raised.
    sentence : str
        The line to show if no frame is left.
    ranks : traceback, optional
        The traceback of a rank, which follows the user's frames.
    no_variables : str
        Why frames of a rank have no variables.
    """
    steps = list(_walk(BaseException.__dict__["__traceback__"].__get__(error)))
    modules = [str(step.tb_frame.f_globals.get("__name__", "")) for step in steps]
    ours = next((place for place, module in enumerate(modules) if module.startswith("nblaunch.")), None)
    if ours is None:
        return  # no frame is of nblaunch, or not any more
    # Before a magic's frame comes the code that IPython has made of the cell, which has the cell's text as a string.
    users = [] if _MAGIC in modules else steps[:ours]
    made = traceback_from([step_of(step) for step in _walk(ranks)], None, no_variables)
    if made is None and not any(_is_users(step) for step in users):
        made = _line_that_says(sentence)
    for step in reversed([step for step in users if _is_users(step)]):
        made = TracebackType(made, step.tb_frame, step.tb_lasti, step.tb_lineno)
    BaseException.with_traceback(error, made)
    if getattr(sys, "last_value", None) is error:
        sys.last_traceback = made


def _walk(tb: TracebackType | None) -> Iterator[TracebackType]:
    while tb is not None:
        yield tb
        tb = tb.tb_next


def _is_users(tb: TracebackType) -> bool:
    module = str(tb.tb_frame.f_globals.get("__name__", ""))
    return module.partition(".")[0] not in ("IPython", "ipykernel")


def _line_that_says(sentence: str) -> TracebackType | None:
    filename = "<no line of the cell>"
    text = f"# {' '.join(sentence.split())}\n"
    # without a modification time, so that linecache does not look for the file
    linecache.cache[filename] = (len(text), None, [text], filename)
    return traceback_from([(filename, "<module>", "__main__", 1, 1)], None, "there is no frame of a rank here")
