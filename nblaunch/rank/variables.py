"""The local variables of the frames that an exception came through, as text, for who asks for them."""

from __future__ import annotations

import reprlib
from collections.abc import Mapping
from types import CodeType, FunctionType, ModuleType, TracebackType
from typing import Any

from nblaunch.events import Frame, Stack
from nblaunch.stacks.folding import frame_text, label_cells

__all__ = ["local_variables"]

# Frames, the innermost, and variables of each.
_MOST_FRAMES = 12
_MOST_VARIABLES = 40
_REPR = reprlib.Repr()
_REPR.maxstring = _REPR.maxother = 200
_REPR.maxlong = 60
# What a person knows already, because the source says it.
_KNOWN = (ModuleType, FunctionType, type)


def local_variables(tb: TracebackType | None, cells: Mapping[str, int]) -> str:
    """Return the variables of each frame of a traceback, the innermost first; of a cell those that it names.

    Parameters
    ----------
    tb : traceback or None
        As it is shown.
    cells : mapping of str to int
        Numbers of the notebook's cells by file name.
    """
    steps = []
    while tb is not None:
        steps.append(tb)
        tb = tb.tb_next
    lines = []
    for step in steps[: -_MOST_FRAMES - 1 : -1]:
        code = step.tb_frame.f_code
        frame = Frame(code.co_filename, step.tb_lineno, code.co_name)
        named = label_cells({0: Stack(((frame,),), "")}, cells)[0].threads[0][0]
        variables = _variables(code, step.tb_frame.f_locals)
        if variables:
            lines.append(f"  {frame_text(named)}")
            lines += [f"    {name} = {_text(value)}" for name, value in variables[:_MOST_VARIABLES]]
            if variables[_MOST_VARIABLES:]:
                lines.append(f"    … and {len(variables) - _MOST_VARIABLES} more")
    return "\n".join(["Variables, the innermost frame first:", *lines]) if lines else ""


def _variables(code: CodeType, found: Mapping[str, Any]) -> list[tuple[str, Any]]:
    # at the level of a module there are all that the notebook has sent, and IPython's own
    names = [name for name in dict.fromkeys(code.co_names) if name in found] if code.co_name == "<module>" else found
    own = [name for name in names if not name.startswith("__")]
    # by its type: what an object says of its own class may be anything, or raise
    return [(name, found[name]) for name in own if not issubclass(type(found[name]), _KNOWN)]


def _text(value: object) -> str:
    try:
        return " ".join(_REPR.repr(value).splitlines())
    except BaseException as error:  # a repr is anybody's code
        return f"<a {type(value).__name__} whose repr failed: {type(error).__name__}>"
