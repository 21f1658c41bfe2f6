"""`CodePickler`: the part of the pickler for functions, classes and other objects that have a name in a module.

They are sent by reference if the receiver finds the same object by its name. They are sent by value if they are of
``__main__``, because each process has its own.
"""

from __future__ import annotations

import copyreg
import io
import pickle
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from cloudpickle import cloudpickle as _tracker

from nblaunch.payload import identity
from nblaunch.payload.annotations import is_type, own_annotations, with_names
from nblaunch.payload.attributes import follow
from nblaunch.payload.classes import attributes_of, name_in_class, reduce_class
from nblaunch.payload.enums import reduce_member
from nblaunch.payload.functions import HiddenNames, ModuleGlobals, globals_of_module, names_of_the_rank
from nblaunch.payload.main_names import MainNames
from nblaunch.payload.module_values import attribute_of
from nblaunch.payload.modules import import_home
from nblaunch.payload.named import by_value, found_by_name, named_with_module, reduce_cached_function
from nblaunch.payload.names_in_text import is_meant, names_in_annotations, names_in_constants
from nblaunch.payload.names_looked_up import names_looked_up_by
from nblaunch.payload.receiving import SHARED_GLOBALS
from nblaunch.payload.registries import with_overloads
from nblaunch.payload.rules import reduce_singledispatch

if TYPE_CHECKING:
    from pickle import Pickler
else:
    # cloudpickle has no types; its Pickler is a subclass of this one
    from cloudpickle import Pickler

__all__ = ["CodePickler"]


class CodePickler(Pickler):
    """Pickles functions, classes and named objects; a base class of `nblaunch.payload.pickler.Pickler`.

    Parameters
    ----------
    keep_out_of_band : callable
        Gets each buffer, and returns whether it is copied into the stream after all.
    shared_globals, main_by_reference, home_classes
        See `nblaunch.payload.pack`.

    Attributes
    ----------
    main_names : MainNames
        Pickled objects that have a name in ``__main__``.
    hidden_names : HiddenNames
        Variables of scripts that the ranks' own variables hide.
    filenames : set of str
        Files of the functions that were pickled.
    """

    # an attribute of cloudpickle: what is pickled for a function's globals, by the id of these
    globals_ref: dict[int, Any]

    def __init__(
        self,
        keep_out_of_band: Callable[[pickle.PickleBuffer], bool],
        shared_globals: dict[str, Any] | None,
        main_by_reference: bool,
        home_classes: frozenset[str],
    ) -> None:
        self._stream = io.BytesIO()
        # pickle looks up each object's class in it, and a dictionary is ten times faster than cloudpickle's ChainMap
        self.dispatch_table: dict[type, Callable[[Any], Any]] = {
            **copyreg.dispatch_table,
            **_tracker.Pickler._dispatch_table,
        }
        super().__init__(self._stream, protocol=5, buffer_callback=keep_out_of_band)
        self._shared_globals = shared_globals
        if shared_globals is not None:
            self.globals_ref[id(shared_globals)] = SHARED_GLOBALS
        # only what is sent to ranks has shared globals
        self._to_ranks = shared_globals is not None
        self._main_by_reference = main_by_reference
        self._home_classes = home_classes
        self.main_names: MainNames = MainNames(shared_globals)
        self.hidden_names: HiddenNames = HiddenNames()
        self.filenames: set[str] = set()

    def _reduce_function(self, function: Any) -> Any:
        if hasattr(function, "registry") and hasattr(function, "_clear_cache"):
            return reduce_singledispatch(function)
        if self._is_named_in_main(function):
            return NotImplemented
        self.filenames.add(function.__code__.co_filename)
        if function.__module__ == "__main__":
            self.main_names.note(function)
        return super().reducer_override(function)

    def _dynamic_function_reduce(self, function: Any) -> Any:
        # overrides the method by which cloudpickle sends a function by value
        module = globals_of_module(function)
        if module is not None:
            self.globals_ref.setdefault(id(function.__globals__), ModuleGlobals(module))
        reduced = _tracker.Pickler._dynamic_function_reduce(self, function)
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
            for name in names_looked_up_by(function.__code__):
                if name in space and name not in used and self.may_travel(space[name]):
                    used[name] = space[name]
            if self._to_ranks and space is not self._shared_globals:
                names = names_of_the_rank(function)
                self.hidden_names.note(function, names)
                used.update(names)
        # cloudpickle would give each function its own closure cells, and functions that share a cell would not any more
        others["__closure__"] = None
        return with_overloads(function, (make, (*args, function.__closure__), (attributes, others), *rest))

    def may_travel(self, value: object) -> bool:
        """Tell whether a variable can be sent; asked for variables that a function may not need at all."""
        return True

    def _reduce_class(self, kind: Any) -> Any:
        if self._is_named_in_main(kind):
            return NotImplemented
        home = self._at_home(kind)
        if home is not None:
            return home
        import_home(kind)
        reduced = super().reducer_override(kind)
        # cloudpickle decides which classes are sent by value, and `reduce_class` how
        if reduced is NotImplemented or reduced[0] not in (_tracker._make_skeleton_class, _tracker._make_skeleton_enum):
            return reduced
        if attributes_of(kind).get("__module__") == "__main__":
            self.main_names.note(kind)
        return with_names(reduce_class(kind), self._annotated_with(kind)) if self._to_ranks else reduce_class(kind)

    def _annotated_with(self, annotated: Any) -> dict[str, Any]:
        """Return the variables that `typing.get_type_hints` needs for annotations that are texts."""
        space = self._shared_globals
        if space is None or getattr(annotated, "__globals__", space) is not space:
            return {}
        names = names_in_annotations(own_annotations(annotated))
        return {name: space[name] for name in names if is_type(space.get(name))}

    def _at_home(self, obj: Any) -> Any:
        """Return how the receiver finds an object that came from it; None for any other object."""
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
        """Reduce an object whose ``__reduce__`` returns a name; by value if the receiver cannot find that name."""
        place = named_with_module(obj, name)
        if place is not None:
            return attribute_of, place
        module = getattr(obj, "__module__", None)
        if (self._main_by_reference and self._is_in_main(obj, name)) or found_by_name(obj, name, module):
            return name
        if module is None and _tracker._whichmodule(obj, name) not in (None, "__main__"):
            return name
        home = self._at_home(obj)
        if home is not None:
            return home
        self.main_names.note_as(obj, name)
        return reduce(obj)

    def _reduce_method(self, method: Any) -> Any:
        # the receiver's class has the function, and must not get a copy of it
        name = name_in_class(method) if self._home_classes else ""
        return (getattr, (method.__self__, name)) if name else NotImplemented

    def _is_named_in_main(self, obj: Any) -> bool:
        return self._main_by_reference and obj.__module__ == "__main__" and self._is_in_main(obj, obj.__qualname__)

    def _is_in_main(self, obj: Any, name: str) -> bool:
        return follow(sys.modules["__main__"], name.split(".")) is obj
