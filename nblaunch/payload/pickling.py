"""`pack` and `unpack`: cloudpickle, with the notebook's globals, classes and exceptions kept what they are."""

from __future__ import annotations

import contextlib
import functools
import io
import pickle
import sys
from collections.abc import Callable, Iterator, Mapping
from types import CodeType, FunctionType, MappingProxyType, ModuleType, TracebackType
from typing import Any

import cloudpickle
from cloudpickle import cloudpickle as _tracker

from nblaunch.payload import identity
from nblaunch.payload.arrays import array_type, arrow_types, is_plain_array, reduce_array, reduce_arrow
from nblaunch.payload.classes import attributes_of, reduce_class
from nblaunch.payload.enums import is_enumeration, reduce_member
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
from nblaunch.payload.functions import ModuleGlobals, globals_of_module
from nblaunch.payload.main_names import MainNames
from nblaunch.payload.memory_maps import is_memmap, reduce_memmap
from nblaunch.payload.module_values import ModuleValues
from nblaunch.payload.modules import reduce_module
from nblaunch.payload.named import CACHED_FUNCTION, by_value, found_by_name, reduce_cached_function
from nblaunch.payload.packed import Packed, Parts, split
from nblaunch.payload.receiving import SHARED_GLOBALS, provided_here, receiving
from nblaunch.payload.rules import (
    WEAK_DICTIONARIES,
    reduce_cached_property,
    reduce_code,
    reduce_in_disguise,
    reduce_singledispatch,
    reduce_weak_dictionary,
)
from nblaunch.payload.tensors import is_sparse, reduce_sparse, reduce_storage, storage_types, tensor_type
from nblaunch.payload.unusual import is_unusual
from nblaunch.payload.views import Blocks, SeenArrays

__all__ = ["NotRebuilt", "pack", "pack_exception", "pack_named", "unpack", "unpack_named"]


class NotRebuilt(Exception):
    """An object has arrived, and its own code fails when it is rebuilt."""

    advice = "rebuild"


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
    blocks: Blocks | None = None
    while True:
        pickler = _Pickler(shared_globals, provided, main_by_reference, home_classes, to_cpu, blocks)
        pickler.dump(value)
        blocks = pickler.shared_memory()
        if blocks is None:
            return pickler.packed({}, ("",) if pickler.met_unusual else ())


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
    blocks: Blocks | None = None
    while True:
        pickler = _Pickler(shared_globals, provided, False, home_classes, to_cpu, blocks)
        sizes, unusual = _dump_named(pickler, objects)
        blocks = pickler.shared_memory()
        if blocks is None:
            return pickler.packed(sizes, unusual)


def _dump_named(pickler: _Pickler, objects: Mapping[str, Any]) -> tuple[dict[str, int], tuple[str, ...]]:
    """Dump objects, and then what has a name in ``__main__`` among all that came along, until nothing new does."""
    pickler.dump({name: type(value).__name__ for name, value in objects.items()})
    sizes, unusual = {}, []
    for name, value in objects.items():
        before = pickler.size()
        pickler.met_unusual = False
        # one pickler, so that what it has met before is referred to
        pickler.dump(value)
        sizes[name] = pickler.size() - before
        if pickler.met_unusual:
            unusual.append(name)
    while names := pickler.main_names.take():
        pickler.dump(names)
    pickler.dump({})
    return sizes, tuple(unusual)


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
    with receiving(shared_globals):
        return pickle.loads(stream, buffers=buffers)


def unpack_named(
    data: Any,
    *,
    shared_globals: dict[str, Any] | None = None,
    main_names: dict[str, Any] | None = None,
    failed: Callable[[str, str, Exception], Exception] | None = None,
) -> dict[str, Any]:
    """Build what `pack_named` has packed again; see `unpack`.

    Parameters
    ----------
    main_names : dict, optional
        Gets what is to be found by its name in ``__main__``.
    failed : callable
        Gets the name of an object that cannot be built, the name of its type and the exception, and returns what is
        raised instead.
    """
    stream, *buffers = _parts(data)
    unpickler = pickle.Unpickler(io.BytesIO(stream), buffers=buffers)
    found = {}
    with receiving(shared_globals):
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


def _parts(data: Any) -> Parts:
    if isinstance(data, list):
        return data
    found = split(data)
    if not found:
        raise ValueError("these bytes are not a payload (there are none)")
    return found[0]


