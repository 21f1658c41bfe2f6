"""`pack` and `unpack`: cloudpickle, with the notebook's globals, classes and exceptions kept what they are."""

from __future__ import annotations

import builtins
import contextlib
import functools
import io
import pickle
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import CodeType, FunctionType, MappingProxyType, TracebackType
from typing import Any

import cloudpickle
from cloudpickle import cloudpickle as _tracker

from nblaunch.payload.arrays import array_type, arrow_types, reduce_array, reduce_arrow
from nblaunch.payload.exceptions import (
    LONGEST_REASON,
    ExceptionStandIn,
    reduce_exception,
    reduce_traceback,
    relatives,
    shortened,
    stand_in,
    text_of,
    type_name,
    why,
)
from nblaunch.payload.jax_arrays import jax_reducer
from nblaunch.payload.packed import Packed, Parts, split
from nblaunch.payload.process_groups import ForReturn
from nblaunch.payload.rules import is_memmap, reduce_cached_property, reduce_code, reduce_memmap, reduce_singledispatch
from nblaunch.payload.tensors import is_sparse, reduce_sparse, reduce_storage, storage_types

__all__ = ["pack", "pack_exception", "pack_named", "received_classes", "unpack", "unpack_named"]


def pack(
    value: object,
    *,
    shared_globals: dict[str, Any] | None = None,
    provided: Mapping[str, object] = MappingProxyType({}),
    main_by_reference: bool = False,
    home_classes: frozenset[str] = frozenset(),
    to_cpu: bool = False,
) -> Packed:
    """Turn an object into bytes.

    Parameters
    ----------
    value : object
        Anything that cloudpickle takes. Open files and notebook widgets are refused: a copy of them would be wrong.
    shared_globals : dict, optional
        Functions whose globals are this very dictionary get the dictionary given to `unpack` as their globals.
    provided : mapping of str to object
        Objects that the receiver has under the same names in its own shared globals, such as ``get_ipython``.
    main_by_reference : bool
        Refer to functions and classes of ``__main__`` by name, as `multiprocessing` does, for a receiver that
        imports the same main module.
    home_classes : frozenset of str
        What `received_classes` returned: classes that the receiver of these bytes knows already.
    to_cpu : bool
        Send CUDA tensors as CPU tensors.

    Raises
    ------
    Exception
        Whatever the object's own pickling raises; mostly `pickle.PicklingError` or `TypeError`.
    """
    pickler = _Pickler(shared_globals, provided, main_by_reference, home_classes, to_cpu)
    pickler.dump(value)
    return pickler.packed({})


def pack_named(
    objects: Mapping[str, Any],
    *,
    shared_globals: dict[str, Any] | None = None,
    provided: Mapping[str, object] = MappingProxyType({}),
    home_classes: frozenset[str] = frozenset(),
    to_cpu: bool = False,
) -> Packed:
    """Turn several objects into bytes, for `unpack_named`, and tell how many each of them takes.

    What the objects share stays shared, and counts for the first one. For the other parameters see `pack`.

    Raises
    ------
    Exception
        Whatever the objects' own pickling raises.
    """
    pickler = _Pickler(shared_globals, provided, False, home_classes, to_cpu)
    pickler.dump(tuple(objects))
    sizes = {}
    for name, value in objects.items():
        before = pickler.size()
        # one pickler, so that what it has met before is referred to
        pickler.dump(value)
        sizes[name] = pickler.size() - before
    return pickler.packed(sizes, pickler.for_return.notices(objects))


def pack_exception(error: BaseException, *, home_classes: frozenset[str] = frozenset()) -> Packed:
    """Pack an exception with all that belongs to it; what cannot be packed is replaced by an `ExceptionStandIn`.

    Each of a chain or a group is looked at on its own, so that one that cannot travel does not keep the others back.
    """

    def attempt(one: BaseException, instead: dict[int, BaseException]) -> Packed:
        pickler = _Pickler(None, MappingProxyType({}), False, home_classes, True)
        pickler.instead = instead
        pickler.dump(one)
        packed = pickler.packed({})
        # Many exceptions pickle but cannot be built again; this is the only place where that can still be told.
        unpack(bytearray(bytes(packed)))
        return packed

    try:
        return attempt(error, {})
    except BaseException as refusal:  # SystemExit too: __reduce__ may be anybody's
        family = relatives(error)
        near, far = family[:_RELATIVES_KEPT], family[_RELATIVES_KEPT:]
        nobody = {id(one): Exception() for one in family}
        instead: dict[int, BaseException] = {}
        for one in near:
            try:
                attempt(one, {key: empty for key, empty in nobody.items() if key != id(one)})
            except BaseException as why_not:
                instead[id(one)] = stand_in(one, why_not)
        instead |= {
            id(one): ExceptionStandIn(type_name(one), text_of(one), "it is too far down the chain") for one in far
        }
        for chosen in (instead.get(id(error), error), stand_in(error, refusal)):
            with contextlib.suppress(BaseException):
                return attempt(chosen, instead)
        return pack(ExceptionStandIn(type_name(error), text_of(error), shortened(why(refusal), LONGEST_REASON)))


