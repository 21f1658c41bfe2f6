"""Exceptions and tracebacks on their way through a pickle."""

from __future__ import annotations

import builtins
from types import TracebackType
from typing import Any

from tblib import pickling_support

__all__ = ["ExceptionStandIn", "reduce_exception", "reduce_traceback", "text_of", "why"]

# Frames that are kept at each end of a traceback: a RecursionError has a thousand of them, and their pickle nests.
_FRAMES_KEPT = 60


class ExceptionStandIn(Exception):
    """Stands for an exception that could not be sent.

    Parameters
    ----------
    type_name : str
        Name of the original type.
    text : str
        ``str()`` of the original.
    why : str
        Why the original could not be sent.
    """

    def __init__(self, type_name: str, text: str, why: str) -> None:
        super().__init__(type_name, text, why)
        self.type_name = type_name
        self.text = text
        self.why = why

    def __str__(self) -> str:
        return f"{self.type_name}: {self.text} (the exception object itself could not be sent: {self.why})"


# Exceptions of Python itself: their constructors take `args`, and some keep parts of them in places of their own
# (SystemExit.code, StopIteration.value), so they are rebuilt by calling them. tblib knows two of them.
_BUILTIN_INITS = tuple(
    {kind.__init__ for kind in vars(builtins).values() if isinstance(kind, type) and issubclass(kind, BaseException)}
)


def reduce_exception(error: BaseException) -> Any:
    """Return how to rebuild an exception with its traceback, cause, context and notes; see `object.__reduce__`."""
    inits = _BUILTIN_INITS
    if isinstance(getattr(error, "exceptions", None), tuple):
        # a group, for Python 3.10 one of the backport: rebuilt by its constructor too
        inits = (*inits, type(error).__init__)
    reduced = pickling_support.pickle_exception(error, builtin_inits=inits)
    if isinstance(error, (AttributeError, NameError)) and error.name is not None:
        # left out by Python 3.11
        function, args, *state = reduced
        return function, args, {**((state and state[0]) or {}), "name": error.name}
    return reduced


def reduce_traceback(tb: TracebackType) -> Any:
    """Return how to rebuild a traceback: file names, functions and lines, without variables."""
    steps: list[tuple[str, str, str, int, int]] = []
    step: TracebackType | None = tb
    while step is not None:
        code = step.tb_frame.f_code
        module = str(step.tb_frame.f_globals.get("__name__", ""))
        steps.append((code.co_filename, code.co_name, module, code.co_firstlineno, step.tb_lineno))
        step = step.tb_next
    if len(steps) > 2 * _FRAMES_KEPT:
        steps[_FRAMES_KEPT:-_FRAMES_KEPT] = []
    return _traceback_from, (steps,)


def _traceback_from(steps: list[tuple[str, str, str, int, int]]) -> TracebackType | None:
    # tblib could rebuild these too, but lets the code of each frame begin at the line that raised, and IPython counts
    # the lines that it shows of a cell from where the frame's code begins
    rebuilt: TracebackType | None = None
    for filename, name, module, first_line, line in reversed(steps):
        code = compile("\n" * (line - first_line) + "raise StopIteration", filename, "exec")
        code = code.replace(co_name=name, co_firstlineno=first_line)
        try:
            exec(code, {"__name__": module, "__file__": filename, "__builtins__": builtins})
        except StopIteration as stop:
            assert stop.__traceback__ is not None
            made = stop.__traceback__.tb_next
            assert made is not None
            rebuilt = TracebackType(rebuilt, made.tb_frame, made.tb_lasti, line)
    return rebuilt


def text_of(error: BaseException) -> str:
    """Return ``str(error)``, or a remark if that fails: the exception may be of anybody's making."""
    try:
        # of a text that is of a derived class, the plain one
        return str.__str__(str(error))
    except BaseException as broken:  # SystemExit too, which would take the place of what it belongs to
        try:
            return f"<its __str__ failed: {broken!r}>"
        except BaseException:  # and that may be of the same making
            return f"<its __str__ failed: {type(broken).__name__}>"


def why(error: BaseException) -> str:
    """Return type and text of an exception."""
    return f"{type(error).__name__}: {text_of(error)}"
