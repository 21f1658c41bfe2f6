"""`Search`: finds the smallest part of an object that cannot be pickled, and its place.

Parts are tried all together, and then by halves: in a list of a million items, twenty trials find the one to blame.
Trials, depth and time are limited. A search that reaches a limit returns the smallest part found so far.
"""

from __future__ import annotations

import os
import re
import sys
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

from nblaunch.capture.advice import fails_to_be_rebuilt, kind_of, nests_too_deeply
from nblaunch.capture.parts import parts_of
from nblaunch.capture.places import Parts, Place

Why = Callable[[object], BaseException | None]

_CONTAINERS = (dict, list, tuple, set, frozenset)

MAX_TRIALS = 300
MAX_DEPTH = 25
MAX_SECONDS = 10.0
# Objects that are searched for one of the type that an error names.
MAX_LOOKS = 20_000

_NAMED = re.compile(r"cannot pickle '([\w.]+)' object")
# Private attributes, which users of a library do not know.
_PRIVATE = re.compile(r"\.(?:_(?!_)\w*|__getstate__\(\))")
_PACKAGES = re.compile(r"[\\/](?:site|dist)-packages[\\/]")
_STANDARD_LIBRARY = os.path.join(os.path.dirname(os.__file__), "")


class Culprit(NamedTuple):
    """A part that cannot be pickled, and what pickling it raised.

    Attributes
    ----------
    obj : object
        The part, as its owner knows it.
    place : Place
        Where it sits.
    error : BaseException
        What pickling it raised.
    cause : object
        The part inside that cannot be pickled: `obj` itself, or a private part of it.
    """

    obj: object
    place: Place
    error: BaseException
    cause: object


class _LimitReached(Exception):
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
        self._keep: list[object] = []  # parts may be temporary objects; kept, so that no other object gets the same id

    def culprit(self, name: str, obj: object, error: BaseException) -> Culprit:
        """Return the part of `obj` to blame for `error`; `obj` itself if that is no single part."""
        whole = Culprit(obj, Place(name), error, obj)
        if nests_too_deeply(error) or isinstance(error, MemoryError):
            return whole  # no single part is to blame
        found = self._inside(whole, 0) or whole
        return self._nearest_named(whole, found) or found

    def _inside(self, whole: Culprit, depth: int) -> Culprit | None:
        """Return the part to blame in `whole`; None if all that fails in it are objects that are being searched."""
        if depth >= MAX_DEPTH or kind_of(whole.obj) != "other":
            return whole
        if getattr(whole.error, "guilty", None) is whole.obj:
            return whole
        if fails_to_be_rebuilt(whole.error) and type(whole.obj) not in _CONTAINERS:
            return whole  # its class fails to rebuild it, and its parts may all be fine
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
                        return _shown_to_users(whole, found)
                    in_circle = True
                    parts = parts.without(lambda part: id(part) in self._entered)
        except Exception:  # _LimitReached, or an error of the user's properties
            return whole
        return None if in_circle else whole

    def _nearest_named(self, whole: Culprit, found: Culprit) -> Culprit | None:
        """Return the nearest part of the type that the error names, if the search has found one of another type.

        In objects that refer to each other, such as a figure and its axes, each one contains the part to blame.
        """
        named = None
        with suppress(Exception):  # the exception may be of the user's class, whose __str__ fails
            named = _NAMED.search(str(found.error))
        if named is None or kind_of(found.obj) != "other" or _is_called(found.cause, named[1]):
            return None
        queue = deque([(whole.obj, whole.place)])
        seen = {id(whole.obj)}
        try:
            while queue and len(seen) < MAX_LOOKS and time.monotonic() < self._deadline:
                obj, place = queue.popleft()
                for group in parts_of(obj, place, rebuilt=False):
                    parts = group.without(lambda part: id(part) in seen)
                    for number, part in enumerate(parts.objects):
                        if _is_called(part, named[1]) and (error := self._why(part)) is not None:
                            return Culprit(part, parts.place(number), error, part)
                        seen.add(id(part))
                        self._keep.append(part)
                        if not _is_of_many(part):
                            queue.append((part, parts.place(number)))
        except Exception:  # an error of the user's properties
            return None
        return None

    def _failing(self, parts: Parts) -> Culprit | None:
        """Return one of the parts that cannot be pickled; None if all can."""
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
        # No single part is to blame if the parts fail only together.
        return None if final is None else Culprit(parts.objects[low], parts.place(low), final, parts.objects[low])

    def _try(self, parts: Parts, low: int, high: int) -> BaseException | None:
        if not self._trials or time.monotonic() > self._deadline:
            raise _LimitReached
        self._trials -= 1
        some = parts.objects[low:high]
        return self._why(some[0] if len(some) == 1 else list(some))


def _is_called(obj: object, name: str) -> bool:
    cls = type(obj)
    return name in (cls.__name__, f"{cls.__module__}.{cls.__qualname__}")


def _is_of_many(obj: object) -> bool:
    """Tell whether a part is a module or a class of one, and so does not belong to the object that is searched."""
    return kind_of(obj) == "module" or (isinstance(obj, type) and obj.__module__ != "__main__")


def _shown_to_users(whole: Culprit, found: Culprit) -> Culprit:
    """Return `whole` if `found` is a private attribute of a library's object: users know only the object."""
    suffix = found.place.expression.removeprefix(whole.place.expression)
    if found.place.story == whole.place.story and _PRIVATE.fullmatch(suffix) and _is_of_library(type(whole.obj)):
        return whole._replace(error=found.error, cause=found.cause)
    return found


def _is_of_library(cls: type) -> bool:
    """Tell whether a class is of an installed package, of the standard library, or of C code."""
    if cls.__module__ == "__main__" or cls.__module__ not in sys.modules:
        return False
    path = getattr(sys.modules[cls.__module__], "__file__", None)
    return path is None or path.startswith(_STANDARD_LIBRARY) or bool(_PACKAGES.search(path))
