"""Objects of libraries whose own way of being pickled fails, or takes the whole notebook along."""

from __future__ import annotations

import copyreg
from collections.abc import Callable
from typing import Any

from nblaunch.payload.attributes import held_by

__all__ = ["library_rule"]


def library_rule(kind: type) -> Callable[[Any], Any] | None:
    """Return how objects of a class are reduced, or None for other classes."""
    return _RULES.get((kind.__module__, kind.__name__))


def _curry(function: Any) -> Any:
    """Return how to rebuild a function of toolz; one of the notebook it would look for in ``__main__`` by its name."""
    restore, args = function.__reduce__()
    kind, inner, *others, _ = args
    if isinstance(inner, str) and inner.startswith("__main__:"):
        return restore, (kind, function.func, *others, None)
    return restore, args


def _checked_call(wrapper: Any) -> Any:
    """Return how to rebuild what checks the arguments of a function for pydantic.

    It keeps the variables of the notebook, all of them, for the case that it has to look for a type later.
    """
    attributes, slots = held_by(wrapper)
    if slots.get("__pydantic_complete__") and "ns_resolver" in slots:
        slots["ns_resolver"] = None
    return copyreg.__newobj__, (type(wrapper),), (attributes or None, slots)  # type: ignore[attr-defined]


def _from_arguments(obj: Any) -> Any:
    """Return how to rebuild an object of sympy from what it was made of; its own state leads nowhere."""
    return copyreg.__newobj__, (type(obj), *obj.__getnewargs__())  # type: ignore[attr-defined]


_RULES: dict[tuple[str, str], Callable[[Any], Any]] = {
    ("toolz.functoolz", "curry"): _curry,
    ("pydantic._internal._validate_call", "ValidateCallWrapper"): _checked_call,
    ("sympy.polys.rings", "PolyRing"): _from_arguments,
    ("sympy.polys.fields", "FracField"): _from_arguments,
}
