"""Objects of which every process has its own, such as `os.environ`: they are sent as references to the rank's own.

For example, after ``from os import environ``, a copy of the notebook's environment would lack the variables of the
rank, and setting a variable in the copy would have no effect. ``from mpmath import mp`` and
``context = decimal.getcontext()`` are similar.
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

# A function and its arguments, which return the rank's own object.
_Found = tuple[Callable[..., Any], tuple[Any, ...]]


def own_of_each_process() -> dict[int, _Found]:
    """Return how a rank finds its own object, by the id of the object in this process."""
    found: dict[int, _Found] = {}
    for module, names in _NAMES.items():
        held = vars(sys.modules[module]) if module in sys.modules else {}
        for name in names:
            if name in held:
                found[id(held[name])] = (attribute_of, (module, name))
    found.update(_context_of_decimal())
    return found


# Objects of `sys` whose classes cannot be called.
_OF_INTERPRETER = ("version_info", "flags", "float_info", "int_info", "hash_info", "thread_info")


def of_interpreter() -> dict[int, _Found]:
    """Return how to find objects of `sys` such as `sys.version_info`, by id."""
    return {id(getattr(sys, name)): (attribute_of, ("sys", name)) for name in _OF_INTERPRETER}


def standing_for(value: Any, places: dict[int, _Found]) -> Any:
    """Return what to pickle for a variable: a stand-in for a list or dictionary, which pickle would always copy."""
    return _Own(places[id(value)]) if type(value) in (list, dict) and id(value) in places else value


class _Own:
    def __init__(self, found: _Found) -> None:
        self._found = found

    def __reduce__(self) -> Any:
        return self._found


def _context_of_decimal() -> Iterator[tuple[int, _Found]]:
    """Yield the id of this thread's decimal context, and how a rank finds its own and sets the same flags."""
    decimal: Any = sys.modules.get("decimal")
    # another thread may be importing it just now
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
