"""Objects that a factory of a library caches and returns again, such as the zones of ``dateutil.tz.gettz``.

The library may compare such objects by identity: it subtracts times with the same zone object in another way than times
with two. So an object that the factory returns here is sent as a call of the factory.
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
    """Return the reducer for objects of a class that has such a factory; None for other classes.

    The reducer returns None for an object that the factory does not return.
    """
    known = _FACTORIES.get((kind.__module__, kind.__name__))
    return None if known is None else partial(_reduce, *known)


def _reduce(module: str, calls: Callable[[Any], Iterable[_Call]], obj: Any) -> Any:
    with contextlib.suppress(Exception):  # private parts of the library may have changed
        for name, args in calls(obj):
            if attribute_of(module, name)(*args) is obj:
                return _hand_out, (module, name, args)
    return None


def _hand_out(module: str, name: str, args: tuple[Any, ...]) -> Any:
    return attribute_of(module, name)(*args)


def _zone(zone: Any) -> Iterator[_Call]:
    # by the name that it was asked for, by the path of its file, and by that path inside a folder of zones
    names = [getattr(zone, "_key", None), zone._filename]
    folders = getattr(sys.modules.get("dateutil.tz.tz"), "TZPATHS", ())
    names += [zone._filename[len(folder) + 1 :] for folder in folders if zone._filename.startswith(f"{folder}/")]
    for name in names:
        if name:
            yield "gettz", (name,)


def _rule(zone: Any) -> Iterator[_Call]:
    yield "tzstr", (zone._s,)
    yield "gettz", (zone._s,)


# By module and name of a class: the module with the factories, and the calls that may have returned an object.
_FACTORIES: dict[tuple[str, str], tuple[str, Callable[[Any], Iterable[_Call]]]] = {
    ("dateutil.tz.tz", "tzfile"): ("dateutil.tz", _zone),
    ("dateutil.tz._tzfile", "tzfile"): ("dateutil.tz", _zone),
    ("dateutil.tz.tz", "tzoffset"): ("dateutil.tz", lambda zone: [("tzoffset", (zone._name, zone._offset))]),
    ("dateutil.tz.tz", "tzstr"): ("dateutil.tz", _rule),
    ("dateutil.tz.tz", "tzutc"): ("dateutil.tz", lambda _: [("tzutc", ())]),
    ("pint.registry", "ApplicationRegistry"): ("pint", lambda _: [("get_application_registry", ())]),
    ("codecs", "CodecInfo"): ("codecs", lambda codec: [("lookup", (codec.name,))]),
}
