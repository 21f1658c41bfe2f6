"""`parts_of`: takes an object apart as pickling would, without pickling it.

It yields groups of parts, each part with the words for where it sits; `search` finds the part to blame among them. No
user code runs here, except what pickling would call too (``__getstate__``, ``__reduce_ex__``).
"""

from __future__ import annotations

import dis
import functools
import sys
import types
from collections import deque
from contextlib import suppress
from itertools import chain
from typing import TYPE_CHECKING, Any

from nblaunch.capture.places import Parts, Place, shown
from nblaunch.capture.tables import table_parts
from nblaunch.payload.names_in_text import is_meant, names_in_constants

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_DESCRIPTORS = (types.GetSetDescriptorType, types.MemberDescriptorType, types.WrapperDescriptorType)
_OF_C = (types.MethodDescriptorType, types.ClassMethodDescriptorType, types.WrapperDescriptorType)
_ATTRIBUTES_OF_PYTHON = frozenset({"__dict__", "__weakref__", "__doc__", "__module__", "__slots__", "__annotations__"})


def parts_of(obj: object, place: Place, *, rebuilt: bool = True) -> Iterator[Parts]:
    """Take an object apart.

    Parameters
    ----------
    obj : object
        What to take apart.
    place : Place
        Where it sits.
    rebuilt : bool
        Whether the arguments of its ``__reduce_ex__`` are parts too. They are made when it is called, and may be large.

    Yields
    ------
    Parts
        Items, attributes, what a function uses …; parts whose place is easy to read come first.
    """
    if isinstance(obj, dict):
        keys = list(obj)
        yield Parts(list(obj.values()), lambda i: place.inner(f"[{shown(keys[i])}]"))
        yield Parts(keys, lambda i: place.told(f"has the key {shown(keys[i])}", "that key"))
    elif isinstance(obj, tuple) and hasattr(obj, "_fields"):
        yield Parts(list(obj), lambda i: place.inner(f".{obj._fields[i]}"))
    elif isinstance(obj, (list, tuple, deque)):
        yield Parts(list(obj), lambda i: place.inner(f"[{i}]"))
    elif isinstance(obj, (set, frozenset)):
        elements = list(obj)
        yield Parts(elements, lambda i: place.told(f"has the element {shown(elements[i])}", "that element"))
    elif isinstance(obj, types.FunctionType):
        yield from _function_parts(obj, place)
    elif isinstance(obj, functools.partial):
        yield Parts([obj.func], lambda _: place.inner(".func"))
        yield Parts(obj.args, lambda i: place.inner(f".args[{i}]"))
        yield _values(obj.keywords, lambda key: place.inner(f".keywords[{shown(key)}]"))
    elif isinstance(obj, (types.MethodType, types.BuiltinMethodType)):
        yield _attributes(obj, ("__self__", "__func__"), place)
        return
    elif isinstance(obj, (staticmethod, classmethod)):
        yield _attributes(obj, ("__func__",), place)
        return
    elif isinstance(obj, property):
        yield _attributes(obj, ("fget", "fset", "fdel"), place)
        return
    elif isinstance(obj, BaseException):
        yield Parts(obj.args, lambda i: place.inner(f".args[{i}]"))
    if isinstance(obj, type):
        own = {
            name: value
            for name, value in vars(obj).items()
            if name not in _ATTRIBUTES_OF_PYTHON and not isinstance(value, _DESCRIPTORS)
        }
        yield _values(own, lambda name: place.inner(f".{name}"))
        bases, meta = obj.__bases__, type(obj)
        yield Parts(bases, lambda i: place.told(f"derives from {bases[i].__name__}", bases[i].__name__))
        if goes_by_value(meta):
            yield Parts([meta], lambda _: place.told(f"has the metaclass {meta.__name__}", meta.__name__))
        return
    yield from _instance_parts(obj, place, rebuilt)


