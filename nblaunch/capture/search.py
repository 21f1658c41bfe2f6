"""Search: the smallest part of an object that cannot be pickled.

An object that failed flows in, with a function that tries to pickle one object; the guilty part and its
place flow out. Parts are tried together and then by halves, so a list of a million items costs some twenty
trials, not a million; trials, depth and time are bounded, and a search that is cut short answers with the
smallest part that it is sure of.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

from nblaunch.capture.advice import fails_to_be_rebuilt, kind_of, nests_too_deeply
from nblaunch.capture.parts import Parts, Place, parts_of

Why = Callable[[object], BaseException | None]

_CONTAINERS = (dict, list, tuple, set, frozenset)

MAX_TRIALS = 300
MAX_DEPTH = 25
MAX_SECONDS = 10.0


class Culprit(NamedTuple):
    """A part that cannot be pickled, and what pickling it raised."""

    obj: object
    place: Place
    error: BaseException


class _Spent(Exception):
    """The trials or the time are used up."""


class Search:
    """One search, for one captured name.

    Parameters
    ----------
    why : callable
        Tries to pickle one object; returns the exception, or None.
    """

    def __init__(self, why: Why) -> None:
        self._why = why
        self._trials = MAX_TRIALS
        self._deadline = time.monotonic() + MAX_SECONDS
        self._entered: set[int] = set()
        self._keep: list[object] = []  # parts may be made on the fly; an id must not be given out twice

    def culprit(self, name: str, obj: object, error: BaseException) -> Culprit:
        """Return the guilty part of `obj`, which failed with `error`; `obj` itself if no part is guilty."""
        whole = Culprit(obj, Place(name), error)
        if nests_too_deeply(error) or isinstance(error, MemoryError):
            return whole  # no single part is guilty
        return self._inside(whole, 0) or whole

    def _inside(self, whole: Culprit, depth: int) -> Culprit | None:
        """Return the guilty part of what failed; None if only parts that are being searched are left."""
        if depth >= MAX_DEPTH or kind_of(whole.obj) != "other":
            return whole
        if getattr(whole.error, "guilty", None) is whole.obj:
            return whole
        if fails_to_be_rebuilt(whole.error) and type(whole.obj) not in _CONTAINERS:
            return whole  # its parts may all be well: it is what its class makes of them
        self._entered.add(id(whole.obj))
        self._keep.append(whole.obj)
        in_circle = False
        try:
            for group in parts_of(whole.obj, whole.place):
                in_circle = in_circle or any(id(part) in self._entered for part in group.objects)
                parts = group.without(lambda part: id(part) in self._entered)
                while (part := self._failing(parts)) is not None:
                    found = self._inside(part, depth + 1)
                    if found is not None:
                        return found
                    in_circle = True
                    parts = parts.without(lambda part: id(part) in self._entered)
        except Exception:  # _Spent, or whatever the user's properties raise when they are looked at
            return whole
        return None if in_circle else whole

    def _failing(self, parts: Parts) -> Culprit | None:
        """Return one of the parts that cannot be pickled, if any."""
        low, high = 0, len(parts.objects)
        if low == high:
            return None
        error = self._try(parts, low, high)
        if error is None:
            return None
        while high - low > 1:
            middle = (low + high) // 2
            in_first = self._try(parts, low, middle)
            if in_first is not None:
                high, error = middle, in_first
            else:
                low = middle
        final = self._try(parts, low, high)
        # Only together they fail (or the last trial of a half was a fluke): no single part is to blame.
        return None if final is None else Culprit(parts.objects[low], parts.place(low), final)

    def _try(self, parts: Parts, low: int, high: int) -> BaseException | None:
        if not self._trials or time.monotonic() > self._deadline:
            raise _Spent
        self._trials -= 1
        some = parts.objects[low:high]
        return self._why(some[0] if len(some) == 1 else list(some))
