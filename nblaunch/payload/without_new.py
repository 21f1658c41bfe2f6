"""Objects that pickle cannot rebuild, because it would call code of their class.

Pickle makes an object by calling ``__new__`` with the value of its base in C. So a subclass of float whose ``__new__``
needs two arguments gets one. Then pickle looks for ``__setstate__`` while the object has no attributes. A
``__getattr__`` that forwards to one of these attributes then calls itself without end. Here neither is called: the
``__new__`` of the base in C makes the object, and its attributes are set directly.
"""

from __future__ import annotations

import copyreg
import inspect
import pickle
from collections.abc import Callable
from types import BuiltinFunctionType, FunctionType
from typing import Any

from nblaunch.payload.attributes import held_by, hold
from nblaunch.payload.classes import attributes_of, c_level
from nblaunch.payload.module_values import inherits, reduces_itself
from nblaunch.payload.rules import new_in_disguise

__all__ = ["mended"]

_Reduce = Callable[[Any], Any]
_MAKERS = (copyreg.__newobj__, new_in_disguise)  # type: ignore[attr-defined]  # typeshed leaves it out


def mended(kind: type, reduce: _Reduce | None) -> _Reduce | None:
    """Return a reducer for objects of a class that does not need this code; `reduce` itself if it does not.

    Parameters
    ----------
    kind : type
        The class.
    reduce : callable or None
        The reducer so far; None is pickle's own way.
    """
    if reduces_itself(kind):
        return reduce
    avoids_new, sets_state = not _takes_what_pickle_gives(kind), _answers_for_attributes(kind)
    if not avoids_new and not sets_state:
        return reduce

    def reduce_mended(obj: Any) -> Any:
        reduced: Any = NotImplemented if reduce is None else reduce(obj)
        if reduced is NotImplemented:
            reduced = object.__reduce_ex__(obj, pickle.DEFAULT_PROTOCOL)
        function, args, *rest = reduced
        state, lists, dictionaries, setter = [*rest, None, None, None, None][:4]
        if function in _MAKERS:
            function = _made_without_new if avoids_new else function
            if sets_state and setter is None and _leaves_state_to_python(kind):
                return function, args, held_by(obj), lists, dictionaries, hold
        if sets_state and setter is None and state is not None:
            return function, args, state, lists, dictionaries, _set_state
        return function, args, *rest

    return reduce_mended


def _takes_what_pickle_gives(kind: type) -> bool:
    """Tell whether the ``__new__`` of a class can be called with the arguments that pickle passes."""
    new = _found(kind, "__new__")
    new = new.__func__ if isinstance(new, staticmethod) else new
    if not isinstance(new, FunctionType):
        return True
    told = [_found(kind, name) for name in ("__getnewargs_ex__", "__getnewargs__")]
    if any(isinstance(one, FunctionType) for one in told):
        return True  # the class itself returns the arguments
    if any(told):
        # a float, text or tuple: the argument is its value, which `__new__` may already have changed once
        return False
    try:
        inspect.signature(new, follow_wrapped=False).bind(kind)
    except TypeError:
        return False
    return True


def _answers_for_attributes(kind: type) -> bool:
    """Tell whether looking for a ``__setstate__`` calls a ``__getattr__`` or ``__getattribute__`` of the class."""
    answering = (_found(kind, "__getattr__"), _found(kind, "__getattribute__"))
    return any(isinstance(one, FunctionType) for one in answering) and _found(kind, "__setstate__") is None


def _leaves_state_to_python(kind: type) -> bool:
    return _found(kind, "__getstate__") is None or inherits(kind, "__getstate__")


def _found(kind: type, name: str) -> Any:
    # read without the metaclass, which may return anything
    return next((attributes_of(base)[name] for base in type.mro(kind) if name in attributes_of(base)), None)


def _made_without_new(kind: type, *args: Any) -> Any:
    return c_level(kind, "__new__", BuiltinFunctionType)(kind, *args)


def _set_state(obj: Any, state: Any) -> None:
    hold(obj, state if isinstance(state, tuple) else (state, {}))