class _Pickler(cloudpickle.Pickler):
    def __init__(
        self,
        shared_globals: dict[str, Any] | None,
        provided: Mapping[str, object],
        main_by_reference: bool,
        home_classes: frozenset[str],
        to_cpu: bool,
        blocks: Blocks | None = None,
    ) -> None:
        self._stream = io.BytesIO()
        self._buffers: list[memoryview] = []
        self._outside = 0
        super().__init__(self._stream, protocol=5, buffer_callback=self._keep_out_of_band)
        if shared_globals is not None:
            # cloudpickle asks this table which dictionary stands for a function's globals
            self.globals_ref[id(shared_globals)] = SHARED_GLOBALS
        self._provided = {id(thing): name for name, thing in provided.items()}
        self._main_by_reference = main_by_reference
        self._home_classes = home_classes
        self._to_cpu = to_cpu
        self._storages: dict[int, Any] = {}
        # asked once: what is not imported has no objects
        self._arrays, self._arrow, self._torch = array_type(), arrow_types(), storage_types()
        self._seen_arrays = SeenArrays()
        self._blocks = blocks
        self._module_values = ModuleValues()
        self._filenames: set[str] = set()
        self._reducers: dict[type, Callable[[Any], Any] | None] = {}
        self.main_names = MainNames(shared_globals)
        # exceptions by id that others are sent for
        self.instead: Mapping[int, BaseException] = {}
        # whether an object was met whose class says itself how it is taken apart or rebuilt
        self.met_unusual = False

    def packed(self, sizes: dict[str, int], unusual: tuple[str, ...] = ()) -> Packed:
        """Return all that was dumped."""
        return Packed(self._stream.getvalue(), self._buffers, self._filenames, sizes, unusual=unusual)

    def size(self) -> int:
        """Return how many bytes there are so far, in the stream and out of it."""
        return self._stream.tell() + self._outside

    def shared_memory(self) -> Blocks | None:
        """Return the memory that several of the arrays lie on; None if there is none, or it was seen to."""
        return self._seen_arrays.shared() if self._blocks is None else None

    def _keep_out_of_band(self, buffer: pickle.PickleBuffer) -> None:
        view = buffer.raw()
        self._outside += view.nbytes
        self._buffers.append(view)

    def reducer_override(self, obj: Any) -> Any:
        if id(obj) in self._provided:
            return provided_here, (self._provided[id(obj)],)
        kind = type(obj)
        try:
            reduce = self._reducers[kind]
        except KeyError:
            reduce = self._reducers[kind] = self._reducer(kind)
        return NotImplemented if reduce is None else reduce(obj)

    def _reducer(self, kind: type) -> Callable[[Any], Any] | None:
        """Return how objects of a class are reduced; None for pickle's own way, or cloudpickle's."""
        for base, reduce in self._ways():
            if issubclass(kind, base):
                return reduce
        if kind in _RULES:
            return _RULES[kind]
        if _is_widget(kind):
            return _refuse_widget
        if kind in self.dispatch_table:
            return None
        by_reference = _tracker._should_pickle_by_reference(kind)
        if is_enumeration(kind):
            return None if by_reference else self._reduce_member
        if not by_reference and is_unusual(kind):
            return self._reduce_unusual
        if ModuleValues.may_hold(kind):
            return self._reduce_identity
        return self._reduce_own if _reduces_itself(kind) else None

    def _ways(self) -> Iterator[tuple[Any, Callable[[Any], Any]]]:
        yield FunctionType, self._reduce_function
        yield type, self._reduce_class
        yield BaseException, lambda error: reduce_exception(self.instead.get(id(error), error))
        yield TracebackType, reduce_traceback
        yield io.IOBase, self._reduce_stream
        yield self._arrays, self._reduce_array
        yield self._arrow, lambda array: reduce_arrow(array) or NotImplemented
        yield self._torch, self._reduce_storage
        yield ModuleType, self._reduce_module
        yield CACHED_FUNCTION, self._reduce_cached_function
        yield WEAK_DICTIONARIES, reduce_weak_dictionary
        if self._torch:
            yield tensor_type(), self._reduce_tensor

    def _reduce_function(self, function: Any) -> Any:
        if hasattr(function, "registry") and hasattr(function, "_clear_cache"):
            return reduce_singledispatch(function)
        if self._is_named_in_main(function):
            return NotImplemented
        self._filenames.add(function.__code__.co_filename)
        if function.__module__ == "__main__":
            self.main_names.note(function)
        return super().reducer_override(function)

    def _dynamic_function_reduce(self, function: Any) -> Any:
        # of cloudpickle, for a function by value
        module = globals_of_module(function)
        if module is not None:
            self.globals_ref.setdefault(id(function.__globals__), ModuleGlobals(module))
        reduced = super()._dynamic_function_reduce(function)
        if module is not None:
            reduced[2][1]["__globals__"] = {}
        return reduced

    def _reduce_class(self, kind: Any) -> Any:
        if self._is_named_in_main(kind):
            return NotImplemented
        home = self._at_home(kind)
        if home is not None:
            return home
        reduced = super().reducer_override(kind)
        # cloudpickle tells which classes go by value, but does not keep them what they are
        if reduced is NotImplemented or reduced[0] not in (_tracker._make_skeleton_class, _tracker._make_skeleton_enum):
            return reduced
        if attributes_of(kind).get("__module__") == "__main__":
            self.main_names.note(kind)
        return reduce_class(kind)

    def _at_home(self, obj: Any) -> Any:
        """Return how an object is found that the receiver has sent before; None if it has not."""
        token = identity.token_if_known(obj) if self._home_classes else None
        return (identity.at_home, (token,)) if token in self._home_classes else None

    def _reduce_member(self, member: Any) -> Any:
        return reduce_member(member, self._at_home(type(member)) is not None)

    def _reduce_cached_function(self, function: Any) -> Any:
        if self._is_named_in_main(function):
            return NotImplemented
        return self._reduce_named(function, function.__qualname__, reduce_cached_function)

    def _reduce_own(self, obj: Any) -> Any:
        reduced = obj.__reduce_ex__(5)
        if not isinstance(reduced, str):
            return reduced
        return self._reduce_named(obj, reduced, lambda obj: by_value(obj, reduced))

    def _reduce_named(self, obj: Any, name: str, reduce: Callable[[Any], Any]) -> Any:
        """Reduce an object that refers to itself by a name, by value if that name leads nowhere on the other side."""
        module = getattr(obj, "__module__", None)
        if self._is_in_main(obj, name) if self._main_by_reference else found_by_name(obj, name, module):
            return name
        if module is None and _tracker._whichmodule(obj, name) not in (None, "__main__"):
            return name
        home = self._at_home(obj)
        if home is not None:
            return home
        self.main_names.note_as(obj, name)
        return reduce(obj)

    def _reduce_unusual(self, obj: Any) -> Any:
        self.met_unusual = True
        if _reduces_itself(type(obj)):
            return self._reduce_own(obj)
        return reduce_in_disguise(obj) if obj.__class__ is not type(obj) else NotImplemented

    def _reduce_identity(self, obj: Any) -> Any:
        reduced = self._module_values.reduce(obj, bool(self._home_classes))
        return NotImplemented if reduced is None else reduced

    def _reduce_module(self, module: ModuleType) -> Any:
        reduced = reduce_module(module)
        return NotImplemented if reduced is None else reduced

    def _reduce_array(self, array: Any) -> Any:
        reduced = reduce_memmap(array) if is_memmap(type(array)) else None
        if reduced is None and is_plain_array(array):
            self._seen_arrays.note(array)
            reduced = None if self._blocks is None else self._blocks.reduce(array)
        reduced = reduced or reduce_array(array)
        return NotImplemented if reduced is None else reduced

    def _reduce_storage(self, storage: Any) -> Any:
        return reduce_storage(storage, self._storages, self._to_cpu) or NotImplemented

    def _reduce_tensor(self, tensor: Any) -> Any:
        return reduce_sparse(tensor) if is_sparse(tensor) else NotImplemented

    def _is_named_in_main(self, obj: Any) -> bool:
        return self._main_by_reference and obj.__module__ == "__main__" and self._is_in_main(obj, obj.__qualname__)

    def _is_in_main(self, obj: Any, name: str) -> bool:
        found: Any = sys.modules["__main__"]
        for part in name.split("."):
            found = getattr(found, part, None)
        return found is obj

    def _reduce_stream(self, stream: io.IOBase) -> Any:
        for name in ("stdin", "stdout", "stderr"):
            if stream in (getattr(sys, name), getattr(sys, f"__{name}__")):
                return getattr, (sys, name)
        if isinstance(stream, (io.StringIO, io.BytesIO)):
            return super().reducer_override(stream)
        # cloudpickle would silently send a copy of the file's contents
        raise pickle.PicklingError(f"cannot pickle the open file '{getattr(stream, 'name', type(stream).__name__)}'")


def _reduces_itself(kind: type) -> bool:
    return kind.__reduce__ is not object.__reduce__ or kind.__reduce_ex__ is not object.__reduce_ex__


_RULES: dict[type, Callable[[Any], Any]] = {CodeType: reduce_code}
if sys.version_info < (3, 12):
    _RULES[functools.cached_property] = reduce_cached_property


def _refuse_widget(widget: object) -> Any:
    raise pickle.PicklingError(f"cannot pickle the widget '{type(widget).__name__}': it lives in the notebook")


def _is_widget(kind: type) -> bool:
    # by name, so that nothing of ipywidgets is imported to tell that there is none
    return any(
        base.__name__ in {"Widget", "AnyWidget"} and base.__module__.startswith(("ipywidgets.", "anywidget."))
        for base in kind.__mro__
    )
