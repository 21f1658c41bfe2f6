"""Objects of which every process has its own, as `os.environ`: a rank gets its own, whatever the variable is called.

An example is ``from os import environ``. A copy of the notebook's environment would lack the variables that a rank is
given, and a variable that is set in the copy would have no effect. ``from mpmath import mp`` and
``context = decimal.getcontext()`` are of the same kind.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any

from nblaunch.payload.module_values import attribute_of

__all__ = ["of_interpreter", "own_of_each_process", "standing_for"]

_NAMES = {
    "os": ("environ", "environb"),
    "sys": ("path", "modules", "meta_path", "path_hooks", "path_importer_cache"),
    "warnings": ("filters",),
    "decimal": ("DefaultContext", "BasicContext", "ExtendedContext"),
    "jax": ("config",),
    "matplotlib": ("rcParams", "colormaps", "color_sequences"),
    "matplotlib.font_manager": ("fontManager",),
    "matplotlib.units": ("registry",),
    "mpmath": ("mp", "iv", "fp"),
    "networkx": ("config",),
    "pandas": ("options",),
    "sympy.core.parameters": ("global_parameters",),
}

_Found = tuple[Callable[..., Any], tuple[Any, ...]]


def own_of_each_process() -> dict[int, _Found]:
    """Return how a rank finds its own of each such object that there is here, by its id."""
    found: dict[int, _Found] = {}
    for module, names in _NAMES.items():
        held = vars(sys.modules[module]) if module in sys.modules else {}
        for name in names:
            if name in held:
                found[id(held[name])] = (attribute_of, (module, name))
    found.update(_context_of_decimal())
    return found


# Python has no way to make another one of them.
_OF_INTERPRETER = ("version_info", "flags", "float_info", "int_info", "hash_info", "thread_info")


def of_interpreter() -> dict[int, _Found]:
    """Return how to find what `sys` tells of this interpreter in objects of their own classes, by id."""
    return {id(getattr(sys, name)): (attribute_of, ("sys", name)) for name in _OF_INTERPRETER}


def standing_for(value: Any, places: dict[int, _Found]) -> Any:
    """Return what is pickled for a variable: pickle asks nobody about lists and dictionaries."""
    return _Own(places[id(value)]) if type(value) in (list, dict) and id(value) in places else value


class _Own:
    def __init__(self, found: _Found) -> None:
        self._found = found

    def __reduce__(self) -> Any:
        return self._found


def _context_of_decimal() -> Iterator[tuple[int, _Found]]:
    """Yield the context in which this thread computes, with what its flags say."""
    decimal: Any = sys.modules.get("decimal")
    # a thread that is importing it just now may not have come so far
    if hasattr(decimal, "getcontext"):
        context = decimal.getcontext()
        raised = tuple(signal.__name__ for signal, is_raised in context.flags.items() if is_raised)
        yield id(context), (_current_context, raised)


def _current_context(*raised: str) -> Any:
    import decimal

    context = decimal.getcontext()
    for name in raised:
        context.flags[getattr(decimal, name)] = True
    return context
