"""The globals of functions that are sent by value, where they are not those of the notebook.

A decorator of a library returns functions whose globals are those of a module that both sides can import:
``torch.compile`` and others that use `functools.wraps`. Such globals go by reference.

``%run helpers.py`` gives functions globals of their own, and copies the functions into the notebook. So do `exec`,
doctest, and profilers that run a script. In a rank they find the variables there that every rank has.
"""

from __future__ import annotations

import importlib
import sys
from types import CellType, FunctionType
from typing import Any

from cloudpickle import cloudpickle as _tracker

from nblaunch.names_in_text import names_in_constants
from nblaunch.names_looked_up import names_looked_up_by
from nblaunch.naming import RANK_NAMES
from nblaunch.payload.receiving import provided_here

__all__ = ["ModuleGlobals", "globals_of_module", "names_of_the_rank", "reduce_cell"]


def globals_of_module(function: FunctionType) -> str | None:
    """Return the name of the importable module whose variables are a function's globals; None if there is none."""
    name = function.__globals__.get("__name__")
    if not isinstance(name, str) or name == "__main__":
        return None
    module = sys.modules.get(name)
    if module is None or getattr(module, "__spec__", None) is None or vars(module) is not function.__globals__:
        return None
    return name


class ModuleGlobals:
    """Pickles to the variables of a module.

    Parameters
    ----------
    module : str
        Its name.
    """

    def __init__(self, module: str) -> None:
        self._module = module

    def __reduce__(self) -> Any:
        return _variables, (self._module,)


def names_of_the_rank(function: FunctionType) -> dict[str, Any]:
    """Return what stands for the variables of the rank that a function uses, and has no globals of that name for."""
    code, space = function.__code__, function.__globals__
    used = {*_tracker._extract_code_globals(code), *names_in_constants(code), *names_looked_up_by(code)}
    return {name: _Provided(name) for name in RANK_NAMES if name in used and name not in space}


class _Provided:
    """Pickles to what the receiver has of its own under a name."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __reduce__(self) -> Any:
        return provided_here, (self._name,)


def reduce_cell(cell: CellType) -> Any:
    """Return how to rebuild a cell of a closure: one that several functions share is one on the other side too."""
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
