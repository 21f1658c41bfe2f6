"""Objects that are attributes of a module and compared by identity: sentinels such as `dataclasses.MISSING`.

They are sent by reference, because ``x is MISSING`` must hold in the receiver too. Their state is sent along, and set
there. If the receiver's module has no such attribute, because the sender has set it later, a copy is made.
"""

from __future__ import annotations

import copyreg
import importlib
import sys
from types import FunctionType, ModuleType
from typing import Any

from nblaunch.payload.attributes import held_by

__all__ = ["ModuleValues", "attribute_of", "reduces_itself"]


def inherits(kind: Any, name: str) -> bool:
    """Tell whether a class inherits the method of this name from `object`."""
    return getattr(kind, name) is getattr(object, name)


def reduces_itself(kind: type) -> bool:
    """Tell whether a class has its own `__reduce__` or `__reduce_ex__`."""
    return not (inherits(kind, "__reduce__") and inherits(kind, "__reduce_ex__"))


_NEVER = (type, ModuleType, FunctionType)
# An object with more attributes is not looked for in other modules than that of its class, because sentinels have few,
# and a search of all modules takes some ten milliseconds.
_MAX_ATTRIBUTES = 3
_PLAIN = (str, int, float, bool, type(None), type)


class ModuleValues:
    """Finds objects that are attributes of modules; each module is searched once for one stream."""

    def __init__(self) -> None:
        self._in_module: dict[str, dict[int, str]] = {}
        self._looked_anywhere = False

    @staticmethod
    def may_hold(kind: type) -> bool:
        """Tell whether instances of this class are compared by identity, and have no pickling of their own."""
        return (
            inherits(kind, "__eq__")
            and not reduces_itself(kind)
            and kind not in copyreg.dispatch_table
            and not issubclass(kind, _NEVER)
            and kind.__module__ != "__main__"
        )

    def reduce(self, obj: Any, at_home: bool) -> Any:
        """Return how to find an object in its module, and its state; None if it is in none.

        Parameters
        ----------
        obj : object
            An instance of a class for which `may_hold` is true.
        at_home : bool
            Whether it returns to the notebook, whose own object must keep its state. It then becomes a copy, unless
            both have the same state.
        """
        kind = type(obj)
        place = self._place(obj, kind)
        if place is None or (at_home and not _is_small(obj)):
            return None
        if "<locals>" in kind.__qualname__:
            # the class of such an object cannot be found by name, so no copy can be made
            return attribute_of, place
        function, args, *rest = obj.__reduce_ex__(4)
        set_state = getattr(kind, "__setstate__", None)
        if set_state is not None and not isinstance(set_state, FunctionType):
            # in C, as in the cache of jax.jit: it accepts a state for a new object only
            return attribute_of, place
        if at_home:
            return _same_or_copy, (*place, kind, function, args, rest[0] if rest else None)
        return (_module_value, (*place, kind, function, args), *rest)

    def _place(self, obj: Any, kind: type) -> tuple[str, str] | None:
        module = kind.__module__
        names = self._in_module.get(module)
        if names is None:
            found = sys.modules.get(module)
            names = {} if not isinstance(found, ModuleType) else {id(value): name for name, value in _items(found)}
            self._in_module[module] = names
        name = names.get(id(obj))
        if name is not None:
            return module, name
        if not _is_small(obj):
            return None
        if not self._looked_anywhere:
            self._looked_anywhere = True
            _look_everywhere()
        seen = _places.get(id(obj))
        return seen if seen is not None and _is_at(obj, seen) else None


def _is_small(obj: Any) -> bool:
    attributes, slots = held_by(obj)
    values = [*attributes.values(), *slots.values()]
    return len(values) <= _MAX_ATTRIBUTES and all(isinstance(value, _PLAIN) for value in values)


def _items(module: ModuleType) -> list[tuple[str, Any]]:
    return list(vars(module).items())  # another thread may import


# Module and name of objects by their ids; and the number of variables of each module when it was searched. If a module
# binds a name again later, it is not searched again, because the receiver's module has not done so.
_places: dict[int, tuple[str, str]] = {}
_scanned: dict[str, int] = {}


def _look_everywhere() -> None:
    for module, holder in list(sys.modules.items()):
        # by type(), because a `__class__` of an object in `sys.modules` may do anything
        if not issubclass(type(holder), ModuleType) or _scanned.get(module) == len(vars(holder)):
            continue
        _scanned[module] = len(vars(holder))
        if module == "__main__" or vars(holder).get("__name__") != module:
            continue
        for name, value in _items(holder):
            if not issubclass(type(value), _NEVER):
                known = _places.get(id(value))
                if known is None or not _is_at(value, known):
                    _places[id(value)] = (module, name)


def _is_at(obj: Any, place: tuple[str, str]) -> bool:
    module, name = place
    holder = sys.modules.get(module)
    return holder is not None and vars(holder).get(name) is obj


def attribute_of(module: str, name: str) -> Any:
    """Import a module, and return an attribute of it."""
    return getattr(importlib.import_module(module), name)


def _module_value(module: str, name: str, kind: type, function: Any, args: tuple[Any, ...]) -> Any:
    try:
        found = attribute_of(module, name)
    except (ImportError, AttributeError):
        found = None
    return found if type(found) is kind else function(*args)


def _same_or_copy(module: str, name: str, kind: type, function: Any, args: tuple[Any, ...], state: Any) -> Any:
    copy = function(*args)
    if state is not None:
        attributes, slots = state if isinstance(state, tuple) else (state, None)
        for key, value in {**(attributes or {}), **(slots or {})}.items():
            object.__setattr__(copy, key, value)
    found = _module_value(module, name, kind, function, args)
    here = found.__reduce_ex__(4)
    return found if (here[2] if len(here) > 2 else None) == state else copy
