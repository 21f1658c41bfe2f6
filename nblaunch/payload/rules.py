"""Reducers for objects of Python's own that cloudpickle refuses, or sends in another form."""

from __future__ import annotations

import contextlib
import copyreg
import ctypes
import functools
import gc
import weakref
from collections import OrderedDict
from collections.abc import Callable
from types import CodeType, MappingProxyType
from typing import Any

import cloudpickle

__all__ = [
    "DICTIONARY_VIEWS",
    "WEAK_DICTIONARIES",
    "new_in_disguise",
    "reduce_cached_property",
    "reduce_code",
    "reduce_dictionary_view",
    "reduce_in_disguise",
    "reduce_mapping_proxy",
    "reduce_memoryview",
    "reduce_singledispatch",
    "reduce_singledispatchmethod",
    "reduce_weak_dictionary",
]

WEAK_DICTIONARIES = (weakref.WeakValueDictionary, weakref.WeakKeyDictionary)
"""Mostly registries. Their objects are sent too, and stay in the receiver as long as another object refers to them."""


def reduce_cached_property(prop: functools.cached_property[Any]) -> Any:
    """Return how to rebuild a `functools.cached_property`; up to Python 3.11 it holds a lock."""
    return _cached_property, (prop.func, prop.attrname)


def _cached_property(function: Callable[[Any], Any], name: str | None) -> functools.cached_property[Any]:
    prop = functools.cached_property(function)
    prop.attrname = name
    return prop


def reduce_code(code: CodeType) -> Any:
    """Return how to rebuild a code object under the name of its own file.

    cloudpickle 3.1.3 puts ``<dynamic-code>`` in its place, and then tracebacks do not show the lines of the notebook.
    """
    function, args, *_ = cloudpickle.Pickler.dispatch_table[CodeType](code)
    return _code, (function, args, code.co_filename)


def _code(function: Callable[..., CodeType], args: tuple[Any, ...], filename: str) -> CodeType:
    return function(*args).replace(co_filename=filename)


def reduce_singledispatch(function: Any) -> Any:
    """Return how to rebuild a `functools.singledispatch` function; its cache holds weak references."""
    return _singledispatch, (list(function.registry.items()),)


def _singledispatch(registry: list[tuple[type, Callable[..., Any]]]) -> Any:
    implementations = dict(registry)
    function = functools.singledispatch(implementations.pop(object))
    for kind, implementation in implementations.items():
        function.register(kind, implementation)
    return function


def reduce_singledispatchmethod(method: functools.singledispatchmethod[Any]) -> Any:
    """Return how to rebuild a `functools.singledispatchmethod`.

    In Python 3.13 its cache holds each object that it was called for, and with a class, all of them would be sent.
    """
    state = dict(vars(method))
    if state.get("_method_cache") is not None:
        state["_method_cache"] = weakref.WeakKeyDictionary()
    return copyreg.__newobj__, (type(method),), state  # type: ignore[attr-defined]  # typeshed leaves it out


def reduce_weak_dictionary(mapping: Any) -> Any:
    """Return how to rebuild a dictionary of weak references."""
    return type(mapping), (), None, None, iter(list(mapping.items()))


DICTIONARY_VIEWS: tuple[type, ...] = tuple(
    type(getattr(empty, name)()) for empty in (dict[Any, Any](), OrderedDict()) for name in ("keys", "values", "items")
)
"""Classes of the results of `dict.keys`, `dict.values` and `dict.items`."""


def reduce_dictionary_view(view: Any) -> Any:
    """Return how to rebuild a view of a dictionary as a view, which follows later changes."""
    name = type(view).__name__.removeprefix("dict_").removeprefix("odict_")
    return getattr(_behind(view.mapping), name), ()


def reduce_mapping_proxy(proxy: Any) -> Any:
    """Return how to rebuild a `types.MappingProxyType`, so that it follows later changes of its dictionary."""
    mapping = _behind(proxy)
    # the attributes of a class belong to the class, so they are copied
    return MappingProxyType, (dict(proxy) if "__module__" in proxy and "__dict__" in proxy else mapping,)


def _behind(proxy: Any) -> Any:
    """Return the object behind a `types.MappingProxyType`; Python has no other way to get it."""
    return gc.get_referents(proxy)[0]


def reduce_in_disguise(obj: Any) -> Any:
    """Return how to rebuild an object whose ``__class__`` is another class, as with proxies; pickle would refuse."""
    function, args, *rest = obj.__reduce_ex__(4)
    return (new_in_disguise if function is copyreg.__newobj__ else function, args, *rest)  # type: ignore[attr-defined]


def new_in_disguise(kind: Any, *args: Any) -> Any:
    """Make an object of this class, as `copyreg.__newobj__` does."""
    return kind.__new__(kind, *args)


def reduce_memoryview(view: memoryview) -> Any:
    """Return how to rebuild a memoryview, of which cloudpickle sends only the bytes.

    A writable view of a `bytearray`, `array.array` or NumPy array stays a view of that object.
    """
    base = view.obj
    if type(base).__name__ in ("bytearray", "array", "ndarray") and not view.readonly:
        with contextlib.suppress(TypeError, ValueError):  # an empty view, or a base that is not contiguous
            return _view_of, (base, *_place(view, base), view.format, view.shape)
    data = view.tobytes()
    return _view, (data if view.readonly else bytearray(data), view.format, view.shape)


def _place(view: memoryview, base: Any) -> tuple[int, int, int]:
    """Return where the bytes of a view begin and end in its base, and the step from one element to the next."""
    (stride, *_), (length, *_) = view.strides or (1,), view.shape or (1,)
    strided = not view.c_contiguous and view.ndim == 1
    seen = view[:1] if strided else view
    begin, first = (ctypes.addressof(ctypes.c_char.from_buffer(one)) for one in (base, seen))
    if not strided:
        return first - begin, first - begin + view.nbytes, 1
    last = first + (length - 1) * stride
    return min(first, last) - begin, max(first, last) - begin + view.itemsize, stride // view.itemsize


def _view_of(base: Any, begin: int, end: int, step: int, form: str, shape: tuple[int, ...]) -> memoryview:
    part = memoryview(base).cast("B")[begin:end]
    return _view(part, form, shape) if step == 1 else part.cast(form)[::step]  # type: ignore[call-overload]


def _view(data: bytes | bytearray | memoryview, form: str, shape: tuple[int, ...]) -> memoryview:
    flat: Any = memoryview(data)
    shaped: memoryview = flat if form == "B" and len(shape) == 1 else flat.cast(form, list(shape))
    return shaped
