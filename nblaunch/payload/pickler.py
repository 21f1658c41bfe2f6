"""The pickler: for each class of objects, the one way in which they are taken apart."""

from __future__ import annotations

import functools
import io
import pickle
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from types import CellType, CodeType, FunctionType, MethodType, ModuleType, TracebackType
from typing import Any

import cloudpickle
from cloudpickle import cloudpickle as _tracker

from nblaunch.names_in_text import is_meant, names_in_annotations, names_in_constants
from nblaunch.payload import identity
from nblaunch.payload.annotations import is_type, own_annotations, with_names
from nblaunch.payload.arrays import array_type, arrow_types, is_plain_array, reduce_array, reduce_arrow, with_attributes
from nblaunch.payload.attributes import follow
from nblaunch.payload.classes import attributes_of, name_in_class, reduce_class
from nblaunch.payload.constants import constants_kept
from nblaunch.payload.enums import is_enumeration, reduce_member
from nblaunch.payload.exceptions import reduce_exception, reduce_traceback
from nblaunch.payload.functions import ModuleGlobals, globals_of_module, reduce_cell
from nblaunch.payload.generators import advice_for, is_generator, of_a_module
from nblaunch.payload.hashes import may_keep_hash, with_hash_renewed
from nblaunch.payload.jax_arrays import jax_reducer
from nblaunch.payload.main_names import MainNames
from nblaunch.payload.memory_maps import is_memmap, reduce_memmap
from nblaunch.payload.module_values import ModuleValues, attribute_of, reduces_itself
from nblaunch.payload.modules import reduce_module
from nblaunch.payload.named import (
    CACHED_FUNCTION,
    by_value,
    found_by_name,
    is_of_typing,
    named_with_module,
    reduce_cached_function,
)
from nblaunch.payload.packed import Packed
from nblaunch.payload.process_bound import BoundToProcess, reason_to_refuse
from nblaunch.payload.process_groups import ForReturn
from nblaunch.payload.process_wide import own_of_each_process, standing_for
from nblaunch.payload.receiving import SHARED_GLOBALS, provided_here
from nblaunch.payload.rules import (
    WEAK_DICTIONARIES,
    reduce_cached_property,
    reduce_code,
    reduce_in_disguise,
    reduce_memoryview,
    reduce_singledispatch,
    reduce_weak_dictionary,
)
from nblaunch.payload.tensors import is_sparse, reduce_sparse, reduce_storage, storage_types, tensor_type
from nblaunch.payload.unusual import is_unusual
from nblaunch.payload.views import Blocks, SeenArrays, copies_on_write

__all__ = ["Pickler"]


