"""Objects of libraries whose own pickling fails, or sends the whole notebook along."""

from __future__ import annotations

import copyreg
from collections.abc import Callable
from typing import Any

from nblaunch.payload.attributes import held_by

__all__ = ["library_rule"]


def library_rule(kind: type) -> Callable[[Any], Any] | None:
    """Return the reducer for objects of a class, or None if there is no rule for it."""
    return _RULES.get((kind.__module__, kind.__name__))


def _curry(function: Any) -> Any:
    """Return how to rebuild a ``toolz.curry``, which would look for a notebook function in the rank's ``__main__``."""
    restore, args = function.__reduce__()
    kind, inner, *others, _ = args
    if isinstance(inner, str) and inner.startswith("__main__:"):
        return restore, (kind, function.func, *others, None)
    return restore, args


def _checked_call(wrapper: Any) -> Any:
    """Return how to rebuild the wrapper of ``pydantic.validate_call``.

    It keeps all variables of the notebook, to look types up in them. A complete wrapper does not need them any more.
    """
    attributes, slots = held_by(wrapper)
    if slots.get("__pydantic_complete__") and "ns_resolver" in slots:
        slots["ns_resolver"] = None
    return copyreg.__newobj__, (type(wrapper),), (attributes or None, slots)  # type: ignore[attr-defined]


def _from_arguments(obj: Any) -> Any:
    """Return how to rebuild an object of SymPy from the arguments of its constructor; its own state is of no use."""
    return copyreg.__newobj__, (type(obj), *obj.__getnewargs__())  # type: ignore[attr-defined]


_RULES: dict[tuple[str, str], Callable[[Any], Any]] = {
    ("toolz.functoolz", "curry"): _curry,
    ("pydantic._internal._validate_call", "ValidateCallWrapper"): _checked_call,
    ("sympy.polys.rings", "PolyRing"): _from_arguments,
    ("sympy.polys.fields", "FracField"): _from_arguments,
}
