"""Functions that are sent by value although their globals are those of a module that both sides can import.

A decorator of a library returns such functions: ``torch.compile`` and others that use `functools.wraps`. Their globals
are the library's, which go by reference.
"""

from __future__ import annotations

import importlib
import sys
from types import CellType, FunctionType
from typing import Any

__all__ = ["ModuleGlobals", "globals_of_module", "reduce_cell"]


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
