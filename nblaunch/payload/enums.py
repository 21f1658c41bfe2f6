"""Members of enumerations that are sent by value: with all their attributes, and without calling the enumeration.

A member may have attributes from its `__init__` or `__new__`, which may have got more than its value. Combined members
of a flag have names of their own. So a member is sent as a plain object, inside the maps of its class.
"""

from __future__ import annotations

import enum
from types import BuiltinFunctionType
from typing import Any

from nblaunch.payload.attributes import held_by, hold
from nblaunch.payload.classes import attributes_of, c_level

__all__ = ["is_enumeration", "reduce_member"]


def is_enumeration(kind: type) -> bool:
    """Tell whether the instances of a class are members of an enumeration."""
    return issubclass(type(kind), enum.EnumMeta)


def reduce_member(member: Any, at_home: bool) -> Any:
    """Return how to rebuild a member; see `object.__reduce__`.

    Parameters
    ----------
    member : enum.Enum
        A member of an enumeration that is sent by value.
    at_home : bool
        Whether the receiver has the class already.
    """
    kind = type(member)
    attributes = vars(member)
    name, value = attributes.get("_name_"), attributes.get("_value_")
    if at_home:
        return _at_home, (kind, name, value)
    reduced: Any = object.__reduce_ex__(member, 2)
    function, args, *_ = reduced
    if function is not kind:  # it is copyreg.__newobj__, whose first argument is the class
        args = args[1:]
    return _make_member, (kind, name, *args), held_by(member), None, None, hold


def _at_home(kind: Any, name: str | None, value: Any) -> Any:
    members = attributes_of(kind)["_member_map_"]
    return members[name] if name in members else kind(value)


def _make_member(kind: Any, name: str | None, *args: Any) -> Any:
    # a class that the receiver had already has its members
    known = attributes_of(kind).get("_member_map_", {}).get(name)
    if known is not None:
        return known
    make = c_level(kind, "__new__", BuiltinFunctionType)
    # the arguments are those of a base in C, such as int; `object` takes none
    return make(kind) if make is object.__new__ else make(kind, *args)
