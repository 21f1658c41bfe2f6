"""Frames of code that has run elsewhere, made from file, function and line: for tracebacks, and for debuggers here.

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
"""File, function, module, line at which the function begins, line at which the frame was."""

_MAGIC = "nblaunch.magic.multiproc"


class _Gone(dict[str, Any]):
    """The variables of a frame that has run elsewhere: whoever asks for one is told where to find it."""

    def __init__(self, why: str) -> None:
        super().__init__()
        self._why = why

    def __missing__(self, name: str) -> Any:
        if name.startswith("__") or hasattr(builtins, name):
            raise KeyError(name)
        raise NameError(f"{name} is not here: {self._why}")


def step_of(tb: TracebackType) -> Step:
    """Return what a frame is made again from."""
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
        What follows the innermost.
    no_variables : str
        Why the frames have no variables, for whoever looks for one with a debugger.
    """
    # the code of each frame begins where the function began: from there IPython counts the lines of a cell
    made = after
    for filename, name, module, first_line, line in reversed(steps):
        code = compile("\n" * (line - first_line) + "raise StopIteration", filename, "exec")
        code = code.replace(co_name=name, co_firstlineno=first_line)
        namespace = {"__name__": module, "__file__": filename, "__builtins__": builtins}
        try:
            exec(code, namespace, _Gone(no_variables) if no_variables else namespace)
        except StopIteration as stop:
            assert stop.__traceback__ is not None
            raised = stop.__traceback__.tb_next
            assert raised is not None
            made = TracebackType(made, raised.tb_frame, raised.tb_lasti, line)
    return made


def leave_users_frames(
    error: BaseException, sentence: str, ranks: TracebackType | None = None, no_variables: str = ""
) -> None:
    """Have debuggers find the user's own lines in an exception that IPython shows, and none of this package.

    Where nothing of the user's is left, they find a single line that says why. To be called when IPython shows the
    exception: until then, frames are added.

    Parameters
    ----------
    error : BaseException
        An exception of this package's.
    sentence : str
        That line.
    ranks : traceback, optional
        The lines of a rank, which come last.
    no_variables : str
        Why variables of a rank are not there.
    """
    steps = list(_walk(BaseException.__dict__["__traceback__"].__get__(error)))
    modules = [str(step.tb_frame.f_globals.get("__name__", "")) for step in steps]
    ours = next((place for place, module in enumerate(modules) if module.startswith("nblaunch.")), None)
    if ours is None:
        return  # that is done, or it was raised elsewhere
    # of a magic, the frame before is what IPython has made of the cell: its text stands in a string there
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
    # without a time, so that nobody looks for the file
    linecache.cache[filename] = (len(text), None, [text], filename)
    return traceback_from([(filename, "<module>", "__main__", 1, 1)], None, "there is no frame of a rank here")
