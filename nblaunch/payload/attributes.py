"""What an object holds in its `__dict__` and in its slots, and what a dotted name leads to.

They are set without the ``__setattr__`` of the class: a frozen dataclass or an enumeration would refuse.
"""

from __future__ import annotations

import copyreg
from collections.abc import Iterable
from typing import Any

__all__ = ["Held", "follow", "held_by", "hold"]

Held = tuple[dict[str, Any], dict[str, Any]]
"""What is in the `__dict__` of an object, and what is in its slots."""


def held_by(obj: Any) -> Held:
    """Return what an object holds; empty slots are left out."""
    attributes = dict(getattr(obj, "__dict__", None) or {})
    names: list[str] = copyreg._slotnames(type(obj))  # type: ignore[attr-defined]  # typeshed leaves it out
    return attributes, {name: getattr(obj, name) for name in names if hasattr(obj, name)}


def hold(obj: Any, held: Held) -> None:
    """Set what `held_by` has returned for another object."""
    attributes, slots = held
    if attributes:
        vars(obj).update(attributes)
    for name, value in slots.items():
        object.__setattr__(obj, name, value)


def follow(holder: Any, names: Iterable[str]) -> Any:
    """Return what a dotted name leads to from an object; None if it leads nowhere.

    Examples
    --------
    >>> import collections
    >>> follow(collections, ("abc", "Mapping"))
    <class 'collections.abc.Mapping'>
    """
    for name in names:
        holder = getattr(holder, name, None)
    return holder