def _instance_parts(obj: object, place: Place, rebuilt: bool) -> Iterator[Parts]:
    """Yield what users know as parts of the object, its attributes, its class, and what it is rebuilt from."""
    wrapped = getattr(obj, "__wrapped__", None)
    if isinstance(wrapped, types.FunctionType) and not isinstance(obj, types.FunctionType):
        yield Parts([wrapped], lambda _: place)  # the user knows the wrapper and the function by the same name
    yield from table_parts(obj, place)
    if (type(obj).__module__, type(obj).__name__) == ("numpy", "ndarray"):
        yield from _array_parts(obj, place)
    state = _custom_state(obj)
    if state is None:
        state = dict(getattr(obj, "__dict__", None) or {})
        slots = chain.from_iterable(_slots(base) for base in type(obj).__mro__)
        state.update({name: getattr(obj, name) for name in slots if hasattr(obj, name)})
    yield _values(state, lambda name: place.inner(f".{name}"))
    cls = type(obj)
    if goes_by_value(cls):
        yield Parts([cls], lambda _: place.told(f"is an instance of {cls.__name__}", cls.__name__))
    if not rebuilt or isinstance(obj, (dict, list, tuple, set, frozenset, types.FunctionType)):
        return
    try:
        reduced = obj.__reduce_ex__(4)
    except Exception:  # it fails for the user's object, and that is what `explain` is about
        return
    if isinstance(reduced, tuple) and len(reduced) >= 2 and isinstance(reduced[1], tuple):
        rebuild = (part for part in (*reduced[1], *reduced[2:3]) if not isinstance(part, type))
        yield Parts(list(rebuild), lambda _: place.hidden())


def _array_parts(array: Any, place: Place) -> Iterator[Parts]:
    """Yield the elements of a NumPy array of objects; other arrays can always be pickled."""
    if array.dtype == object:
        yield Parts(array.ravel().tolist(), lambda i: place.inner(_subscript(i, array.shape)))


def _subscript(position: int, shape: tuple[int, ...]) -> str:
    """Return ``[row, column]`` of an element, given its position row by row."""
    indices: list[int] = []
    for size in reversed(shape):
        position, index = divmod(position, size)
        indices.insert(0, index)
    return str(indices)


def _function_parts(function: types.FunctionType, place: Place) -> Iterator[Parts]:
    """Yield what a function closes over, its defaults, and the globals that its code loads."""
    cells: dict[str, object] = {}
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        with suppress(ValueError):  # not assigned yet
            cells[name] = cell.cell_contents
    yield _values(cells, lambda name: place.told(f"closes over {name}", name))
    code = function.__code__
    positional = code.co_varnames[: code.co_argcount]
    defaults: dict[str, object] = {}
    if function.__defaults__:
        defaults.update(zip(positional[-len(function.__defaults__) :], function.__defaults__, strict=True))
    defaults.update(function.__kwdefaults__ or {})
    yield _values(defaults, lambda name: place.told(f"has a default for {name}", "that default"))
    space = function.__globals__
    used = {name: space[name] for name in dict.fromkeys(_global_names(code)) if name in space}
    for name, as_table in names_in_constants(code).items():
        if name in space and is_meant(space[name], as_table=as_table):
            used.setdefault(name, space[name])
    yield _values(used, lambda name: place.told(f"uses the global {name}", name))


def _global_names(code: types.CodeType) -> Iterator[str]:
    """Yield the globals that code loads; `co_names` would list attributes too."""
    for instruction in dis.get_instructions(code):
        if instruction.opname == "LOAD_GLOBAL":
            yield instruction.argval
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _global_names(constant)


def _custom_state(obj: object) -> dict[str, object] | None:
    """Return the attributes that the class's ``__getstate__`` chooses; None if it has no such method."""
    chosen = getattr(type(obj), "__getstate__", None)
    if chosen is None or chosen is getattr(object, "__getstate__", None):  # Python 3.11 gives one to every object
        return None
    try:
        state = chosen(obj)
    except Exception:  # see _instance_parts
        return None
    return state if isinstance(state, dict) else {"__getstate__()": state}


def _attributes(obj: object, names: Sequence[str], place: Place) -> Parts:
    return _values({name: getattr(obj, name, None) for name in names}, lambda name: place.inner(f".{name}"))


def _values(mapping: dict[str, object], place: Callable[[str], Place]) -> Parts:
    names = list(mapping)
    return Parts(list(mapping.values()), lambda i: place(names[i]))


def _slots(cls: type) -> tuple[str, ...]:
    slots = vars(cls).get("__slots__", ())
    names = (slots,) if isinstance(slots, str) else tuple(slots)
    owner = cls.__name__.lstrip("_")
    return tuple(f"_{owner}{name}" if name.startswith("__") and not name.endswith("__") else name for name in names)


def goes_by_value(cls: type) -> bool:
    """Tell whether a class is sent itself, and not by its name only; a class of C code never is."""
    module = sys.modules.get(cls.__module__)
    if cls.__module__ != "__main__" and getattr(module, cls.__qualname__.partition(".")[0], None) is not None:
        return False
    return not any(isinstance(thing, _OF_C) and thing.__objclass__ is cls for thing in vars(cls).values())
