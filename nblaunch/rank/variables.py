"""The local variables of the frames of a traceback as text, for runs with ``--locals``."""

from __future__ import annotations

import reprlib
from collections.abc import Mapping
from types import CodeType, FunctionType, ModuleType, TracebackType
from typing import Any

from nblaunch.events import Frame, Stack
from nblaunch.stacks.folding import frame_text, label_cells

__all__ = ["local_variables"]

# The innermost frames are shown, and the first variables of each.
_MAX_FRAMES = 12
_MAX_VARIABLES = 40
_REPR = reprlib.Repr()
_REPR.maxstring = _REPR.maxother = 200
_REPR.maxlong = 60
# Types of variables that are left out, because the source says what they are.
_LEFT_OUT = (ModuleType, FunctionType, type)


def local_variables(tb: TracebackType | None, cells: Mapping[str, int]) -> str:
    """Return the variables of each frame of a traceback as text, the innermost frame first.

    Parameters
    ----------
    tb : traceback or None
        The traceback that is shown.
    cells : mapping of str to int
        Numbers of the notebook's cells by file name.
    """
    steps = []
    while tb is not None:
        steps.append(tb)
        tb = tb.tb_next
    lines = []
    for step in steps[: -_MAX_FRAMES - 1 : -1]:
        code = step.tb_frame.f_code
        frame = Frame(code.co_filename, step.tb_lineno, code.co_name)
        named = label_cells({0: Stack(((frame,),), "")}, cells)[0].threads[0][0]
        variables = _variables(code, step.tb_frame.f_locals)
        if variables:
            lines.append(f"  {frame_text(named)}")
            lines += [f"    {name} = {_text(value)}" for name, value in variables[:_MAX_VARIABLES]]
            if variables[_MAX_VARIABLES:]:
                lines.append(f"    … and {len(variables) - _MAX_VARIABLES} more")
    return "\n".join(["Variables, the innermost frame first:", *lines]) if lines else ""


def _variables(code: CodeType, found: Mapping[str, Any]) -> list[tuple[str, Any]]:
    # Of a cell, only the variables that its code names: its globals are all that was sent, and IPython's own.
    names = [name for name in dict.fromkeys(code.co_names) if name in found] if code.co_name == "<module>" else found
    own = [name for name in names if not name.startswith("__")]
    # not isinstance: an object may define a `__class__` that raises
    return [(name, found[name]) for name in own if not issubclass(type(found[name]), _LEFT_OUT)]


def _text(value: object) -> str:
    try:
        return " ".join(_REPR.repr(value).splitlines())
    except BaseException as error:  # a user's repr may raise anything
        return f"<a {type(value).__name__} whose repr failed: {type(error).__name__}>"
