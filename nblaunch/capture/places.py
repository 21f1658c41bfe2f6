"""Places: where a part of an object sits, in words that its owner can follow.

Objects and the way to each flow in; `Parts` hold them together for `nblaunch.capture.search`.
"""

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
        Python that reaches the part, such as ``config["db"].lock``; from the last step of `story`, if any.
    story : tuple of str
        Steps that are no expression, such as "train uses the global lock".
    opaque : bool
        Whether steps from here on would mean nothing to the reader.
    """

    expression: str
    story: tuple[str, ...] = ()
    opaque: bool = False

    def inner(self, suffix: str) -> Place:
        """Return the place that ``expression + suffix`` reaches."""
        return self if self.opaque else replace(self, expression=self.expression + suffix)

    def hidden(self) -> Place:
        """Return the place of a part for which there is no expression, nor for what is in it."""
        return replace(self.told("has a part deep inside", "that part"), opaque=True)

    def told(self, step: str, expression: str) -> Place:
        """Return a place that takes a sentence to reach."""
        return self if self.opaque else Place(expression, (*self.story, f"{self.expression} {step}"))


@dataclass(frozen=True)
class Parts:
    """Parts of one sort. `place` tells where number ``i`` of them sits, asked for the guilty one only."""

    objects: Sequence[object]
    place: Callable[[int], Place]

    def without(self, skip: Callable[[object], bool]) -> Parts:
        """Return the parts that are worth looking at."""
        kept = [i for i, part in enumerate(self.objects) if type(part) not in _PLAIN and not skip(part)]
        return Parts([self.objects[i] for i in kept], lambda i: self.place(kept[i]))


_reprs = reprlib.Repr()
_reprs.maxother = _reprs.maxstring = 40


def shown(value: object) -> str:
    """Return a short text for a key or element; `reprlib` survives a failing ``__repr__``."""
    if isinstance(value, str) and len(value) <= 40:
        return json.dumps(value, ensure_ascii=False)
    return _reprs.repr(value)
