"""`MainNames`: names in ``__main__`` of objects that are sent by value, so that the rank has them in its ``__main__``.

If `torch.save` or a pool pickles a user's object in a rank, it refers to the class by its name in ``__main__``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nblaunch.payload.attributes import follow

__all__ = ["MainNames"]


class MainNames:
    """Names in ``__main__`` of the objects in one stream.

    Parameters
    ----------
    namespace : mapping of str to object, optional
        The variables of ``__main__``; without them no name is noted.
    """

    def __init__(self, namespace: Mapping[str, Any] | None) -> None:
        self._namespace = namespace
        self._told: set[str] = set()
        self._new: dict[str, Any] = {}

    def note(self, obj: Any) -> None:
        """Note an object by its own name, if that name leads to it."""
        name = getattr(obj, "__qualname__", None) or getattr(obj, "__name__", None)
        if isinstance(name, str):
            self.note_as(obj, name)

    def note_as(self, obj: Any, name: str) -> None:
        """Note an object by this name, which may be dotted, if the name leads to it."""
        top, *rest = name.split(".")
        if self._namespace is None or top in self._told or top not in self._namespace:
            return
        holder = self._namespace[top]
        if follow(holder, rest) is obj:
            self._told.add(top)
            self._new[top] = holder

    def take(self) -> dict[str, Any]:
        """Return the variables that were noted since the last call."""
        new, self._new = self._new, {}
        return new
