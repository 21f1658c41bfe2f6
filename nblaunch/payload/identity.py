"""Tokens by which two processes know the same object, so that it comes back as the object that was sent.

They stand in cloudpickle's table of the classes that it has sent or received. Here, it is used for all objects that are
sent by value and have an identity: classes, cached functions, type variables, singletons.
"""

from __future__ import annotations

import pickle
from typing import Any, TypeVar

from cloudpickle import cloudpickle as _tracker

__all__ = ["at_home", "lookup", "received_classes", "token_if_known", "token_of", "tracked", "tracked_anew"]

_T = TypeVar("_T")


def token_of(obj: Any) -> str | None:
    """Return the token of an object, a new one if it has none; None for an object that cannot have a token."""
    try:
        token: str = _tracker._get_or_create_tracker_id(obj)
    except TypeError:  # it cannot be hashed, or has no weak references
        return None
    return token


def token_if_known(obj: Any) -> str | None:
    """Return the token that an object has already, or None."""
    try:
        token: str | None = _tracker._DYNAMIC_CLASS_TRACKER_BY_CLASS.get(obj)
    except TypeError:
        return None
    return token


def lookup(token: str | None) -> Any:
    """Return the object of a token in this process, or None."""
    return None if token is None else _tracker._DYNAMIC_CLASS_TRACKER_BY_ID.get(token)


def tracked(token: str | None, made: _T) -> _T:
    """Return the object that this process has for the token; if there is none, `made`, which then has the token."""
    if token is None:
        return made
    kept: _T = _tracker._lookup_class_or_track(token, made)
    return kept


def tracked_anew(token: str | None, made: _T) -> _T:
    """Give an object the token, also if another object had it in this process, and return the object."""
    if token is not None:
        with _tracker._DYNAMIC_CLASS_TRACKER_LOCK:
            _tracker._DYNAMIC_CLASS_TRACKER_BY_ID[token] = made
            _tracker._DYNAMIC_CLASS_TRACKER_BY_CLASS[made] = token
    return made


def received_classes() -> frozenset[str]:
    """Return the tokens of all objects that were sent or received by value, for `home_classes` of `pack`."""
    with _tracker._DYNAMIC_CLASS_TRACKER_LOCK:
        return frozenset(_tracker._DYNAMIC_CLASS_TRACKER_BY_CLASS.values())


def at_home(token: str) -> Any:
    """Return the object of a token in the process that it came from.

    Raises
    ------
    pickle.UnpicklingError
        If it is gone.
    """
    home = lookup(token)
    if home is None:
        raise pickle.UnpicklingError("the class of this object was removed from the notebook while the ranks ran")
    return home