# Exceptions of a chain or in groups that are sent, if they are so many that they cannot be sent all: pickling nests.
_RELATIVES_KEPT = 60


def unpack(data: Any, *, shared_globals: dict[str, Any] | None = None) -> Any:
    """Build the object again.

    Parameters
    ----------
    data : buffer or Parts
        What `Packed` wrote, or one element of what `split` or `Stored.parts` returned. Arrays are built on top of
        it, so it must be writable if they shall be.
    shared_globals : dict, optional
        Becomes the globals of the functions that were packed with shared globals.

    Raises
    ------
    ValueError
        If `data` is not what `Packed` wrote.
    Exception
        Whatever building the object raises.
    """
    stream, *buffers = _parts(data)
    with _receiving(shared_globals):
        return pickle.loads(stream, buffers=buffers)


def unpack_named(data: Any, *, shared_globals: dict[str, Any] | None = None) -> dict[str, Any]:
    """Build what `pack_named` has packed again; see `unpack`."""
    stream, *buffers = _parts(data)
    unpickler = pickle.Unpickler(io.BytesIO(stream), buffers=buffers)
    with _receiving(shared_globals):
        return {name: unpickler.load() for name in unpickler.load()}


def _parts(data: Any) -> Parts:
    if isinstance(data, list):
        return data
    found = split(data)
    if not found:
        raise ValueError("these bytes are not a payload (there are none)")
    return found[0]


def received_classes() -> frozenset[str]:
    """Tell which classes have come from elsewhere by value, as tokens for `pack`'s `home_classes`."""
    with _tracker._DYNAMIC_CLASS_TRACKER_LOCK:
        return frozenset(_tracker._DYNAMIC_CLASS_TRACKER_BY_CLASS.values())


