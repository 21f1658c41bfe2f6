"""`describe`: all that can be told of an object, as text that is the same wherever an object like it is described.

Addresses, hashes and orders that are another process's are left out. Which of the objects inside are one and the same
is in the text, as numbers: `#3` is the third that was come across.
"""

from __future__ import annotations

import contextlib
import enum
import functools
import logging
import re
import sys
import types
import weakref
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Mapping
from pathlib import PurePath
from typing import Any

from tests.differential.describing_arrays import about_array

__all__ = ["OPAQUE", "About", "describe"]

OPAQUE = "<nothing can be told of it>"
"""Is in the text where an object shows nothing but its type."""

About = tuple[str, list[tuple[str, Any]]]
"""What can be said of an object at once, and the objects inside by name."""

_ATOMS = (type(None), bool, int, float, complex, str, bytes, type(...), type(NotImplemented))
_MOST_LINES = 2000
_ADDRESS = re.compile(r" at 0x[0-9a-f]+|0x[0-9a-f]{9,}")
# kept by the class itself or by the interpreter
_OF_CLASSES = {
    "__dict__", "__weakref__", "__module__", "__qualname__", "_abc_impl", "__subclasshook__", "__annotations_cache__",
    "__annotate_func__", "__annotate__", "__conditional_annotations__", "__slotnames__",
}  # fmt: skip


def describe(value: object) -> str:
    """Return what can be told of an object, one thing a line."""
    return "\n".join(_Describer().lines("", value))


class _Describer:
    def __init__(self) -> None:
        # the objects too, so that no other one gets the address of one that was made on the way
        self._seen: dict[int, tuple[int, object]] = {}
        self._lines = 0

    def lines(self, label: str, value: object) -> Iterator[str]:
        self._lines += 1
        if self._lines > _MOST_LINES:
            return
        if type(value) in _ATOMS:
            yield f"{label}{type(value).__name__} {value!r}"
            return
        if type(value) is tuple or (type(value) is types.MappingProxyType and not value):
            # which of equal tuples are one, nobody asks; nor which of the proxies of empty dictionaries are
            if not isinstance(value, tuple):
                yield f"{label}empty mappingproxy"
                return
            yield f"{label}tuple"
            for i, part in enumerate(value):
                for line in self.lines(f"[{i}]: ", part):
                    yield f"  {line}"
            return
        if type(value) is types.CodeType:
            yield f"{label}{_about_code(value)[0]}"
            return
        if type(value).__module__ == "numpy.dtypes":
            yield f"{label}{about_array(value)[0]}"  # type: ignore[index]
            return
        if type(value) is frozenset and all(type(part) in _ATOMS for part in value):
            yield f"{label}frozenset {sorted(map(repr, value))}"
            return
        if id(value) in self._seen:
            yield f"{label}#{self._seen[id(value)][0]}"
            return
        number = len(self._seen) + 1
        self._seen[id(value)] = number, value
        head, inside = self._about(value)
        yield f"{label}#{number} {head}"
        for name, part in inside:
            for line in self.lines(f"{name}: ", part):
                yield f"  {line}"

    def _about(self, value: Any) -> About:
        kind = type(value)
        if issubclass(kind, type):
            return _about_class(value)
        for base in kind.__mro__:
            if base in _BY_TYPE:
                return _BY_TYPE[base](value)
        found = about_array(value)
        if found is not None:
            return found
        if isinstance(value, enum.Enum):
            return "member", [("class", kind), ("name", value.name), *_state(value), ("text", str(value))]
        if isinstance(value, _CONTAINERS):
            return _about_container(value)
        return _about_instance(value)


def _about_class(kind: type) -> About:
    where = f"{kind.__module__}.{kind.__qualname__}"
    if kind.__module__ != "__main__":
        return f"class {where}{_by_name(kind, kind.__module__, kind.__qualname__)}", []
    # what pydantic has compiled of a class shows in what the class does
    names = sorted(name for name in vars(kind) if name not in _OF_CLASSES and not name.startswith("__pydantic_"))
    inside: list[tuple[str, Any]] = [
        ("metaclass", type(kind)),
        *((f"base {i}", base) for i, base in enumerate(kind.__bases__)),
        *((f"original base {i}", base) for i, base in enumerate(vars(kind).get("__orig_bases__", ()))),
        ("annotations", dict(getattr(kind, "__annotations__", {}))),
        ("abstract", sorted(getattr(kind, "__abstractmethods__", ()))),
        ("dir", " ".join(sorted(set(dir(kind)) - _OF_CLASSES))),
        *((name, vars(kind)[name]) for name in names if name not in ("__abstractmethods__", "__orig_bases__")),
    ]
    mro = ", ".join(base.__qualname__ for base in kind.__mro__)
    size = f"{kind.__basicsize__}, weak references {bool(kind.__weakrefoffset__)}"
    return f"class {where}, mro {mro}, size {size}", [pair for pair in inside if pair[1] != {} and pair[1] != []]


