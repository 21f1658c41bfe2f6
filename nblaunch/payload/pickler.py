"""`Pickler`: chooses for each class of objects how they are pickled; its base `CodePickler` does so for code."""

from __future__ import annotations

import functools
import io
import pickle
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from types import CellType, CodeType, FunctionType, MappingProxyType, MethodType, ModuleType, TracebackType
from typing import Any

from cloudpickle import cloudpickle as _tracker

from nblaunch.payload.arrays import (
    array_type,
    arrow_types,
    is_array_of_objects,
    is_plain_array,
    is_small_and_simple,
    reduce_array,
    reduce_arrow,
    row_type,
    with_attributes,
)
from nblaunch.payload.code_pickler import CodePickler
from nblaunch.payload.constants import constants_kept
from nblaunch.payload.enums import is_enumeration
from nblaunch.payload.exceptions import reduce_exception, reduce_traceback
from nblaunch.payload.functions import reduce_cell
from nblaunch.payload.generators import advice_for, is_generator, of_a_module
from nblaunch.payload.handed_out import reducer_of_handed_out
from nblaunch.payload.hashes import may_keep_hash, with_hash_renewed
from nblaunch.payload.jax_arrays import jax_reducer
from nblaunch.payload.library_rules import library_rule
from nblaunch.payload.memory_maps import is_memmap, reduce_memmap
from nblaunch.payload.module_values import ModuleValues, attribute_of, reduces_itself
from nblaunch.payload.modules import import_home, reduce_module
from nblaunch.payload.named import CACHED_FUNCTION, is_of_typing
from nblaunch.payload.packed import Packed
from nblaunch.payload.polars_frames import polars_types, reduce_polars
from nblaunch.payload.process_bound import BoundToProcess, reason_to_refuse
from nblaunch.payload.process_groups import ForReturn
from nblaunch.payload.process_wide import of_interpreter, own_of_each_process, standing_for
from nblaunch.payload.receiving import provided_here
from nblaunch.payload.rules import (
    DICTIONARY_VIEWS,
    WEAK_DICTIONARIES,
    reduce_cached_property,
    reduce_code,
    reduce_dictionary_view,
    reduce_in_disguise,
    reduce_mapping_proxy,
    reduce_memoryview,
    reduce_singledispatchmethod,
    reduce_weak_dictionary,
)
from nblaunch.payload.shared import (
    is_in_shared_memory,
    is_proxy,
    lies_on_shared_memory,
    notice_of_copied_array,
    notice_of_copy,
    reduce_proxy,
)
from nblaunch.payload.streams import reduce_stream
from nblaunch.payload.tensors import is_sparse, reduce_sparse, reduce_storage, storage_types, tensor_type
from nblaunch.payload.unusual import is_unusual
from nblaunch.payload.views import Blocks, SeenArrays, copies_on_write, on_buffer, reduce_row
from nblaunch.payload.without_new import mended

__all__ = ["Pickler"]


