"""Classes that are sent by value: how they are taken apart, and rebuilt without running user code.

::

    class ─► what it must be made with (metaclass, bases, slots) ─► an empty class ─┐
          └► all its attributes, and what is registered with it ────────────────────┴─► the class

cloudpickle rebuilds a class by running its metaclass and the hooks of its bases once more, without the arguments of the
first time. It leaves out slots, and attributes that are equal to those of a base. Here no hook runs again, because its
effects are among the attributes.
"""

from __future__ import annotations

import abc
import contextlib
import sys
import threading
from collections.abc import Callable, Iterator
from types import BuiltinFunctionType, GetSetDescriptorType, MemberDescriptorType, MethodType, WrapperDescriptorType
from typing import Any

from nblaunch.payload import identity
from nblaunch.payload.parametrised import Origin, hand_out, handed_out, origin_and_args, reduce_ctypes_class
from nblaunch.payload.receiving import writes_over
from nblaunch.payload.registries import register, registrations_of
from nblaunch.payload.structs import is_struct, make_struct, take_out_layout

__all__ = ["attributes_of", "c_level", "name_in_class", "name_of", "reduce_class"]

# Read through `type` itself: a metaclass may return anything for ``cls.__name__`` and ``cls.__dict__``.
name_of: Callable[[type], str] = vars(type)["__name__"].__get__
attributes_of: Callable[[type], Any] = vars(type)["__dict__"].__get__
_qualname_of = vars(type)["__qualname__"].__get__
_bases_of: Any = vars(type)["__bases__"].__get__

# Attributes of `type`: setting them on the finished class would change it, or fail.
_CANNOT_BE_SET = {
    *("__dict__", "__weakref__"),
    *(name for name, thing in vars(type).items() if isinstance(thing, (GetSetDescriptorType, MemberDescriptorType))),
    "__class__",
} - {"__module__", "__qualname__", "__doc__", "__abstractmethods__", "__annotations__", "__type_params__"}
# Attributes that Python adds itself, and caches.
_NOT_SENT = ("__slotnames__", "_abc_impl", "__annotate_func__", "__annotations_cache__")
# ctypes computes the layout of a class when it is made, from these attributes; the field descriptors are C objects.
_LAYOUT = ("_pack_", "_align_", "_anonymous_", "_layout_", "_type_", "_length_", "_flags_", "_restype_", "_argtypes_")


def reduce_class(kind: type) -> Any:
    """Return how to rebuild a class; see `object.__reduce__`."""
    if type(kind).__module__ == "_ctypes":
        reduced = reduce_ctypes_class(kind)
        if reduced is not None:
            return reduced
    own = dict(attributes_of(kind))
    born_with = {"__qualname__": _qualname_of(kind)}
    if "__module__" in own:
        born_with["__module__"] = own["__module__"]
    for name in _CANNOT_BE_SET & own.keys():
        thing = own.pop(name)
        if not isinstance(thing, GetSetDescriptorType):
            born_with[name] = thing  # a property of this name, for instances
    if sys.version_info >= (3, 14) and "__annotate_func__" in own:
        own["__annotations__"] = _annotations(kind)
    if is_struct(type(kind)):
        born_with |= take_out_layout(kind, own)
    slots = _slots(kind, own)
    if "ctypes" in sys.modules:
        _note_layout(kind, own, born_with)
    registry = None
    if issubclass(type(kind), abc.ABCMeta):
        registry = _registry(kind)
    joined, registrations = _registered_with(kind), registrations_of(kind)
    for name in _NOT_SENT:
        own.pop(name, None)
    bases = _bases_of(kind)
    # a metaclass of C often cannot be pickled, so it is taken from the first base if it is the same
    metaclass = None if type(kind) is type(bases[0]) else type(kind)
    args = (metaclass, name_of(kind), bases, born_with, slots, identity.token_of(kind), origin_and_args(own))
    return _make_class, args, (own, registry, joined, registrations), None, None, _fill_class


def name_in_class(method: MethodType) -> str:
    """Return the name by which the class of a bound method's object has that method; empty if it does not have it."""
    owner = method.__self__
    for base in (owner if isinstance(owner, type) else type(owner)).__mro__:
        for name, thing in attributes_of(base).items():
            if getattr(thing, "__func__", thing) is method.__func__ and getattr(owner, name, None) == method:
                return str(name)
    return ""


def _slots(kind: type, own: dict[str, Any]) -> tuple[str, ...] | None:
    """Return the names of the slots that a class adds to its bases, and take their descriptors out of `own`."""
    if "__slots__" not in own:
        return None
    written = own["__slots__"]
    # `__slots__` may be an iterator, which is used up and cannot be sent
    told = isinstance(written, (str, tuple, list, dict, set, frozenset))
    names = [written] if isinstance(written, str) else list(written) if told else []
    for name, thing in list(own.items()):
        if isinstance(thing, MemberDescriptorType) and thing.__objclass__ is kind and thing.__name__ == name:
            del own[name]
            if name not in names and not _is_mangled(name, names, name_of(kind)):
                names.append(name)
    if not told:
        own["__slots__"] = tuple(names)
    return tuple(names)


def _is_mangled(name: str, names: list[str], owner: str) -> bool:
    prefix = f"_{owner.lstrip('_')}"
    return name.startswith(f"{prefix}__") and name[len(prefix) :] in names


