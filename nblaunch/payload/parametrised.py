"""Classes that a factory caches and returns again: ``Model[int]`` of pydantic, ``c_int * 3`` of ctypes.

In a rank, too, the factory has to return the class that was sent. A class of ctypes is sent as a call of its factory.
One of pydantic is sent as other classes are, because its arguments may refer to it, and is then put into pydantic's
cache.
"""

from __future__ import annotations

import contextlib
import operator
import sys
from collections.abc import Iterator
from typing import Any

__all__ = ["hand_out", "handed_out", "origin_and_args", "reduce_ctypes_class"]

Origin = tuple[type, tuple[Any, ...]]
"""A generic model, and its arguments in brackets."""


def origin_and_args(own: dict[str, Any]) -> Origin | None:
    """Return the generic model and the arguments of a class such as ``Model[int]``; None for other classes.

    Parameters
    ----------
    own : dict
        The attributes of the class itself.
    """
    metadata = own.get("__pydantic_generic_metadata__")
    if not isinstance(metadata, dict) or not metadata.get("origin") or not metadata.get("args"):
        return None
    return metadata["origin"], metadata["args"]


def handed_out(origin: Origin) -> type | None:
    """Return the class that pydantic has cached in this process; None if there is none yet."""
    found: type | None = None
    with contextlib.suppress(AttributeError, TypeError):  # private functions, which may change
        found = _generics().get_cached_generic_type_early(*origin)
    return found


def hand_out(kind: type, origin: Origin) -> None:
    """Put a class into pydantic's cache."""
    model, args = origin
    with contextlib.suppress(AttributeError, TypeError):
        _generics().set_cached_generic_type(model, args, kind, model, args)


def _generics() -> Any:
    return sys.modules.get("pydantic._internal._generics")


def reduce_ctypes_class(kind: type) -> Any:
    """Return the factory call for an array, pointer or function type of ctypes; None if no factory returns the type."""
    for factory, args in _ctypes_factories(kind):
        with contextlib.suppress(TypeError, ValueError, AttributeError):
            if factory(*args) is kind:
                return factory, args
    return None


def _ctypes_factories(kind: Any) -> Iterator[tuple[Any, tuple[Any, ...]]]:
    import ctypes

    function: Any = vars(ctypes)["_CFuncPtr"]
    own = type.__getattribute__(kind, "__dict__")
    if kind.__bases__ == (ctypes.Array,):
        yield operator.mul, (own["_type_"], own["_length_"])
    elif kind.__bases__ == (ctypes._Pointer,) and isinstance(own.get("_type_"), type):
        yield ctypes.POINTER, (own["_type_"],)
    elif kind.__bases__ == (function,) and "_argtypes_" in own:
        yield ctypes.CFUNCTYPE, (own["_restype_"], *own["_argtypes_"])
