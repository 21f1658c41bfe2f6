"""Objects that keep their own hash in an attribute, made to be found again in another process.

A hash of a text, of a class or of None is another number in another process. A class that computes its hash once and
keeps it, for speed, sends the number along, and in the receiver its objects are in no set and no dictionary any more.

::

    sender    cached_hash(obj, state)  ─► which attributes hold hash(obj), and how they get another one
    receiver  renew(obj, cached)       after the state is set, before the object becomes anybody's key

How is found out once for each class, in the sender, on a copy of the object that nobody else sees. A class that
computes its hash when it is first asked for does so again when the attribute is missing, or holds None, 0 or -1. One
that does so when an object is made is not called, because making an object may do anything: its source says which
expression it assigns, and that is computed with the object's attributes in the places of arguments. Either way counts
only if it gives the number that is there; so an attribute that holds a number for another reason, such as an ``id``
that ``__hash__`` returns, is left alone.

What stays wrong: attributes that hold only a part of what the hash is made of; and keys whose hash depends on an
object that, in a cycle of references, is complete only after the dictionary that they are in.
"""

from __future__ import annotations

import contextlib
import pickle
import sys
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import FunctionType, MemberDescriptorType
from typing import Any, NamedTuple

from nblaunch.payload.assigned import Recipe, evaluate, recipes
from nblaunch.payload.exceptions import type_name

__all__ = ["CachedHash", "all_renewed", "cached_hash", "may_keep_hash", "renew", "with_hash_renewed"]

# Smaller numbers are everywhere in objects, and hardly ever hashes of something that differs between processes.
_SMALLEST = 1 << 10
_NOTHING = object()
# What classes hold where no hash has been computed yet.
_NOT_YET = {"nothing": _NOTHING, "None": None, "0": 0, "-1": -1}
# What else is known of an attribute: it holds the number for another reason; or it was computed nobody can tell how.
_KEPT, _UNKNOWN = "kept", "unknown"
# Types that objects may be built on, besides `object`, and those of them that are filled after they were made.
_FILLED: dict[type, Callable[[Any, Any], None]] = {list: list.extend, dict: dict.update, set: set.update}
_BUILT_ON = (tuple, str, bytes, int, float, frozenset)


class CachedHash(NamedTuple):
    """Where an object keeps its hash.

    Parameters
    ----------
    value : int
        The hash in the sender.
    seed : int
        What tells whether the receiver has the same hashes of texts.
    names : tuple of str
        The attributes.
    way : str or tuple
        What makes the class compute it again, or the expression that does.
    """

    value: int
    seed: int
    names: tuple[str, ...]
    way: str | Recipe


def cached_hash(obj: Any, state: Any) -> CachedHash | None:
    """Tell which attributes of an object hold its hash; None if there are none.

    Parameters
    ----------
    obj : object
        What is sent.
    state : object
        What of it is sent: a dictionary, or the pair of dictionaries that an object with slots has.
    """
    kind = type(obj)
    hasher = kind.__hash__
    if type(hasher) is not FunctionType or _is_of_dataclass(kind, hasher):
        return None
    parts = [part for part in (state if type(state) is tuple else (state,)) if type(part) is dict]
    if not any(type(value) is int and abs(value) >= _SMALLEST for part in parts for value in part.values()):
        return None
    try:
        number = hash(obj)
    except Exception:  # it keeps none then
        return None
    # asked for now, because hash() may have just put it there
    values = {name: value for part in parts for name, value in part.items()}
    names = tuple(name for name in values if _is_hash(values[name], number) and _is_hash(_held(obj, name), number))
    if not names or abs(number) < _SMALLEST:
        return None
    known = _WAYS.setdefault(kind, {})
    if names not in known:
        known[names] = _way(obj, values, names, number)
    return None if known[names] == _KEPT else CachedHash(number, _seed(), names, known[names])


def may_keep_hash(kind: type) -> bool:
    """Tell whether a class has a `__hash__` of Python, which may keep what it has computed."""
    return type(kind.__hash__) is FunctionType


def with_hash_renewed(obj: Any, reduced: Any) -> Any:
    """Return how an object is rebuilt so that its class computes its hash once more, if it keeps one.

    Parameters
    ----------
    obj : object
        What is sent.
    reduced : object
        How it is rebuilt otherwise; see `object.__reduce__`.
    """
    if not isinstance(reduced, tuple) or len(reduced) < 3 or (len(reduced) > 5 and reduced[5] is not None):
        return reduced
    cached = cached_hash(obj, reduced[2])
    if cached is None:
        return reduced
    function, args, state, *items = reduced
    lists, dictionaries = [*items, None, None][:2]
    return function, args, (state, cached), lists, dictionaries, _set_state_and_renew


def _set_state_and_renew(obj: Any, state: tuple[Any, CachedHash]) -> None:
    own, cached = state
    # of the class: one that answers for attributes of its objects cannot do so yet
    setter = getattr(type(obj), "__setstate__", None)
    if setter is not None:
        setter(obj, own)
    else:
        # as pickle does it
        attributes, slots = own if type(own) is tuple else (own, None)
        for name, value in (attributes or {}).items():
            vars(obj)[name] = value
        for name, value in (slots or {}).items():
            setattr(obj, name, value)
    renew(obj, cached)