class _Pickler(cloudpickle.Pickler):
    def __init__(
        self,
        shared_globals: dict[str, Any] | None,
        provided: Mapping[str, object],
        main_by_reference: bool,
        home_classes: frozenset[str],
        to_cpu: bool,
    ) -> None:
        self._stream = io.BytesIO()
        self._buffers: list[memoryview] = []
        self._outside = 0
        super().__init__(self._stream, protocol=5, buffer_callback=self._keep_out_of_band)
        if shared_globals is not None:
            # cloudpickle asks this table which dictionary stands for a function's globals
            self.globals_ref[id(shared_globals)] = _SHARED_GLOBALS
        self._provided = {id(thing): name for name, thing in provided.items()}
        self._main_by_reference = main_by_reference
        self._home_classes = home_classes
        self._to_cpu = to_cpu
        self._storages: dict[int, Any] = {}
        # asked once: what is not imported has no objects
        self._arrays, self._arrow, self._torch = array_type(), arrow_types(), storage_types()
        self.for_return = ForReturn()
        self._notices: list[str] = []
        self._reducers: dict[type, Callable[[Any], Any] | None] = {}
        self._filenames: set[str] = set()
        # exceptions by id that others are sent for
        self.instead: Mapping[int, BaseException] = {}

    def packed(self, sizes: dict[str, int], notices: tuple[str, ...] = ()) -> Packed:
        """Return all that was dumped."""
        told = tuple(dict.fromkeys([*self._notices, *notices]))
        return Packed(self._stream.getvalue(), self._buffers, self._filenames, sizes, told)

    def size(self) -> int:
        """Return how many bytes there are so far, in the stream and out of it."""
        return self._stream.tell() + self._outside

    def _keep_out_of_band(self, buffer: pickle.PickleBuffer) -> None:
        view = buffer.raw()
        self._outside += view.nbytes
        self._buffers.append(view)

    def reducer_override(self, obj: Any) -> Any:
        kind = type(obj)
        if id(obj) in self._provided:
            return _provided_here, (self._provided[id(obj)],)
        if kind not in self._reducers:
            returned = self.for_return.reducer(kind) if self._to_cpu else None
            self._reducers[kind] = returned or jax_reducer(kind, self._notices.append)
        reduce = self._reducers[kind]
        reduced = None if reduce is None else reduce(obj)
        if reduced is not None:
            return reduced
        if kind in _RULES:
            return _RULES[kind](obj)
        if kind is FunctionType:
            if hasattr(obj, "registry") and hasattr(obj, "_clear_cache"):
                return reduce_singledispatch(obj)
            if self._is_named_in_main(obj):
                return NotImplemented
            self._filenames.add(obj.__code__.co_filename)
        elif issubclass(kind, type):
            if self._is_named_in_main(obj):
                return NotImplemented
            token = _tracker._DYNAMIC_CLASS_TRACKER_BY_CLASS.get(obj) if self._home_classes else None
            if token in self._home_classes:
                return _class_at_home, (token,)
        elif issubclass(kind, BaseException):
            return reduce_exception(self.instead.get(id(obj), obj))
        elif kind is TracebackType:
            return reduce_traceback(obj)
        elif issubclass(kind, io.IOBase):
            return self._reduce_stream(obj)
        elif issubclass(kind, self._arrays):
            reduced = (is_memmap(kind) and reduce_memmap(obj)) or reduce_array(obj)
            return NotImplemented if reduced is None else reduced
        elif issubclass(kind, self._arrow):
            return reduce_arrow(obj) or NotImplemented
        elif issubclass(kind, self._torch):
            return reduce_storage(obj, self._storages, self._to_cpu) or NotImplemented
        elif self._torch and is_sparse(obj):
            return reduce_sparse(obj)
        elif _is_widget(kind):
            raise pickle.PicklingError(f"cannot pickle the widget '{kind.__name__}': it lives in the notebook")
        return super().reducer_override(obj)

    def _is_named_in_main(self, obj: Any) -> bool:
        if not self._main_by_reference or obj.__module__ != "__main__":
            return False
        found: Any = sys.modules["__main__"]
        for name in obj.__qualname__.split("."):
            found = getattr(found, name, None)
        return found is obj

    def _reduce_stream(self, stream: io.IOBase) -> Any:
        for name in ("stdin", "stdout", "stderr"):
            if stream in (getattr(sys, name), getattr(sys, f"__{name}__")):
                return getattr, (sys, name)
        if isinstance(stream, (io.StringIO, io.BytesIO)):
            return super().reducer_override(stream)
        # cloudpickle would silently send a copy of the file's contents
        raise pickle.PicklingError(f"cannot pickle the open file '{getattr(stream, 'name', type(stream).__name__)}'")


_RULES: dict[type, Callable[[Any], Any]] = {CodeType: reduce_code}
if sys.version_info < (3, 12):
    _RULES[functools.cached_property] = reduce_cached_property


class _SharedGlobals:
    """Pickles to a call of `_globals_here`."""

    def __reduce__(self) -> Any:
        return _globals_here, ()


_SHARED_GLOBALS = _SharedGlobals()
_receiver = threading.local()


@contextmanager
def _receiving(shared_globals: dict[str, Any] | None) -> Iterator[None]:
    before = getattr(_receiver, "shared_globals", None)
    _receiver.shared_globals = shared_globals
    try:
        yield
    finally:
        _receiver.shared_globals = before


def _globals_here() -> dict[str, Any]:
    here: dict[str, Any] | None = _receiver.shared_globals
    # a receiver without a namespace of its own still gets one dictionary for all functions of the payload
    if here is None:
        here = _receiver.shared_globals = {"__builtins__": builtins}
    return here


def _provided_here(name: str) -> Any:
    return _globals_here()[name]


def _class_at_home(token: str) -> type:
    try:
        home: type = _tracker._DYNAMIC_CLASS_TRACKER_BY_ID[token]
    except KeyError:
        raise pickle.UnpicklingError(
            "the class of this object was removed from the notebook while the ranks ran"
        ) from None
    return home


def _is_widget(kind: type) -> bool:
    # by name, so that nothing of ipywidgets is imported to tell that there is none
    return any(
        base.__name__ in {"Widget", "AnyWidget"} and base.__module__.startswith(("ipywidgets.", "anywidget."))
        for base in kind.__mro__
    )
