"""Texts and tuples that a library compares by identity, as argparse does with ``argparse.SUPPRESS``.

Pickle would send an equal copy. Here, an object of such a library that holds such a constant gets the receiver's own.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

__all__ = ["constants_kept"]

# By module: the classes whose objects may hold its constants, and the names of the constants.
_CONSTANTS = {
    "argparse": (("_AttributeHolder", "_ActionsContainer", "HelpFormatter"), ("SUPPRESS",)),
    "optparse": (("Option", "OptionContainer", "Values"), ("NO_DEFAULT", "SUPPRESS_HELP", "SUPPRESS_USAGE")),
}


def constants_kept(kind: type) -> Callable[[Any], Any] | None:
    """Return the reducer for objects of a class that may hold such a constant, or None for other classes.

    The reducer returns None for an object that holds none.
    """
    for module, (bases, names) in _CONSTANTS.items():
        library = sys.modules.get(module)
        if library is not None and issubclass(kind, tuple(getattr(library, base) for base in bases)):
            return lambda obj: _reduce(obj, module, {id(getattr(library, name)): name for name in names})
    return None


def _reduce(obj: Any, module: str, constants: dict[int, str]) -> Any:
    attributes: dict[str, Any] = getattr(obj, "__dict__", {})
    held = [(name, None, constants[id(value)]) for name, value in attributes.items() if id(value) in constants]
    inside = [
        (name, key, constants[id(element)])
        for name, value in attributes.items()
        if type(value) is dict
        for key, element in value.items()
        if id(element) in constants
    ]
    if not held and not inside:
        return None
    function, args, *rest = obj.__reduce_ex__(4)
    state, *elements = (*rest, None, None, None)[:3]
    if state != attributes:
        return None  # its class has a __getstate__
    return function, args, (module, dict(attributes), [*held, *inside]), *elements, _set_state


def _set_state(obj: Any, state: tuple[str, dict[str, Any], list[tuple[str, Any, str]]]) -> None:
    module, attributes, places = state
    vars(obj).update(attributes)
    for name, key, constant in places:
        holder = vars(obj) if key is None else vars(obj)[name]
        holder[name if key is None else key] = getattr(sys.modules[module], constant)
