"""Objects that keep their own hash in an attribute: the receiver computes it again.

A hash of a text, of a class or of None is another number in another process. A class may compute its hash once and keep
it in an attribute, for speed. With the sender's number in it, an object would not be found in the receiver's sets and
dictionaries.

::

    sender    cached_hash(obj, state)  ─► which attributes hold hash(obj), and how the receiver computes it
    receiver  renew(obj, cached)       after the state is set, before the object becomes a key

The sender finds out how, once for each class, on a private copy of the object. A class that computes its hash when it
is first asked for does so again when the attribute is missing, or holds None, 0 or -1. A class that computes it when an
object is made is not called, because its constructor may do anything. Instead, the source of the class tells which
expression it assigns, and the expression is computed from the object's attributes. Either way is used only if it gives
the number that the attribute holds. So an attribute that holds a number for another reason, such as an ``id`` that
``__hash__`` returns, stays as it is.

Two cases remain wrong: attributes that hold only a part of what the hash is computed from; and keys whose hash depends
on an object that, in a cycle of references, is complete only after the dictionary that they are in.
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

# Many attributes hold smaller numbers, and these are hardly ever hashes that differ between processes.
_MIN_HASH = 1 << 10
_NOTHING = object()
# What an attribute may hold before the hash is computed.
_NOT_YET = {"nothing": _NOTHING, "None": None, "0": 0, "-1": -1}
# Other results for an attribute: it holds the number for another reason; or how it was computed is unknown.
_KEPT, _UNKNOWN = "kept", "unknown"
# Base types of objects: those that get their content after they were made, with the way to do so, and all others.
_FILLED: dict[type, Callable[[Any, Any], None]] = {list: list.extend, dict: dict.update, set: set.update}
_BUILT_ON = (tuple, str, bytes, int, float, frozenset)


class CachedHash(NamedTuple):
    """Where an object keeps its hash.

    Parameters
    ----------
    value : int
        The hash in the sender.
    seed : int
        The hash of a fixed text in the sender: the receiver's is the same if it has the same hash seed.
    names : tuple of str
        The attributes that hold the hash.
    way : str or tuple
        A key of `_NOT_YET`, for a class that then computes the hash again; or the expression that computes it.
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
        The object that is sent.
    state : object
        Its pickled state: a dictionary, or a pair of dictionaries for an object with slots.
    """
    kind = type(obj)
    hasher = kind.__hash__
    if type(hasher) is not FunctionType or _is_of_dataclass(kind, hasher):
        return None
    parts = [part for part in (state if type(state) is tuple else (state,)) if type(part) is dict]
    if not any(type(value) is int and abs(value) >= _MIN_HASH for part in parts for value in part.values()):
        return None
    try:
        number = hash(obj)
    except Exception:  # an object without a hash
        return None
    # `_held` is called after hash(), which may just have set the attribute
    values = {name: value for part in parts for name, value in part.items()}
    names = tuple(name for name in values if _is_hash(values[name], number) and _is_hash(_held(obj, name), number))
    if not names or abs(number) < _MIN_HASH:
        return None
    known = _WAYS.setdefault(kind, {})
    if names not in known:
        known[names] = _way(obj, values, names, number)
    return None if known[names] == _KEPT else CachedHash(number, _seed(), names, known[names])


def may_keep_hash(kind: type) -> bool:
    """Tell whether the `__hash__` of a class is written in Python, and so may keep its result."""
    return type(kind.__hash__) is FunctionType


def with_hash_renewed(obj: Any, reduced: Any) -> Any:
    """Return how to rebuild an object so that a hash that it keeps is computed again.

    Parameters
    ----------
    obj : object
        The object that is sent.
    reduced : object
        How to rebuild it without that; see `object.__reduce__`.
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
    # read from the class: a `__getattr__` for its objects may fail while they have no attributes
    setter = getattr(type(obj), "__setstate__", None)
    if setter is not None:
        setter(obj, own)
    else:
        # what pickle does without a `__setstate__`
        attributes, slots = own if type(own) is tuple else (own, None)
        for name, value in (attributes or {}).items():
            vars(obj)[name] = value
        for name, value in (slots or {}).items():
            setattr(obj, name, value)
    renew(obj, cached)


def renew(obj: Any, cached: CachedHash) -> None:
    """Compute the hash of an object again, which has just been rebuilt with its state.

    Raises
    ------
    pickle.UnpicklingError
        If that is not possible, and the sender's hash is wrong here. In a block of `all_renewed`, only at its end.
    """
    if _has_renewed(obj, cached):
        return
    pending = getattr(_late, "pending", None)
    if pending is None:
        raise _refusal(obj, cached)
    pending.append((obj, cached))


@contextmanager
def all_renewed() -> Iterator[None]:
    """Load objects in this block, and try hashes that could not be computed again at its end, when all are complete."""
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
    """Tell whether `dataclasses` has generated the function, which keeps no hash."""
    params = getattr(kind, "__dataclass_params__", None)
    return hasher.__code__.co_filename == "<string>" and bool(params and (params.unsafe_hash or params.frozen))


def _is_hash(held: Any, number: int) -> bool:
    if type(held) is not int:
        return False
    # `__hash__` may return a number of any size, and hash() reduces it
    return held == number or (abs(held) > sys.maxsize and hash(held) == number)


def _held(obj: Any, name: str) -> Any:
    """Return an attribute of the object itself, not of its class; `_NOTHING` if it has none."""
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
    """Find out how another process can compute what these attributes hold."""
    for way, not_yet in _NOT_YET.items():
        with contextlib.suppress(Exception):
            if hash(_twin(obj, {**values, **dict.fromkeys(names, not_yet)})) == number:
                return way
    found = list(recipes(type(obj), set(names)))
    for recipe in found:
        with contextlib.suppress(Exception):
            # computed on a twin without the hash, which the expression could read in the object itself
            if _is_hash(evaluate(recipe, _twin(obj, {**values, **dict.fromkeys(names, _NOTHING)})), number):
                return recipe
    return _UNKNOWN if found else _KEPT


def _twin(obj: Any, values: Mapping[str, Any]) -> Any:
    """Return a new object of the same class with these attributes, made without running code of the class."""
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
    # only attributes that still hold the sender's hash: the class's __setstate__ may have renewed it
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
    except Exception:  # an object that it is computed from is not complete yet, or it cannot be computed at all
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
