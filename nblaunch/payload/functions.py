"""The globals of functions that are sent by value.

A decorator of a library returns functions whose globals are those of a module that both sides can import:
``torch.compile`` and others that use `functools.wraps`. These globals go by reference. And a function may read globals
that only a text names: ``df.query("a > @limit")``.
"""

from __future__ import annotations

import importlib
import sys
from types import CodeType, FunctionType
from typing import Any

from cloudpickle import cloudpickle as _tracker

from nblaunch.quoted_names import names_in_constants

__all__ = ["ModuleGlobals", "globals_of_module", "take_quoted_globals"]


def take_quoted_globals(code: CodeType) -> None:
    """Have cloudpickle take along the globals that texts in a function's code name."""
    names = names_in_constants(code)
    if names:
        # private in cloudpickle: it keeps the names that it finds for each code in a dictionary
        _tracker._extract_code_globals(code).update(dict.fromkeys(sorted(names)))


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


def _variables(module: str) -> dict[str, Any]:
    return vars(importlib.import_module(module))