class Pickler(cloudpickle.Pickler):
    """Writes one stream, for one receiver; for the parameters see `nblaunch.payload.pack`.

    Parameters
    ----------
    blocks : Blocks, optional
        Memory that several arrays lie on, as a first attempt has found out.

    Attributes
    ----------
    for_return : ForReturn
        What was met on its way back that works among ranks only.
    current : tuple of str and object
        The variable that is being dumped, and its value.
    main_names : MainNames
        What was met that has a name in ``__main__``.
    instead : mapping of int to BaseException
        Exceptions by the ids of those that they are sent for.
    met_unusual : bool
        Whether an object was met whose class says itself how it is taken apart or rebuilt.
    """

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
        self._shared_globals = shared_globals
        if shared_globals is not None:
            # cloudpickle asks this table which dictionary stands for a function's globals
            self.globals_ref[id(shared_globals)] = SHARED_GLOBALS
        # what the receiver has of its own, by the ids of what takes its place here
        self._own: dict[int, tuple[Any, ...]] = {
            id(thing): (provided_here, (name,)) for name, thing in provided.items()
        }
        self._main_by_reference = main_by_reference
        self._home_classes = home_classes
        self._to_cpu = to_cpu
        self._storages: dict[int, Any] = {}
        # asked once: what is not imported has no objects
        self._arrays, self._arrow, self._torch = array_type(), arrow_types(), storage_types()
        self._seen_arrays = SeenArrays()
        self._blocks = blocks
        self._module_values = ModuleValues()
        self.for_return = ForReturn()
        self._notices: list[str] = []
        self._filenames: set[str] = set()
        self._reducers: dict[type, Callable[[Any], Any] | None] = {}
        self.main_names = MainNames(shared_globals)
        # ranks share the globals of their cell
        self._to_ranks = shared_globals is not None
        self._own_of_each = own_of_each_process() if self._to_ranks else {}
        self._own.update((which, (attribute_of, place)) for which, place in self._own_of_each.items())
        self.current: tuple[str, object] = ("", None)
        # variables of which it was said
        self._with_generators = {""}
        self.instead: Mapping[int, BaseException] = {}
        self.met_unusual = False

    def dump_variable(self, name: str, value: object) -> None:
        """Dump the value of a variable."""
        self.met_unusual, self.current = False, (name, value)
        # one pickler for all of them, so that what it has met before is referred to
        self.dump(standing_for(value, self._own_of_each))

    def packed(self, sizes: dict[str, int], unusual: tuple[str, ...] = (), notices: tuple[str, ...] = ()) -> Packed:
        """Return all that was dumped."""
        told = tuple(dict.fromkeys([*self._notices, *notices]))
        return Packed(self._stream.getvalue(), self._buffers, self._filenames, sizes, unusual, told)

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
        """Return how an object is rebuilt; pickle asks for each that is no plain text, number or container."""
        if id(obj) in self._own:
            return self._own[id(obj)]
        kind = type(obj)
        try:
            reduce = self._reducers[kind]
        except KeyError:
            reduce = self._reducers[kind] = self._reducer(kind)
        return NotImplemented if reduce is None else reduce(obj)

    def _reducer(self, kind: type) -> Callable[[Any], Any] | None:
        """Return how objects of a class are reduced; None for pickle's own way, or cloudpickle's."""
        own = self._ordinary_reducer(kind)
        if copies_on_write(kind):
            return self._reduce_block
        special = self.for_return.reducer(kind) if self._to_cpu else None
        special = special or jax_reducer(kind, self._notices.append) or constants_kept(kind)
        if special is None:
            return own
        telling = is_generator(kind)

        def reduce(obj: Any) -> Any:
            if telling:
                self._tell_of_generator(obj)
            reduced = special(obj)
            if reduced is not None:
                return reduced
            return NotImplemented if own is None else own(obj)

        return reduce

    def _ordinary_reducer(self, kind: type) -> Callable[[Any], Any] | None:
        for base, way in self._ways():
            if issubclass(kind, base):
                return way
        if kind in _RULES:
            return _RULES[kind]
        if _is_widget(kind):
            return _refuse_widget
        if is_generator(kind):
            return self._reduce_generator
        reason = reason_to_refuse(kind) if self._to_ranks else None
        if reason is not None:
            return partial(_refuse_bound, reason)
        if is_of_typing(kind):
            return self._reduce_own
        if kind in self.dispatch_table:
            return None
        by_reference = _tracker._should_pickle_by_reference(kind)
        if is_enumeration(kind):
            return None if by_reference else self._reduce_member
        reduce: Callable[[Any], Any] | None = self._reduce_own if reduces_itself(kind) else None
        if not by_reference and is_unusual(kind):
            reduce = self._reduce_unusual
        elif ModuleValues.may_hold(kind):
            reduce = self._reduce_identity
        return partial(_renewing_hash, reduce) if may_keep_hash(kind) else reduce

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
        yield MethodType, self._reduce_method
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
        make, (*args, _), (attributes, others), *rest = reduced
        used = others["__globals__"]
        if module is not None:
            used.clear()
        else:
            space = function.__globals__
            used.update(self._annotated_with(function))
            for name, as_table in names_in_constants(function.__code__).items():
                if name in space and is_meant(space[name], as_table=as_table):
                    used[name] = space[name]
        # cloudpickle gives each function cells of its own, so that functions no longer share what they write to
        others["__closure__"] = None
        return make, (*args, function.__closure__), (attributes, others), *rest

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
        return with_names(reduce_class(kind), self._annotated_with(kind)) if self._to_ranks else reduce_class(kind)

    def _annotated_with(self, annotated: Any) -> dict[str, Any]:
        """Return what `typing.get_type_hints` needs for annotations that are texts."""
        space = self._shared_globals
        if space is None or getattr(annotated, "__globals__", space) is not space:
            return {}
        names = names_in_annotations(own_annotations(annotated))
        return {name: space[name] for name in names if is_type(space.get(name))}

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
        place = named_with_module(obj, name)
        if place is not None:
            return attribute_of, place
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
        if reduces_itself(type(obj)):
            return self._reduce_own(obj)
        return reduce_in_disguise(obj) if obj.__class__ is not type(obj) else NotImplemented

    def _reduce_method(self, method: Any) -> Any:
        # there the class has the function, of which this would send a copy
        name = name_in_class(method) if self._home_classes else ""
        return (getattr, (method.__self__, name)) if name else NotImplemented

    def _reduce_generator(self, generator: Any) -> Any:
        place = of_a_module(generator)
        if place is not None:
            return attribute_of, place
        self._tell_of_generator(generator)
        return self._reduce_own(generator) if reduces_itself(type(generator)) else NotImplemented

    def _tell_of_generator(self, generator: Any) -> None:
        name, value = self.current
        if self._to_ranks and not self._home_classes and name not in self._with_generators:
            self._with_generators.add(name)
            self._notices.append(advice_for(generator, name, value))

    def _reduce_identity(self, obj: Any) -> Any:
        reduced = self._module_values.reduce(obj, bool(self._home_classes))
        return NotImplemented if reduced is None else reduced

    def _reduce_module(self, module: ModuleType) -> Any:
        reduced = reduce_module(module)
        return NotImplemented if reduced is None else reduced

    def _reduce_array(self, array: Any) -> Any:
        kind, plain = type(array), is_plain_array(array)
        reduced = reduce_memmap(array) if is_memmap(kind) else None
        if reduced is None and plain and not self._seen_arrays.is_apart(array):
            self._seen_arrays.note(array)
            reduced = None if self._blocks is None else self._blocks.reduce(array)
        reduced = reduced or reduce_array(array)
        if plain and kind is not self._arrays and not is_memmap(kind):
            reduced = with_attributes(array, reduced)
        return NotImplemented if reduced is None else reduced

    def _reduce_block(self, block: Any) -> Any:
        self._seen_arrays.keep_apart(block)
        return NotImplemented

    def _reduce_storage(self, storage: Any) -> Any:
        return reduce_storage(storage, self._storages, self._to_cpu) or NotImplemented

    def _reduce_tensor(self, tensor: Any) -> Any:
        return reduce_sparse(tensor) if is_sparse(tensor) else NotImplemented

    def _is_named_in_main(self, obj: Any) -> bool:
        return self._main_by_reference and obj.__module__ == "__main__" and self._is_in_main(obj, obj.__qualname__)

    def _is_in_main(self, obj: Any, name: str) -> bool:
        return follow(sys.modules["__main__"], name.split(".")) is obj

    def _reduce_stream(self, stream: io.IOBase) -> Any:
        for name in ("stdin", "stdout", "stderr"):
            if stream in (getattr(sys, name), getattr(sys, f"__{name}__")):
                return getattr, (sys, name)
        if isinstance(stream, (io.StringIO, io.BytesIO)):
            return super().reducer_override(stream)
        # cloudpickle would silently send a copy of the file's contents
        raise pickle.PicklingError(f"cannot pickle the open file '{getattr(stream, 'name', type(stream).__name__)}'")


_RULES: dict[type, Callable[[Any], Any]] = {CodeType: reduce_code, CellType: reduce_cell, memoryview: reduce_memoryview}
if sys.version_info < (3, 12):
    _RULES[functools.cached_property] = reduce_cached_property


def _renewing_hash(reduce: Callable[[Any], Any] | None, obj: Any) -> Any:
    reduced = NotImplemented if reduce is None else reduce(obj)
    return with_hash_renewed(obj, obj.__reduce_ex__(5) if reduced is NotImplemented else reduced)


def _refuse_bound(reason: str, obj: object) -> Any:
    raise BoundToProcess(reason, obj)


def _refuse_widget(widget: object) -> Any:
    raise pickle.PicklingError(f"cannot pickle the widget '{type(widget).__name__}': it lives in the notebook")


def _is_widget(kind: type) -> bool:
    # by name, so that nothing of ipywidgets is imported to tell that there is none
    return any(
        base.__name__ in {"Widget", "AnyWidget"} and base.__module__.startswith(("ipywidgets.", "anywidget."))
        for base in kind.__mro__
    )