def renew(obj: Any, cached: CachedHash) -> None:
    """Have an object that has just arrived, with its state, compute its hash again.

    Raises
    ------
    pickle.UnpicklingError
        If that is not possible, and the old one means nothing here. Within `all_renewed` only at its end.
    """
    if _has_renewed(obj, cached):
        return
    pending = getattr(_late, "pending", None)
    if pending is None:
        raise _refusal(obj, cached)
    pending.append((obj, cached))


@contextmanager
def all_renewed() -> Iterator[None]:
    """Load objects in this block: what a hash is computed of may be complete only when all of them are there."""
    before = getattr(_late, "pending", None)
    pending: list[tuple[Any, CachedHash]] = []
    _late.pending = pending
    try:
        yield
        for obj, cached in pending:
            if not _has_renewed(obj, cached):
                raise _refusal(obj, cached)
    finally:
        _late.pending = before


_late = threading.local()


def _seed() -> int:
    return hash("nblaunch")


def _is_of_dataclass(kind: type, hasher: FunctionType) -> bool:
    """Tell whether `dataclasses` has made the function: it computes the hash of all fields whenever it is asked."""
    params = getattr(kind, "__dataclass_params__", None)
    return hasher.__code__.co_filename == "<string>" and bool(params and (params.unsafe_hash or params.frozen))


def _is_hash(held: Any, number: int) -> bool:
    if type(held) is not int:
        return False
    # what __hash__ returns may be longer than a hash can be: Python shortens that, as it shortens the number itself
    return held == number or (abs(held) > sys.maxsize and hash(held) == number)


def _held(obj: Any, name: str) -> Any:
    """Return what the object itself holds there, not its class."""
    try:
        values = object.__getattribute__(obj, "__dict__")
    except AttributeError:
        values = {}
    if name in values:
        return values[name]
    for owner in type(obj).__mro__:
        found = vars(owner).get(name)
        if isinstance(found, MemberDescriptorType):
            try:
                return found.__get__(obj)
            except AttributeError:
                break
    return _NOTHING


# ---- in the sender

_WAYS: weakref.WeakKeyDictionary[type, dict[tuple[str, ...], str | Recipe]] = weakref.WeakKeyDictionary()


def _way(obj: Any, values: Mapping[str, Any], names: tuple[str, ...], number: int) -> str | Recipe:
    """Find what makes another process compute what these attributes hold."""
    for way, not_yet in _NOT_YET.items():
        with contextlib.suppress(Exception):
            if hash(_twin(obj, {**values, **dict.fromkeys(names, not_yet)})) == number:
                return way
    found = list(recipes(type(obj), set(names)))
    for recipe in found:
        with contextlib.suppress(Exception):
            # not of the object itself: an expression that asks for the old hash would get it
            if _is_hash(evaluate(recipe, _twin(obj, {**values, **dict.fromkeys(names, _NOTHING)})), number):
                return recipe
    return _UNKNOWN if found else _KEPT


def _twin(obj: Any, values: Mapping[str, Any]) -> Any:
    """Return a new object of the same class with these attributes; no code of the class is run to make it."""
    kind = type(obj)
    built_on = next((base for base in kind.__mro__ if base in _FILLED or base in _BUILT_ON), object)
    twin = built_on.__new__(kind, *([obj] if built_on in _BUILT_ON else []))
    if built_on in _FILLED:
        _FILLED[built_on](twin, obj)
    for name, value in values.items():
        if value is not _NOTHING:
            object.__setattr__(twin, name, value)
    return twin


# ---- in the receiver


def _has_renewed(obj: Any, cached: CachedHash) -> bool:
    # the class may have seen to it itself, in its __setstate__
    held = {name: value for name in cached.names if _is_hash(value := _held(obj, name), cached.value)}
    if not held or (cached.way == _UNKNOWN and cached.seed == _seed()):
        return True
    try:
        not_yet = _NOT_YET[cached.way] if isinstance(cached.way, str) else _NOTHING
        for name in held:
            if not_yet is _NOTHING:
                object.__delattr__(obj, name)
            else:
                object.__setattr__(obj, name, not_yet)
        number = hash(obj) if isinstance(cached.way, str) else evaluate(cached.way, obj)
        for name in held:
            if _held(obj, name) is not_yet:
                object.__setattr__(obj, name, number)
    except Exception:  # what it is computed of is not there yet, or there is no way
        for name, value in held.items():
            object.__setattr__(obj, name, value)
        return False
    return True


def _refusal(obj: Any, cached: CachedHash) -> pickle.UnpicklingError:
    name = cached.names[0]
    return pickle.UnpicklingError(
        f"this {type_name(obj)} keeps its hash in the attribute {name}. Hashes differ from process to process, and how "
        "to compute this one again cannot be told from the source of its class. Have __hash__ compute it when it is "
        f"first asked for, or have __getstate__ leave out {name}; or start the kernel with PYTHONHASHSEED=0"
    )