def _by_name(value: object, module: str, qualname: str) -> str:
    """Say when it is not what is found under its name."""
    found: Any = sys.modules.get(module)
    for name in qualname.split("."):
        found = getattr(found, name, None)
    return "" if found is value else " (another one than the module has)"


def _about_function(function: types.FunctionType) -> About:
    where = f"{function.__module__}.{function.__qualname__}"
    module = sys.modules.get(function.__module__ or "")
    if function.__module__ != "__main__" and module is not None and vars(module) is function.__globals__:
        # wrappers made by a library hold what is the notebook's
        found = _by_name(function, function.__module__, function.__qualname__)
        if not found:
            return f"function {where}", []
    return f"function {where} named {function.__name__}", [
        ("doc", function.__doc__),
        ("code", function.__code__),
        ("defaults", function.__defaults__),
        ("keyword defaults", function.__kwdefaults__),
        ("annotations", dict(function.__annotations__)),
        ("attributes", _without_parameters(vars(function))),
        *((f"cell {name}", cell) for name, cell in _cells(function)),
    ]


def _cells(function: types.FunctionType) -> Iterator[tuple[str, types.CellType]]:
    yield from zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)


def _about_cell(cell: types.CellType) -> About:
    try:
        return "cell", [("holds", cell.cell_contents)]
    except ValueError:
        return "cell, empty", []


def _about_code(code: types.CodeType) -> About:
    places = f"{code.co_name}, line {code.co_firstlineno}, flags {code.co_flags}"
    names = f"{code.co_varnames}, {code.co_freevars}, {code.co_cellvars}, {code.co_names}"
    return f"code {places}, {names}", []


def _about_method(method: types.MethodType) -> About:
    return "method", [("of", method.__self__), ("function", method.__func__)]


def _about_builtin(function: types.BuiltinFunctionType) -> About:
    return f"builtin {function.__qualname__}", [("of", function.__self__)]


def _about_module(module: types.ModuleType) -> About:
    known = sys.modules.get(module.__name__) is module
    return f"module {module.__name__}{'' if known else ' (another one than sys.modules has)'}", []


def _about_descriptor(descriptor: Any) -> About:
    return f"{type(descriptor).__name__} {descriptor.__objclass__.__qualname__}.{descriptor.__name__}", []


def _about_logger(logger: logging.Logger) -> About:
    # not all that it hangs together with: through its manager that is every logger of the process, with their streams
    own = logging.getLogger() if logger is logging.root else logging.getLogger(logger.name)
    handlers = [type(handler).__qualname__ for handler in logger.handlers] if logger is not logging.root else []
    parts = [("level", logger.level), ("propagates", logger.propagate), ("handlers", handlers)]
    return f"logger {logger.name}{'' if own is logger else ' (another one than logging has)'}", [*parts]


def _about_property(value: property) -> About:
    parts = [("get", value.fget), ("set", value.fset), ("delete", value.fdel), ("doc", value.__doc__)]
    return type(value).__name__, [("class", type(value)), *parts, *_state(value)]


def _about_wrapper(value: Any) -> About:
    return type(value).__name__, [("class", type(value)), ("of", value.__func__)]


def _about_partial(value: functools.partial[Any]) -> About:
    parts = [("of", value.func), ("arguments", value.args), ("keywords", value.keywords)]
    return "partial", [("class", type(value)), *parts, ("attributes", dict(vars(value)))]


def _about_cache(value: Any) -> About:
    return "cache", [("parameters", value.cache_parameters()), ("attributes", _without_parameters(vars(value)))]


def _without_parameters(attributes: Mapping[str, Any]) -> dict[str, Any]:
    # functools.lru_cache makes this one anew; which functions share their annotations, nobody asks
    told = {name: held for name, held in attributes.items() if name != "cache_parameters"}
    if "__annotations__" in told:
        told["__annotations__"] = tuple(told["__annotations__"].items())
    return told


