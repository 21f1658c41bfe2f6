"""`is_unusual`: whether the user's class has its own code for pickling, so that a trial before the launch is useful."""

from __future__ import annotations

from typing import Any

from nblaunch.payload.classes import attributes_of

__all__ = ["is_unusual"]

_HOOKS = (
    "__reduce__",
    "__reduce_ex__",
    "__getstate__",
    "__setstate__",
    "__getnewargs__",
    "__getnewargs_ex__",
    "__new__",
    "__getattr__",
    "__getattribute__",
    "__setattr__",
    "__hash__",
    "__class__",
)
# Methods that `dataclasses` generates, and that do no harm.
_OF_DATACLASSES = {"__setattr__", "__hash__", "__getstate__", "__setstate__"}
_HEAP_TYPE = 1 << 9  # Py_TPFLAGS_HEAPTYPE


def is_unusual(kind: type) -> bool:
    """Tell whether a class, or a base of it in Python, has methods that are called when its instances are pickled."""
    for base in kind.__mro__:
        own: Any = attributes_of(base)
        if base.__flags__ & _HEAP_TYPE:
            hooks = {name for name in _HOOKS if own.get(name) is not None}
            if "__dataclass_params__" in own:
                hooks -= _OF_DATACLASSES
            if hooks:
                return True
    return False
