"""The globals of functions that are sent by value, and whose globals are not those of the notebook.

A decorator of a library may return a function with the globals of its own module, as ``torch.compile`` does. Both sides
can import the module, so such globals are sent by reference.

``%run helpers.py`` gives functions globals of their own, and copies the functions into the notebook. So do `exec`,
doctest, and profilers that run a script. In a rank, such globals get the variables that every rank has. For example,
``rank`` is the rank's number there, also if the script begins with ``rank = 0``. A notice tells the user.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterable
from types import CellType, FunctionType
from typing import Any

from cloudpickle import cloudpickle as _tracker

from nblaunch.payload.modules import module_of_globals
from nblaunch.payload.names_in_text import names_in_constants
from nblaunch.payload.names_looked_up import names_looked_up_by
from nblaunch.payload.receiving import provided_here
from nblaunch.wording import RANK_NAMES, in_a_row

__all__ = ["HiddenNames", "ModuleGlobals", "globals_of_module", "names_of_the_rank", "reduce_cell"]


def globals_of_module(function: FunctionType) -> str | None:
    """Return the name of the importable module whose variables are a function's globals; None if there is none."""
    module = module_of_globals(function.__globals__)
    if module is None or getattr(module, "__spec__", None) is None:
        return None
    name: str = function.__globals__["__name__"]
    return name


class ModuleGlobals:
    """Is pickled as a reference to the variables of the module with this name."""

    def __init__(self, module: str) -> None:
        self._module = module

    def __reduce__(self) -> Any:
        return _variables, (self._module,)


def names_of_the_rank(function: FunctionType) -> dict[str, Any]:
    """Return stand-ins for the variables of the rank that a function uses.

    A global of the function itself stays if it is no number: ``rank`` may be a function, for example.
    """
    code, space = function.__code__, function.__globals__
    used = {*_tracker._extract_code_globals(code), *names_in_constants(code), *names_looked_up_by(code)}
    return {
        name: _Provided(name)
        for name in RANK_NAMES
        if name in used and (name not in space or _is_a_default(space[name]))
    }


def _is_a_default(value: object) -> bool:
    """Tell whether a script may have set this value for a run without ranks: 0, -1, None, or "0" from `os.environ`."""
    return value is None or type(value) is int or (type(value) is str and value.isdigit())


# More functions than these are counted in a notice, not named.
_MAX_NAMED = 3


class HiddenNames:
    """Variables of scripts that are hidden by those of the rank, and the functions that use them."""

    def __init__(self) -> None:
        self._found: dict[int, tuple[dict[str, Any], list[FunctionType], set[str]]] = {}

    def note(self, function: FunctionType, names: Iterable[str]) -> None:
        """Take note of a function that is given these variables of the rank."""
        space = function.__globals__
        hidden = {name for name in names if name in space}
        if hidden:
            _, functions, known = self._found.setdefault(id(space), (space, [], set()))
            functions.append(function)
            known |= hidden

    def notices(self) -> list[str]:
        """Return a sentence for each script."""
        return [_notice(*found) for found in self._found.values()]


def _notice(space: dict[str, Any], functions: list[FunctionType], hidden: set[str]) -> str:
    called = [f"{function.__qualname__}()" for function in functions[:_MAX_NAMED]]
    left = len(functions) - len(called)
    if left:
        called.append(f"{left} more function{'s' if left > 1 else ''}")
    file = os.path.basename(functions[0].__code__.co_filename)
    script = "the script that it came from" if file.startswith("<") else file
    names = [name for name in RANK_NAMES if name in hidden]
    one = len(names) == 1
    return (
        f"In the ranks, {in_a_row(called)} find{'s' if len(functions) == 1 else ''} the rank's own "
        f"{in_a_row(map(repr, names))}, and not the {'one' if one else 'ones'} that {script} sets "
        f"({in_a_row(_short(space[name]) for name in names)}). Give {'it another name' if one else 'them other names'} "
        f"there if {'it means' if one else 'they mean'} something else."
    )


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 30 else f"{text[:30]}…"


class _Provided:
    """Is pickled as a reference to what the receiver has under this name."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __reduce__(self) -> Any:
        return provided_here, (self._name,)


def reduce_cell(cell: CellType) -> Any:
    """Return how to rebuild a closure cell, so that functions that share it still do in the receiver."""
    try:
        return _empty_cell, (), (cell.cell_contents,), None, None, _fill_cell
    except ValueError:
        return _empty_cell, ()


def _empty_cell() -> CellType:
    return CellType()


def _fill_cell(cell: CellType, state: tuple[Any]) -> None:
    cell.cell_contents = state[0]


def _variables(module: str) -> dict[str, Any]:
    return vars(importlib.import_module(module))
