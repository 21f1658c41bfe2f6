"""What an object holds in its `__dict__` and in its slots, and what a dotted name leads to.

Both are read and set past what its class says of setting attributes, as a frozen dataclass or a member of an
enumeration would refuse it.
"""

from __future__ import annotations

import copyreg
from collections.abc import Iterable
from typing import Any

__all__ = ["Held", "follow", "held_by", "hold"]

Held = tuple[dict[str, Any], dict[str, Any]]
"""What is in the `__dict__` of an object, and what is in its slots."""


def held_by(obj: Any) -> Held:
    """Return what an object holds; a slot that nothing was put into is left out."""
    attributes = dict(getattr(obj, "__dict__", None) or {})
    names: list[str] = copyreg._slotnames(type(obj))  # type: ignore[attr-defined]  # typeshed leaves it out
    return attributes, {name: getattr(obj, name) for name in names if hasattr(obj, name)}


def hold(obj: Any, held: Held) -> None:
    """Put what another object holds into this one."""
    attributes, slots = held
    if attributes:
        vars(obj).update(attributes)
    for name, value in slots.items():
        object.__setattr__(obj, name, value)


def follow(holder: Any, names: Iterable[str]) -> Any:
    """Return the attribute of the attribute, and so on; None where there is none.

    Examples
    --------
    >>> import collections
    >>> follow(collections, ("abc", "Mapping"))
    <class 'collections.abc.Mapping'>
    """
    for name in names:
        holder = getattr(holder, name, None)
    return holder
