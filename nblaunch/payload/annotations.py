"""Classes that annotations name in texts are sent too, so that `typing.get_type_hints` finds them in the receiver."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

from nblaunch.payload.receiving import globals_here

__all__ = ["is_type", "own_annotations", "with_names"]

_OF_CLASSES: Any = vars(type)["__dict__"]


def own_annotations(annotated: Any) -> Mapping[str, Any]:
    """Return the annotations of a function or class, without those of its bases."""
    if isinstance(annotated, type):
        found = _OF_CLASSES.__get__(annotated).get("__annotations__")
    else:
        found = None
        with contextlib.suppress(Exception):  # Python 3.14 evaluates them now, with names that may not exist any more
            found = annotated.__annotations__
    return found if isinstance(found, dict) else {}


def is_type(value: Any) -> bool:
    """Tell whether an annotation may mean this value: a class, a module, or an object of `typing`."""
    return isinstance(value, (type, ModuleType)) or type(value).__module__ in ("typing", "types", "typing_extensions")


def with_names(reduced: Any, names: dict[str, Any]) -> Any:
    """Return how to rebuild a class, and to bind variables in the receiver that its annotations name."""
    if not names:
        return reduced
    *most, fill = reduced
    function, args, state, *elements = most
    return function, args, (fill, state, names), *elements, _fill


def _fill(kind: type, state: tuple[Callable[[type, Any], None], Any, dict[str, Any]]) -> None:
    fill, own, names = state
    fill(kind, own)
    for name, value in names.items():
        globals_here().setdefault(name, value)
