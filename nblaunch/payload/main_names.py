"""What of ``__main__`` arrives by value, and under which names it is to be found on the other side.

An object of the user's that is pickled there once more, by `torch.save` or a pool for example, is referred to by the
name of its class in ``__main__``. So everything that travels and has such a name is noted with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nblaunch.payload.attributes import follow

__all__ = ["MainNames"]


class MainNames:
    """The names of what was met in one stream.

    Parameters
    ----------
    namespace : mapping of str to object, optional
        The variables of ``__main__``; without them nothing is noted.
    """

    def __init__(self, namespace: Mapping[str, Any] | None) -> None:
        self._namespace = namespace
        self._told: set[str] = set()
        self._new: dict[str, Any] = {}

    def note(self, obj: Any) -> None:
        """Note an object that would be pickled by its name, if that name leads to it."""
        name = getattr(obj, "__qualname__", None) or getattr(obj, "__name__", None)
        if isinstance(name, str):
            self.note_as(obj, name)

    def note_as(self, obj: Any, name: str) -> None:
        """Note an object that is pickled as this name, dots included, if the name leads to it."""
        top, *rest = name.split(".")
        if self._namespace is None or top in self._told or top not in self._namespace:
            return
        holder = self._namespace[top]
        if follow(holder, rest) is obj:
            self._told.add(top)
            self._new[top] = holder

    def take(self) -> dict[str, Any]:
        """Return what was noted since the last time."""
        new, self._new = self._new, {}
        return new
