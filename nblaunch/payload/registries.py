"""Registries of libraries: a class or function that is registered in the notebook is also registered in the ranks.

JAX and torch have tables of classes that are containers ("pytrees"), and `typing` has one of overloads. A rebuilt class
would not be in them, and for example ``jax.tree.leaves(thing)`` would return ``[thing]``.
"""

from __future__ import annotations

import dataclasses
import operator
import sys
import typing
from collections.abc import Callable
from functools import partial
from types import FunctionType
from typing import Any

__all__ = ["register", "registrations_of", "with_overloads"]

# How a class is registered: a function, and its arguments after the class.
_Registration = tuple[Callable[..., object], tuple[Any, ...]]


def registrations_of(kind: type) -> list[_Registration]:
    """Return how to register a class in another process; no library is imported for it."""
    jax, torch = sys.modules.get("jax._src.tree_util"), sys.modules.get("torch.utils._pytree")
    found = [] if jax is None else _in_jax(jax, kind)
    return found if torch is None else found + _in_torch(torch, kind)


def register(kind: type, registrations: list[_Registration]) -> None:
    """Register a class that was rebuilt."""
    for function, args in registrations:
        function(kind, *args)


def _in_jax(module: Any, kind: type) -> list[_Registration]:
    entry = getattr(module, "_registry", {}).get(kind)
    if entry is None:
        return []
    flatten, unflatten = entry
    # JAX keeps only these two functions; the other arguments of the registration are in their closures
    known = _closure(flatten)
    if "data_fields" in known and "meta_fields" in known:
        data, static = known["data_fields"], known["meta_fields"]
        initial = [one.name for one in dataclasses.fields(kind) if one.init] if dataclasses.is_dataclass(kind) else []
        dropped = tuple(name for name in initial if name not in data and name not in static)
        return [(_register_dataclass_in_jax, (tuple(data), tuple(static), dropped))]
    with_keys = known.get("flatten_with_keys")
    if with_keys is not None:
        return [(_register_in_jax, (None, unflatten, with_keys))]
    return [(_register_in_jax, (flatten, unflatten, _with_keys(kind, flatten)))]


def _closure(function: Any) -> dict[str, Any]:
    if not isinstance(function, FunctionType) or function.__closure__ is None:
        return {}
    return dict(zip(function.__code__.co_freevars, (cell.cell_contents for cell in function.__closure__), strict=True))


def _with_keys(kind: type, flatten: Any) -> Any:
    """Return the function that flattens a container with keys; None if it is not known."""
    if isinstance(flatten, operator.methodcaller) and hasattr(kind, "tree_flatten_with_keys"):
        return operator.methodcaller("tree_flatten_with_keys")
    if isinstance(flatten, partial) and flatten.keywords.get("with_keys") is False:
        # equinox does this for all its modules
        return partial(flatten.func, *flatten.args, **{**flatten.keywords, "with_keys": True})
    return None


def _register_in_jax(kind: type, flatten: Any, unflatten: Any, with_keys: Any) -> None:
    from jax import tree_util

    if _is_new_to_jax(kind):
        if with_keys is None:
            tree_util.register_pytree_node(kind, flatten, unflatten)
        else:
            tree_util.register_pytree_with_keys(kind, with_keys, unflatten, flatten)


def _register_dataclass_in_jax(
    kind: type, data: tuple[str, ...], static: tuple[str, ...], dropped: tuple[str, ...]
) -> None:
    from jax import tree_util

    if _is_new_to_jax(kind):
        # older versions have no argument `drop_fields`
        more = {"drop_fields": dropped} if dropped else {}
        tree_util.register_dataclass(kind, data, static, **more)


def _is_new_to_jax(kind: type) -> bool:
    return kind not in getattr(sys.modules.get("jax._src.tree_util"), "_registry", {})


_TORCH_NAMES = ("serialized_type_name", "to_dumpable_context", "from_dumpable_context")


def _in_torch(module: Any, kind: type) -> list[_Registration]:
    node = getattr(module, "SUPPORTED_NODES", {}).get(kind)
    if node is None:
        return []
    if kind in getattr(module, "CONSTANT_NODES", ()):
        return [(_register_in_torch, ("register_constant", (), {}))]
    how = getattr(module, "SUPPORTED_SERIALIZED_TYPES", {}).get(kind)
    keywords = {name: value for name in _TORCH_NAMES if (value := getattr(how, name, None)) is not None}
    if keywords.get("serialized_type_name") == getattr(module, "NO_SERIALIZED_TYPE_NAME_FOUND", ""):
        del keywords["serialized_type_name"]
    with_keys = getattr(node, "flatten_with_keys_fn", None)
    if with_keys is not None:
        keywords["flatten_with_keys_fn"] = with_keys
    return [(_register_in_torch, ("register_pytree_node", (node.flatten_fn, node.unflatten_fn), keywords))]


def _register_in_torch(kind: type, function: str, args: tuple[Any, ...], keywords: dict[str, Any]) -> None:
    from torch.utils import _pytree

    if kind not in _pytree.SUPPORTED_NODES:
        getattr(_pytree, function)(kind, *args, **keywords)


def with_overloads(function: FunctionType, reduced: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return how to rebuild a function with its overloads (`typing.overload`)."""
    # Python 3.11
    noted = getattr(typing, "_overload_registry", {}).get(function.__module__, {}).get(function.__qualname__, {})
    overloads = list(noted.values())
    if not overloads or any(getattr(one, "__func__", one) is function for one in overloads):
        return reduced
    make, args, state, items, pairs, setter = reduced
    return make, args, (state, overloads, setter), items, pairs, _set_with_overloads


def _set_with_overloads(function: FunctionType, state: tuple[Any, list[Any], Callable[..., object]]) -> None:
    of_function, overloads, setter = state
    setter(function, of_function)
    for one in overloads:
        typing.overload(one)
