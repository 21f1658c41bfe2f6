"""Objects that pickle themselves as a name that the receiver cannot find.

The `__reduce__` of functions with `functools.lru_cache`, type variables, `typing.NewType` and singletons of the user
returns the name of a variable of ``__main__``. They are sent by value instead, with a token, so that they come back as
the same objects.
"""

from __future__ import annotations

import contextlib
import functools
import pickle
import sys
import typing
from collections.abc import Callable
from types import BuiltinFunctionType
from typing import Any

from nblaunch.payload import identity
from nblaunch.payload.attributes import follow, held_by, hold
from nblaunch.payload.classes import c_level
from nblaunch.payload.receiving import writes_over

__all__ = [
    "CACHED_FUNCTION",
    "by_value",
    "found_by_name",
    "is_of_typing",
    "named_with_module",
    "reduce_cached_function",
]

CACHED_FUNCTION = type(functools.lru_cache(lambda: None))


def found_by_name(obj: Any, name: str, module: str | None) -> bool:
    """Tell whether this name leads to this object in a module that the receiver can import."""
    if module is None or module == "__main__":
        return False
    return follow(sys.modules.get(module), name.split(".")) is obj


def named_with_module(obj: Any, name: str) -> tuple[str, str] | None:
    """Return module and name of an object that pickles itself as both, as ``torch.channels_last`` does.

    Pickle would look for the dotted name in all modules that have a variable ``torch``, and choose the notebook.
    """
    module, _, attribute = name.rpartition(".")
    holder = sys.modules.get(module)
    return (module, attribute) if holder is not None and getattr(holder, attribute, None) is obj else None


def reduce_cached_function(function: Any) -> Any:
    """Return how to rebuild a function with `functools.lru_cache`; its cache begins empty."""
    settings = function.cache_parameters()
    state = {name: value for name, value in vars(function).items() if name != "cache_parameters"}
    args = (function.__wrapped__, settings["maxsize"], settings["typed"], identity.token_of(function))
    return _cached_function, args, state


def _cached_function(function: Any, maxsize: int | None, typed: bool, token: str | None) -> Any:
    if writes_over():
        # a fork has the notebook's function already, but with the notebook's globals
        return identity.tracked_anew(token, functools.lru_cache(maxsize, typed)(function))
    known = identity.lookup(token)
    return identity.tracked(token, functools.lru_cache(maxsize, typed)(function)) if known is None else known


def is_of_typing(kind: type) -> bool:
    """Tell whether this is a class of `typing` whose instances pickle themselves by their name."""
    return (kind.__module__, kind.__name__) in _MAKERS


def by_value(obj: Any, name: str) -> Any:
    """Return how to rebuild an object that would be pickled as this name.

    Raises
    ------
    pickle.PicklingError
        If its class is written in C, so that nothing tells what it consists of.
    """
    kind = type(obj)
    maker = _MAKERS.get((kind.__module__, kind.__name__))
    if maker is not None:
        args, keywords = maker(obj)
        module = getattr(obj, "__module__", None)
        return _typing_object, (kind, args, keywords, module, identity.token_of(obj))
    new = c_level(kind, "__new__", BuiltinFunctionType)
    if new is not object.__new__ or not hasattr(kind, "__dict__"):
        raise pickle.PicklingError(f"cannot pickle the '{kind.__name__}' that pickles itself as the name {name!r}")
    return _singleton, (kind, identity.token_of(obj)), held_by(obj), None, None, hold


def _typing_object(kind: Any, args: tuple[Any, ...], keywords: dict[str, Any], module: Any, token: str | None) -> Any:
    known = identity.lookup(token)
    if known is not None:
        return known
    made = kind(*args, **keywords)
    with contextlib.suppress(AttributeError, TypeError):  # an alias of Python 3.12 has the module of the calling frame
        made.__module__ = module
    return identity.tracked(token, made)


def _variance(obj: Any) -> dict[str, Any]:
    found = {"covariant": obj.__covariant__, "contravariant": obj.__contravariant__}
    if getattr(obj, "__infer_variance__", False):
        found = {"infer_variance": True}
    return found


def _default(obj: Any) -> dict[str, Any]:
    # Python 3.13
    return {"default": obj.__default__} if getattr(obj, "has_default", bool)() else {}


def _parameters(obj: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    return (obj.__name__,), {"bound": obj.__bound__, **_variance(obj), **_default(obj)}


def _type_variable(obj: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    bound = {} if obj.__constraints__ else {"bound": obj.__bound__}
    return (obj.__name__, *obj.__constraints__), {**bound, **_variance(obj), **_default(obj)}


def _alias(obj: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    return (obj.__name__, obj.__value__), {"type_params": obj.__type_params__}


_Maker = Callable[[Any], tuple[tuple[Any, ...], dict[str, Any]]]
_KINDS: dict[str, _Maker] = {
    "TypeVar": _type_variable,
    "ParamSpec": _parameters,
    "TypeVarTuple": lambda obj: ((obj.__name__,), _default(obj)),
    "NewType": lambda obj: ((obj.__name__, obj.__supertype__), {}),
    "TypeAliasType": _alias,
}
_MAKERS: dict[tuple[str, str], _Maker] = {
    (module, name): maker for module in (typing.__name__, "typing_extensions") for name, maker in _KINDS.items()
}


def _singleton(kind: type, token: str | None) -> Any:
    known = identity.lookup(token)
    return identity.tracked(token, object.__new__(kind)) if known is None else known