def _note_layout(kind: type, own: dict[str, Any], born_with: dict[str, Any]) -> None:
    line: Any = type(kind).__mro__
    if not any(base.__module__ == "_ctypes" for base in line):
        return
    for name in _LAYOUT:
        if name in own:
            born_with[name] = own.pop(name)
    for name, thing in list(own.items()):
        if type(thing).__module__ == "_ctypes" and type(thing).__name__ == "CField":
            del own[name]


def _annotations(kind: type) -> Any:
    # Python 3.14 computes them by a function that refers to the namespace of the class body
    import annotationlib  # type: ignore[import-not-found]

    return annotationlib.get_annotations(kind, format=annotationlib.Format.FORWARDREF)


def _make_class(
    metaclass: Any,
    name: str,
    bases: tuple[type, ...],
    born_with: dict[str, Any],
    slots: Any,
    token: str | None,
    origin: Origin | None,
) -> type:
    """Return an empty class; or the class that this process has for the token or the generic origin already."""
    known: type | None = identity.lookup(token)
    if known is not None:
        return known
    known = None if origin is None else handed_out(origin)
    if known is not None:
        return identity.tracked(token, known)
    metaclass = metaclass or type(bases[0])
    namespace = dict(born_with) if slots is None else {**born_with, "__slots__": slots}
    with _without_init_subclass(bases):
        made: type
        if metaclass.__module__ == "_ctypes":
            # its __new__ and, from Python 3.13 on, its __init__ are C code, which has to run
            made = metaclass(name, bases, namespace)
        elif is_struct(metaclass):
            made = make_struct(metaclass, name, bases, namespace)
        else:
            made = c_level(metaclass, "__new__", BuiltinFunctionType)(metaclass, name, bases, namespace)
    if issubclass(metaclass, abc.ABCMeta):
        abc._abc_init(made)  # type: ignore[attr-defined]
    _empty[id(made)] = made
    if origin is not None:
        hand_out(made, origin)
    return identity.tracked(token, made)


# Classes that were made, and have not got their attributes yet, by id.
_empty: dict[int, type] = {}


def _fill_class(kind: type, state: tuple[dict[str, Any], list[type] | None, list[type], list[Any]]) -> None:
    if _empty.pop(id(kind), None) is None and not writes_over():
        return
    attributes, registry, joined, registrations = state
    # the metaclass of enumerations, for example, refuses to set members
    put = c_level(type(kind), "__setattr__", WrapperDescriptorType)
    first_line = attributes.pop("__firstlineno__", None)
    if "_fields_" in attributes_of(kind):
        attributes.pop("_fields_", None)  # a structure of ctypes can get them only once
    for name, value in attributes.items():
        put(kind, name, value)
    if first_line is not None:
        put(kind, "__firstlineno__", first_line)  # setting ``__module__`` removes it
    for registered in registry or ():
        abc.ABCMeta.register(kind, registered)  # type: ignore[arg-type]
    for abstract in joined:
        abc.ABCMeta.register(abstract, kind)  # type: ignore[arg-type]
    register(kind, registrations)


def _registry(abstract: type) -> list[type]:
    """Return the classes that were registered with an abstract class and still exist."""
    references = abc._get_dump(abstract)[0]  # type: ignore[attr-defined]  # typeshed leaves it out
    return [registered for registered in (reference() for reference in references) if registered is not None]


def _registered_with(kind: type) -> list[type]:
    """Return the abstract classes of the standard library that a class was registered with."""
    global _registered
    token = abc.get_cache_token()
    if _registered[0] != token:
        found: dict[int, list[type]] = {}
        for module in _ABSTRACT:
            for abstract in list(vars(sys.modules.get(module, abc)).values()):
                if isinstance(abstract, abc.ABCMeta):
                    for registered in _registry(abstract):
                        found.setdefault(id(registered), []).append(abstract)
        _registered = (token, found)
    # `issubclass`, because another class may have had the same id before
    return [abstract for abstract in dict.fromkeys(_registered[1].get(id(kind), ())) if issubclass(kind, abstract)]


_ABSTRACT = ("collections.abc", "numbers", "os", "io", "contextlib", "importlib.abc")
# The token of the `abc` caches, and the abstract classes by the id of the registered class. Each registration changes
# the token.
_registered: tuple[object, dict[int, list[type]]] = (None, {})


def c_level(kind: type, name: str, sort: type) -> Any:
    """Return the nearest method of this name in the MRO that is written in C, and so runs no user code."""
    return next(found for base in kind.__mro__ if isinstance(found := vars(base).get(name), sort))


_patching = threading.RLock()


@contextlib.contextmanager
def _without_init_subclass(bases: tuple[type, ...]) -> Iterator[None]:
    """Do not run the `__init_subclass__` of these bases while this thread makes a class in this block."""
    owners = [
        owner
        for owner in dict.fromkeys(owner for base in bases for owner in base.__mro__[:-1])
        if "__init_subclass__" in attributes_of(owner)
    ]
    if not owners:
        yield
        return
    with _patching, contextlib.ExitStack() as stack:
        for owner in owners:
            hook = attributes_of(owner)["__init_subclass__"]
            with contextlib.suppress(TypeError):  # a class of C cannot be changed
                type.__setattr__(owner, "__init_subclass__", _in_other_threads(hook, threading.get_ident()))
                stack.callback(type.__setattr__, owner, "__init_subclass__", hook)
        yield


def _in_other_threads(hook: Any, thread: int) -> Any:
    """Return a hook that does nothing in this thread, and what `hook` does in all others."""

    def run(kind: Any, /, **keywords: Any) -> None:
        if threading.get_ident() != thread:
            hook.__get__(None, kind)(**keywords)

    return classmethod(run)
