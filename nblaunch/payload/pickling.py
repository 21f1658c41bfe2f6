"""`pack` and `unpack`: cloudpickle that preserves the notebook's globals, classes and exceptions."""

from __future__ import annotations

import contextlib
import io
import pickle
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from nblaunch.payload.exceptions import (
    LONGEST_REASON,
    ExceptionStandIn,
    relatives,
    shortened,
    stand_in,
    text_of,
    type_name,
    why,
)
from nblaunch.payload.hashes import all_renewed
from nblaunch.payload.packed import Packed, Parts, split
from nblaunch.payload.pickler import Pickler
from nblaunch.payload.receiving import receiving
from nblaunch.payload.views import Blocks

__all__ = ["NotRebuilt", "pack", "pack_exception", "pack_named", "unpack", "unpack_named"]


class NotRebuilt(Exception):
    """The code of an object's class fails when the object is rebuilt."""

    advice = "rebuild"


def pack(
    value: object,
    *,
    shared_globals: dict[str, Any] | None = None,
    provided: Mapping[str, object] = MappingProxyType({}),
    main_by_reference: bool = False,
    home_classes: frozenset[str] = frozenset(),
    to_cpu: bool = False,
    reducers: Mapping[type, Callable[[Any], Any]] = MappingProxyType({}),
) -> Packed:
    """Turn an object into bytes.

    Parameters
    ----------
    value : object
        Any object that cloudpickle can pickle, except open files and widgets: a copy of these would be wrong.
    shared_globals : dict, optional
        Functions with this dictionary as their globals get the dictionary given to `unpack` as their globals.
    provided : mapping of str to object
        Objects that the receiver has itself, under these names in its shared globals, such as ``get_ipython``.
    main_by_reference : bool
        Send functions and classes of ``__main__`` by name, as `multiprocessing` does, to a receiver that imports the
        same main module.
    home_classes : frozenset of str
        Tokens from `received_classes`, of classes that came from the receiver and are to be its own classes again.
    to_cpu : bool
        Send CUDA tensors as CPU tensors.
    reducers : mapping of type to callable
        How objects of exactly these classes are reduced; see `pickle.Pickler.dispatch_table`.

    Raises
    ------
    Exception
        Whatever the object's own pickling raises; mostly `pickle.PicklingError` or `TypeError`.
    """
    blocks: Blocks | None = None
    while True:
        pickler = Pickler(shared_globals, provided, main_by_reference, home_classes, to_cpu, blocks, reducers)
        try:
            pickler.dump(value)
            blocks = pickler.shared_memory()
            if blocks is None:
                return pickler.packed({}, ("",) if pickler.met_unusual else ())
        finally:
            pickler.let_go()


def pack_named(
    objects: Mapping[str, Any],
    *,
    shared_globals: dict[str, Any] | None = None,
    provided: Mapping[str, object] = MappingProxyType({}),
    home_classes: frozenset[str] = frozenset(),
    to_cpu: bool = False,
) -> Packed:
    """Turn several objects into bytes, for `unpack_named`; the result has the bytes of each.

    Objects that they share stay shared, and count for the first of them. For the other parameters see `pack`.

    Raises
    ------
    Exception
        Whatever the objects' own pickling raises.
    """
    blocks: Blocks | None = None
    while True:
        pickler = Pickler(shared_globals, provided, False, home_classes, to_cpu, blocks)
        try:
            sizes, unusual = _dump_named(pickler, objects)
            blocks = pickler.shared_memory()
            if blocks is None:
                return pickler.packed(sizes, unusual, pickler.for_return.notices(objects))
        finally:
            pickler.let_go()


def _dump_named(pickler: Pickler, objects: Mapping[str, Any]) -> tuple[dict[str, int], tuple[str, ...]]:
    """Pickle objects; then variables of ``__main__`` that they refer to, until there are no new ones."""
    pickler.dump({name: type(value).__name__ for name, value in objects.items()})
    sizes, unusual = {}, []
    for name, value in objects.items():
        before = pickler.size()
        pickler.dump_variable(name, value)
        sizes[name] = pickler.size() - before
        if pickler.met_unusual:
            unusual.append(name)
    while names := pickler.main_names.take():
        pickler.dump(names)
    pickler.dump({})
    return sizes, tuple(unusual)