def _about_proxy(value: Any) -> About:
    return "mappingproxy", [("of", dict(value))]


def _about_weak(value: Any) -> About:
    return "weak reference", [("class", type(value)), ("to", value())]


def _about_exception(error: BaseException) -> About:
    named = ("args", "__cause__", "__context__", "__suppress_context__", "exceptions")
    found = [(name, getattr(error, name)) for name in named if hasattr(error, name)]
    return f"exception, traceback {error.__traceback__ is not None}", [
        ("class", type(error)),
        *found,
        *_state(error),
        ("text", str(error)),
    ]


_CONTAINERS = (list, tuple, dict, set, frozenset, deque, types.SimpleNamespace)


def _about_container(value: Any) -> About:
    kind = type(value)
    inside: list[tuple[str, Any]] = []
    # by the type's own methods: a subclass may tell something else, and looks ask for that
    if isinstance(value, dict):
        own_items: Any = OrderedDict.items if isinstance(value, OrderedDict) else dict.items
        for i, (key, element) in enumerate(own_items(value)):
            inside += [(f"[{key!r}]", element)] if type(key) in _ATOMS else [(f"key {i}", key), (f"value {i}", element)]
    elif isinstance(value, (set, frozenset)):
        inside += [("element", element) for element in sorted(value, key=describe)]
    elif not isinstance(value, types.SimpleNamespace):
        inside += [(f"[{i}]", element) for i, element in enumerate(value)]
    own = [] if kind.__module__ == "builtins" else [("class", kind), *_state(value)]
    for name in ("maxlen", "default_factory"):
        if hasattr(value, name):
            own.append((name, getattr(value, name)))
    return kind.__name__, [*own, *inside]


def _state(value: object) -> list[tuple[str, Any]]:
    """Return what an instance's dictionary and slots hold."""
    found: dict[str, Any] = {}
    with contextlib.suppress(AttributeError):
        found.update(sorted(object.__getattribute__(value, "__dict__").items(), key=lambda item: str(item[0])))
    for base in type(value).__mro__:
        for name, slot in vars(base).items():
            # those of C classes with such names are no attributes
            if isinstance(slot, types.MemberDescriptorType) and base.__module__ != "builtins" and name[:2] != "__":
                try:
                    found.setdefault(f"slot {name}", slot.__get__(value))
                except AttributeError:
                    found.setdefault(f"slot {name}", "<empty>")
    return list(found.items())


def _about_instance(value: object) -> About:
    kind = type(value)
    if kind is object:
        return "object()", []
    named = _name_in_module(value)
    if named:
        return named, []
    # paths keep what they have computed
    state = [] if isinstance(value, PurePath) else _state(value)
    try:
        text = repr(value)
    except Exception as error:
        text = f"repr raises {type(error).__name__}: {error}"
    shown = _ADDRESS.sub("", text)
    if shown != text and not state and kind.__module__ != "__main__":
        shown += f" {OPAQUE}"
    return f"{kind.__module__}.{kind.__qualname__}", [("class", kind), ("repr", shown), *state]


def _name_in_module(value: object) -> str:
    """Return the name under which the module of its class holds an object, as ``dataclasses.MISSING``."""
    module = type(value).__module__
    if module == "__main__" or module not in sys.modules:
        return ""
    for name, held in list(vars(sys.modules[module]).items()):
        if held is value:
            return f"{module}.{name}"
    return ""


_BY_TYPE: dict[type, Callable[[Any], About]] = {
    types.FunctionType: _about_function,
    logging.Logger: _about_logger,
    types.CellType: _about_cell,
    types.CodeType: _about_code,
    types.MethodType: _about_method,
    types.BuiltinFunctionType: _about_builtin,
    types.ModuleType: _about_module,
    types.MemberDescriptorType: _about_descriptor,
    types.GetSetDescriptorType: _about_descriptor,
    types.MethodDescriptorType: _about_descriptor,
    types.WrapperDescriptorType: _about_descriptor,
    types.ClassMethodDescriptorType: _about_descriptor,
    property: _about_property,
    classmethod: _about_wrapper,
    staticmethod: _about_wrapper,
    functools.partial: _about_partial,
    functools._lru_cache_wrapper: _about_cache,
    types.MappingProxyType: _about_proxy,
    weakref.ref: _about_weak,
    BaseException: _about_exception,
}