class Pickler(CodePickler):
    """Pickles objects into one stream; for the other parameters see `nblaunch.payload.pack`.

    Parameters
    ----------
    blocks : Blocks, optional
        Memory that several arrays share, as a first attempt has found out.
    reducers : mapping of type to callable
        How objects of exactly these classes are reduced.

    Attributes
    ----------
    for_return : ForReturn
        Reducers and notices for objects that work among ranks only.
    current : tuple of str and object
        The variable that is being pickled, and its value.
    instead : mapping of int to BaseException
        Exceptions to send instead of others, by the ids of the others.
    met_unusual : bool
        Whether there was an object whose class has its own code for pickling.
    """

    def __init__(
        self,
        shared_globals: dict[str, Any] | None,
        provided: Mapping[str, object],
        main_by_reference: bool,
        home_classes: frozenset[str],
        to_cpu: bool,
        blocks: Blocks | None = None,
        reducers: Mapping[type, Callable[[Any], Any]] = MappingProxyType({}),
    ) -> None:
        super().__init__(self._keep_out_of_band, shared_globals, main_by_reference, home_classes)
        self._copy = partial(
            Pickler, shared_globals, provided, main_by_reference, home_classes, to_cpu, reducers=reducers
        )
        self._buffers: list[memoryview] = []
        self._outside = 0
        # references to objects that the receiver has itself, by the ids of the sender's
        self._own: dict[int, tuple[Any, ...]] = {
            id(thing): (provided_here, (name,)) for name, thing in provided.items()
        }
        self._to_cpu = to_cpu
        self._storages: dict[int, Any] = {}
        # found once for the stream: a library that is not imported has no objects
        self._arrays, self._arrow, self._torch = array_type(), arrow_types(), storage_types()
        self._seen_arrays = SeenArrays()
        self._blocks = blocks
        self._module_values = ModuleValues()
        self.for_return: ForReturn = ForReturn()
        self._notices: list[str] = []
        self._reducers: dict[type, Callable[[Any], Any] | None] = dict(reducers)
        self._own_of_each = own_of_each_process() if self._to_ranks else {}
        self._own.update({**of_interpreter(), **self._own_of_each})
        self.current: tuple[str, object] = ("", None)
        # variables for which there is a notice already; "" is no variable
        self._with_generators = {""}
        self.instead: Mapping[int, BaseException] = {}
        self.met_unusual: bool = False
        self._is_trial = False

    def may_travel(self, value: object) -> bool:
        """See `CodePickler.may_travel`."""
        if self._is_trial:
            return True  # a trial includes what the variable refers to, without further trials
        trial = self._copy()
        trial._is_trial = True
        try:
            trial.dump(value)
        except (Exception, SystemExit):  # the __reduce__ of any class may have raised it
            return False
        finally:
            trial.let_go()
        return True

    def dump_variable(self, name: str, value: object) -> None:
        """Pickle the value of a variable."""
        self.met_unusual, self.current = False, (name, value)
        # one pickler for all variables, so that an object they share is sent once
        self.dump(standing_for(value, self._own_of_each))

    def packed(self, sizes: dict[str, int], unusual: tuple[str, ...] = (), notices: tuple[str, ...] = ()) -> Packed:
        """Return all that was pickled."""
        told = tuple(dict.fromkeys([*self._notices, *self.hidden_names.notices(), *notices]))
        return Packed(self._stream.getvalue(), self._buffers, self.filenames, sizes, unusual, told)

    def let_go(self) -> None:
        """Release all objects; the pickler cannot be used any more.

        A pickler refers to itself, so its objects would stay in memory until a garbage collection. In Python 3.10, the
        collector does not see a pickler's memo, and a class would need two collections.
        """
        self.clear_memo()
        self.__dict__.clear()

    def size(self) -> int:
        """Return the number of bytes so far, in the stream and in buffers."""
        return self._stream.tell() + self._outside

    def shared_memory(self) -> Blocks | None:
        """Return the memory that several arrays share; None if there is none, or if this pickler got it as `blocks`."""
        return self._seen_arrays.shared() if self._blocks is None else None

    def _keep_out_of_band(self, buffer: pickle.PickleBuffer) -> bool:
        """Keep a buffer beside the stream; return True for one that is so small that it is copied into the stream."""
        view = buffer.raw()
        if view.nbytes < _MIN_BUFFER_BYTES:
            return True
        self._outside += view.nbytes
        self._buffers.append(view)
        return False

    def reducer_override(self, obj: Any) -> Any:
        """Return how to rebuild an object; pickle calls this for all but plain texts, numbers and containers."""
        if id(obj) in self._own:
            return self._own[id(obj)]
        kind = type(obj)
        try:
            reduce = self._reducers[kind]
        except KeyError:
            reduce = self._reducers[kind] = self._reducer(kind)
        return NotImplemented if reduce is None else reduce(obj)

    def _reducer(self, kind: type) -> Callable[[Any], Any] | None:
        """Return the reducer for objects of a class; None for the way of pickle or cloudpickle."""
        own = self._ordinary_reducer(kind)
        if copies_on_write(kind):
            return self._reduce_block
        special = self.for_return.reducer(kind) if self._to_cpu else None
        special = (
            special or jax_reducer(kind, self._notices.append) or constants_kept(kind) or reducer_of_handed_out(kind)
        )
        if special is None:
            return own
        holds_generator = is_generator(kind)

        def reduce(obj: Any) -> Any:
            if holds_generator:
                self._tell_of_generator(obj)
            reduced = special(obj)
            if reduced is not None:
                return reduced
            return NotImplemented if own is None else own(obj)

        return reduce

    def _ordinary_reducer(self, kind: type) -> Callable[[Any], Any] | None:
        for base, reducer in self._reducers_by_base():
            if issubclass(kind, base):
                return reducer
        rule = _RULES.get(kind) or library_rule(kind)
        if rule is not None:
            return rule
        if _is_widget(kind):
            return _refuse_widget
        if is_generator(kind):
            return self._reduce_generator
        if self._to_ranks and kind in DICTIONARY_VIEWS:
            return reduce_dictionary_view
        if self._to_ranks and is_proxy(kind):
            return reduce_proxy
        reason = reason_to_refuse(kind, self._to_ranks)
        if reason is not None:
            return partial(_refuse_bound, reason)
        if is_of_typing(kind):
            return self._reduce_own
        if kind in self.dispatch_table:
            return None
        import_home(kind)
        by_reference = _tracker._should_pickle_by_reference(kind)
        if is_enumeration(kind):
            return None if by_reference else self._reduce_member
        reduce: Callable[[Any], Any] | None = self._reduce_own if reduces_itself(kind) else None
        if not by_reference and is_unusual(kind):
            reduce = self._reduce_unusual
        elif ModuleValues.may_hold(kind):
            reduce = self._reduce_identity
        return mended(kind, partial(_renewing_hash, reduce) if may_keep_hash(kind) else reduce)

    def _reducers_by_base(self) -> Iterator[tuple[Any, Callable[[Any], Any]]]:
        yield FunctionType, self._reduce_function
        yield type, self._reduce_class
        yield BaseException, lambda error: reduce_exception(self.instead.get(id(error), error))
        yield TracebackType, reduce_traceback
        yield io.IOBase, reduce_stream
        yield self._arrays, self._reduce_array
        yield row_type(), lambda row: reduce_row(row) or NotImplemented
        yield self._arrow, lambda array: reduce_arrow(array) or NotImplemented
        yield polars_types(), lambda data: reduce_polars(data) or NotImplemented
        yield self._torch, self._reduce_storage
        yield ModuleType, self._reduce_module
        yield MethodType, self._reduce_method
        yield CACHED_FUNCTION, self._reduce_cached_function
        yield WEAK_DICTIONARIES, reduce_weak_dictionary
        if self._torch:
            yield tensor_type(), self._reduce_tensor

    def _reduce_unusual(self, obj: Any) -> Any:
        self.met_unusual = True
        if reduces_itself(type(obj)):
            return self._reduce_own(obj)
        return reduce_in_disguise(obj) if obj.__class__ is not type(obj) else NotImplemented

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
        kind = type(array)
        if kind is self._arrays and array.base is None and self._blocks is None and is_small_and_simple(array):
            # the quick way for small arrays, because there may be many
            self._seen_arrays.note_owner(array)
            return NotImplemented
        if self._to_ranks and array.base is not None and not is_memmap(kind) and lies_on_shared_memory(array):
            name, value = self.current
            self._notices.append(notice_of_copied_array(name, type(value) is self._arrays))
        plain = is_plain_array(array)
        reduced = reduce_memmap(array) if is_memmap(kind) else None
        if reduced is None and (plain or is_array_of_objects(array)) and not self._seen_arrays.is_apart(array):
            reduced = on_buffer(array)
            if reduced is None:
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
        if self._to_ranks and is_in_shared_memory(storage):
            name, value = self.current
            self._notices.append(notice_of_copy(name, type(value) is tensor_type()))
        return reduce_storage(storage, self._storages, self._to_cpu) or NotImplemented

    def _reduce_tensor(self, tensor: Any) -> Any:
        return reduce_sparse(tensor) if is_sparse(tensor) else NotImplemented


# Bytes below which a copy in the stream costs less than a buffer of its own, if there are many.
_MIN_BUFFER_BYTES = 1024

_RULES: dict[type, Callable[[Any], Any]] = {
    CodeType: reduce_code,
    CellType: reduce_cell,
    memoryview: reduce_memoryview,
    MappingProxyType: reduce_mapping_proxy,
    functools.singledispatchmethod: reduce_singledispatchmethod,
}
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
    # by name, so that ipywidgets is not imported for it
    return any(
        base.__name__ in {"Widget", "AnyWidget"} and base.__module__.startswith(("ipywidgets.", "anywidget."))
        for base in kind.__mro__
    )