def pack_exception(error: BaseException, *, home_classes: frozenset[str] = frozenset()) -> Packed:
    """Pack an exception with its causes, contexts and groups; replace what cannot be sent by an `ExceptionStandIn`.

    Each exception of a chain or group is tried on its own, so that one that cannot be sent does not affect the others.
    """

    def attempt(one: BaseException, instead: dict[int, BaseException]) -> Packed:
        pickler = Pickler(None, MappingProxyType({}), False, home_classes, True)
        pickler.instead = instead
        try:
            pickler.dump(one)
            packed = pickler.packed({})
        finally:
            pickler.let_go()
        # Many exceptions can be pickled but not rebuilt. The receiver could not say anything about them.
        unpack(bytearray(bytes(packed)))
        return packed

    try:
        return attempt(error, {})
    except BaseException as refusal:  # SystemExit too: the __reduce__ of any class may have raised it
        family = relatives(error)
        near, far = family[:_RELATIVES_KEPT], family[_RELATIVES_KEPT:]
        placeholders = {id(one): Exception() for one in family}
        instead: dict[int, BaseException] = {}
        for one in near:
            try:
                attempt(one, {key: empty for key, empty in placeholders.items() if key != id(one)})
            except BaseException as why_not:
                instead[id(one)] = stand_in(one, why_not)
        instead |= {
            id(one): ExceptionStandIn(type_name(one), text_of(one), "it is too far down the chain") for one in far
        }
        for chosen in (instead.get(id(error), error), stand_in(error, refusal)):
            with contextlib.suppress(BaseException):
                return attempt(chosen, instead)
        return pack(ExceptionStandIn(type_name(error), text_of(error), shortened(why(refusal), LONGEST_REASON)))


# Exceptions of a chain or groups that are sent if sending all fails, because pickling calls itself for each.
_RELATIVES_KEPT = 60


def unpack(data: Any, *, shared_globals: dict[str, Any] | None = None) -> Any:
    """Rebuild the object.

    Parameters
    ----------
    data : buffer or Parts
        The bytes of a `Packed`, or an element of what `split` or `Stored.parts` returned. Arrays are built on top of
        it, so they are writable only if it is.
    shared_globals : dict, optional
        The globals for functions that were packed with shared globals.

    Raises
    ------
    ValueError
        If `data` is not a `Packed`.
    Exception
        Whatever rebuilding the object raises.
    """
    stream, *buffers = _parts(data)
    with receiving(shared_globals), all_renewed():
        return pickle.loads(stream, buffers=buffers)


def unpack_named(
    data: Any,
    *,
    shared_globals: dict[str, Any] | None = None,
    main_names: dict[str, Any] | None = None,
    failed: Callable[[str, str, Exception], Exception] | None = None,
) -> dict[str, Any]:
    """Rebuild what `pack_named` has packed; see `unpack`.

    Parameters
    ----------
    main_names : dict, optional
        Is updated with variables that ``__main__`` must have, so that objects can be pickled by name again.
    failed : callable
        Gets the name of an object that cannot be rebuilt, the name of its type and the exception, and returns the
        exception to raise instead.
    """
    stream, *buffers = _parts(data)
    unpickler = pickle.Unpickler(io.BufferedReader(_Mapped(stream)), buffers=buffers)
    found = {}
    with receiving(shared_globals), all_renewed():
        for name, kind in unpickler.load().items():
            try:
                found[name] = unpickler.load()
            except Exception as error:
                if failed is None:
                    raise
                raise failed(name, kind, error) from error
        while names := unpickler.load():
            if main_names is not None:
                main_names.update(names)
    return found


class _Mapped(io.RawIOBase):
    """A file over a memory view. An `io.BytesIO` would copy the memory first, in every rank."""

    def __init__(self, data: Any) -> None:
        self._left = memoryview(data).cast("B")

    def readable(self) -> bool:
        return True

    def readinto(self, target: Any) -> int:
        count = min(len(target), len(self._left))
        target[:count] = self._left[:count]
        self._left = self._left[count:]
        return count


def _parts(data: Any) -> Parts:
    if isinstance(data, list):
        return data
    found = split(data)
    if not found:
        raise ValueError("these bytes are not a payload (there are none)")
    return found[0]
