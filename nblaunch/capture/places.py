"""`Place`: where in a captured object a part sits, in words; `Parts`: parts of an object with their places."""

from __future__ import annotations

import json
import reprlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

_PLAIN = frozenset({int, float, complex, bool, str, bytes, bytearray, type(None), type(Ellipsis), range})


@dataclass(frozen=True)
class Place:
    """Where a part sits, seen from the captured name.

    Attributes
    ----------
    expression : str
        Python that reaches the part, such as ``config["db"].lock``. It begins where the last step of `story` ends.
    story : tuple of str
        Steps that have no expression, such as "train uses the global lock".
    opaque : bool
        Whether further steps would mean nothing to the user, so that they are left out.
    """

    expression: str
    story: tuple[str, ...] = ()
    opaque: bool = False

    def inner(self, suffix: str) -> Place:
        """Return the place that ``expression + suffix`` reaches."""
        return self if self.opaque else replace(self, expression=self.expression + suffix)

    def hidden(self) -> Place:
        """Return a place for a part that no expression reaches, and for all that is in it."""
        return replace(self.told("has a part deep inside", "that part"), opaque=True)

    def told(self, step: str, expression: str) -> Place:
        """Return the place that the sentence `step` leads to, and that is called `expression` from there on."""
        return self if self.opaque else Place(expression, (*self.story, f"{self.expression} {step}"))


@dataclass(frozen=True)
class Parts:
    """Parts of one sort; ``place(i)`` is where number ``i`` sits, and is called for the part to blame only."""

    objects: Sequence[object]
    place: Callable[[int], Place]

    def without(self, skip: Callable[[object], bool]) -> Parts:
        """Return the parts that `skip` is false of, and that are not plain values, which can always be pickled."""
        kept = [i for i, part in enumerate(self.objects) if type(part) not in _PLAIN and not skip(part)]
        return Parts([self.objects[i] for i in kept], lambda i: self.place(kept[i]))


_reprs = reprlib.Repr()
_reprs.maxother = _reprs.maxstring = 40


def shown(value: object) -> str:
    """Return a short text for a key or element, also if its ``__repr__`` fails."""
    if isinstance(value, str) and len(value) <= 40:
        return json.dumps(value, ensure_ascii=False)
    return _reprs.repr(value)
