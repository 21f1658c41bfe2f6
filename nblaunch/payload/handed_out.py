"""Objects that a factory of a library makes once and hands out again, such as the zones of ``dateutil.tz.gettz``.

Whether two of them are one object means something there: times of the same zone are subtracted in another way than
times of two. So one that the factory hands out here is asked for again on the other side.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

from nblaunch.payload.module_values import attribute_of

__all__ = ["reducer_of_handed_out"]

_Call = tuple[str, tuple[Any, ...]]


def reducer_of_handed_out(kind: type) -> Callable[[Any], Any] | None:
    """Return how objects of a class are reduced that its library may hand out again; None for other classes.

    What is returned for an object that it does not hand out is None.
    """
    known = _FACTORIES.get((kind.__module__, kind.__name__))
    return None if known is None else partial(_reduce, *known)


def _reduce(module: str, calls: Callable[[Any], Iterable[_Call]], obj: Any) -> Any:
    with contextlib.suppress(Exception):  # of a library, which may have changed
        for name, args in calls(obj):
            if attribute_of(module, name)(*args) is obj:
                return _hand_out, (module, name, args)
    return None


def _hand_out(module: str, name: str, args: tuple[Any, ...]) -> Any:
    return attribute_of(module, name)(*args)


def _zone(zone: Any) -> Iterator[_Call]:
    # by its name, as the file is called, and without the folder of all zones
    names = [getattr(zone, "_key", None), zone._filename]
    folders = getattr(sys.modules.get("dateutil.tz.tz"), "TZPATHS", ())
    names += [zone._filename[len(folder) + 1 :] for folder in folders if zone._filename.startswith(f"{folder}/")]
    for name in names:
        if name:
            yield "gettz", (name,)


def _rule(zone: Any) -> Iterator[_Call]:
    yield "tzstr", (zone._s,)
    yield "gettz", (zone._s,)


# The classes by module and name, the module with their factories, and which calls may have given an object.
_FACTORIES: dict[tuple[str, str], tuple[str, Callable[[Any], Iterable[_Call]]]] = {
    ("dateutil.tz.tz", "tzfile"): ("dateutil.tz", _zone),
    ("dateutil.tz._tzfile", "tzfile"): ("dateutil.tz", _zone),
    ("dateutil.tz.tz", "tzoffset"): ("dateutil.tz", lambda zone: [("tzoffset", (zone._name, zone._offset))]),
    ("dateutil.tz.tz", "tzstr"): ("dateutil.tz", _rule),
    ("dateutil.tz.tz", "tzutc"): ("dateutil.tz", lambda _: [("tzutc", ())]),
    ("pint.registry", "ApplicationRegistry"): ("pint", lambda _: [("get_application_registry", ())]),
    ("codecs", "CodecInfo"): ("codecs", lambda codec: [("lookup", (codec.name,))]),
}
