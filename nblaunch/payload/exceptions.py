"""Exceptions and tracebacks: how they are pickled, and what can be read of one without running user code."""

from __future__ import annotations

import contextlib
from types import GetSetDescriptorType, MemberDescriptorType, TracebackType
from typing import Any

from nblaunch.payload.made_frames import step_of, traceback_from

__all__ = [
    "LONGEST_REASON",
    "ExceptionStandIn",
    "add_notes",
    "reduce_exception",
    "reduce_traceback",
    "relatives",
    "shortened",
    "stand_in",
    "text_of",
    "traceback_of",
    "type_name",
    "why",
]

# Frames that are sent of each end of a traceback. A RecursionError has a thousand, which are too many to pickle.
_FRAMES_KEPT = 60
LONGEST_REASON = 1000
"""Most characters of the reason why an object cannot be sent; the reason may quote the object."""


class ExceptionStandIn(Exception):
    """Stands for an exception that could not be sent.

    Parameters
    ----------
    type_name : str
        Name of the original type.
    text : str
        ``str()`` of the original.
    why : str
        Why the original could not be sent.
    """

    def __init__(self, type_name: str, text: str, why: str) -> None:
        super().__init__(type_name, text, why)
        self.type_name = type_name
        self.text = text
        self.why = why

    def __str__(self) -> str:
        return f"{self.type_name}: {self.text} (the exception object itself could not be sent: {self.why})"


def reduce_exception(error: BaseException) -> Any:
    """Return how to rebuild an exception with its traceback, cause, context and notes; see `object.__reduce__`.

    It is made without its constructor, which may need any arguments. It gets its parts afterwards, so that they may
    refer to it. A ``__reduce__`` of the class is called, if it has one.
    """
    kind = type(error)
    if _is_custom(kind, "__class__"):
        raise TypeError(f"a {type_name(error)} says that it is of another class than it is")
    chain = {name: _BASE[name].__get__(error) for name in _CHAIN}
    notes = _attributes(error).get("__notes__")
    if notes is not None:
        chain["__notes__"] = notes
    if _is_custom(kind, "__reduce_ex__") or _is_custom(kind, "__reduce__"):
        reduced = error.__reduce_ex__(5)
        if not isinstance(reduced, tuple):
            raise TypeError(f"the __reduce__ of {type_name(error)} has returned a {type(reduced).__name__}")
        function, args, state, *_ = (*reduced, None)
        return function, args, (state, {}, chain), None, None, _set_parts
    state = error.__getstate__() if _is_custom(kind, "__getstate__") else _attributes(error)
    return _new, (kind, *_group_args(error)), (state, _fields(error), chain), None, None, _set_parts


_BASE = vars(BaseException)
_NAME = vars(type)["__name__"]
_GROUP_MODULES = ("builtins", "exceptiongroup", "exceptiongroup._exceptions")
_CHAIN = ("__cause__", "__context__", "__suppress_context__", "__traceback__")
# Not fields of the exception itself; and `obj` of an AttributeError, which may be as large as a module.
_NO_FIELDS = {"__dict__", "__weakref__", "obj", *_CHAIN}
# Descriptors of fields in C and of `__slots__`; through them, fields are set without the class's `__setattr__`.
_FIELDS = (MemberDescriptorType, GetSetDescriptorType)
_HEAP_TYPE = 1 << 9  # Py_TPFLAGS_HEAPTYPE


def _attributes(error: BaseException) -> dict[str, Any]:
    found: dict[str, Any] = _BASE["__dict__"].__get__(error)
    return found


def _is_custom(kind: type, name: str) -> bool:
    owner = next((base for base in kind.__mro__ if name in vars(base)), object)
    return bool(owner.__flags__ & _HEAP_TYPE) and owner is not _group_type(kind)


def _group_type(kind: type) -> Any:
    # before Python 3.11, `exceptiongroup` has them, written in Python
    for base in kind.__mro__:
        # read without the metaclass, which may return anything for ``__name__``
        if _NAME.__get__(base) == "BaseExceptionGroup" and vars(base).get("__module__", "builtins") in _GROUP_MODULES:
            return base
    return None


def _group_args(error: BaseException) -> tuple[Any, ...]:
    group = _group_type(type(error))
    return () if group is None else (group.message.__get__(error), group.exceptions.__get__(error))


def _descriptors(kind: type) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for base in reversed(kind.__mro__[:-1]):  # without those of `object`
        found |= {name: thing for name, thing in vars(base).items() if isinstance(thing, _FIELDS)}
    return {name: thing for name, thing in found.items() if name not in _NO_FIELDS}


def _fields(error: BaseException) -> dict[str, Any]:
    found = {}
    for name, descriptor in _descriptors(type(error)).items():
        with contextlib.suppress(AttributeError):  # an empty slot
            value = descriptor.__get__(error)
            # an OSError whose file was set to None has another text than one without a file
            if value is not None:
                found[name] = value
    return found


def _new(kind: Any, *args: Any) -> Any:
    maker = _group_type(kind) or next(base for base in kind.__mro__ if not base.__flags__ & _HEAP_TYPE)
    return maker.__new__(kind, *args)


def _set_parts(error: Any, parts: tuple[Any, dict[str, Any], dict[str, Any]]) -> None:
    state, fields, chain = parts
    descriptors = _descriptors(type(error))
    for name, value in fields.items():
        if name not in descriptors:
            _attributes(error)[name] = value  # cloudpickle rebuilds a class without its slots
            continue
        with contextlib.suppress(AttributeError, TypeError):  # some fields are read-only
            descriptors[name].__set__(error, value)
    if state is not None and _is_custom(type(error), "__setstate__"):
        error.__setstate__(state)
    elif isinstance(state, dict):
        _attributes(error).update(state)
    elif isinstance(state, tuple):
        # the attributes, and what is in the slots
        _attributes(error).update(state[0] or {})
        for name, value in (state[1] or {}).items():
            setattr(error, name, value)
    if "__notes__" in chain:
        _attributes(error)["__notes__"] = chain.pop("__notes__")
    for name, value in chain.items():
        _BASE[name].__set__(error, value)


def stand_in(error: BaseException, refusal: BaseException) -> ExceptionStandIn:
    """Return a stand-in for an exception that cannot be sent, with its traceback, cause, context and notes."""
    made = ExceptionStandIn(type_name(error), text_of(error), shortened(why(refusal), LONGEST_REASON))
    for name in _CHAIN:
        _BASE[name].__set__(made, _BASE[name].__get__(error))
    notes = _attributes(error).get("__notes__")
    if type(notes) is list:
        made.__dict__["__notes__"] = [note for note in notes if isinstance(note, str)]
    return made


def add_notes(error: BaseException, notes: list[str]) -> None:
    """Add notes to an exception, which tracebacks show below its message.

    Python 3.10 has no `BaseException.add_note`, and a class may use that name for something else.
    """
    attributes = _attributes(error)
    before = attributes.get("__notes__")
    attributes["__notes__"] = [*(before if type(before) is list else ()), *notes]


def relatives(error: BaseException) -> list[BaseException]:
    """Return the exception with its causes, contexts and members of groups, and theirs, the nearest first."""
    found = {id(error): error}
    for step in (queue := [error]):
        linked = [_BASE[name].__get__(step) for name in ("__cause__", "__context__")]
        for near in (*linked, *(_group_args(step) or ("", ()))[1]):
            if near is not None and id(near) not in found:
                found[id(near)] = near
                queue.append(near)
    return queue


def reduce_traceback(tb: TracebackType) -> Any:
    """Return how to rebuild a traceback: file names, functions and lines, without variables."""
    steps = []
    step: TracebackType | None = tb
    while step is not None:
        steps.append(step_of(step))
        step = step.tb_next
    if len(steps) > 2 * _FRAMES_KEPT:
        steps[_FRAMES_KEPT:-_FRAMES_KEPT] = []
    return traceback_from, (steps,)


def type_name(error: BaseException) -> str:
    """Return the name of an exception's type; it is read without the metaclass, which may return anything."""
    name: str = _NAME.__get__(type(error))
    return name


def traceback_of(error: BaseException) -> TracebackType | None:
    """Return the traceback of an exception; it is read without the class, which may have its own ``__traceback__``."""
    found: TracebackType | None = _BASE["__traceback__"].__get__(error)
    return found


def shortened(text: str, longest: int) -> str:
    """Return a text; of one that has more than `longest` characters, the beginning and the end."""
    if len(text) <= longest:
        return text
    return f"{text[: longest // 2]} … {len(text) - longest} characters … {text[-(longest // 2) :]}"


def text_of(error: BaseException) -> str:
    """Return ``str(error)``, or a remark if the ``__str__`` of its class fails."""
    try:
        # an instance of a subclass of `str` becomes a plain text
        return str.__str__(str(error))
    except BaseException as broken:  # a SystemExit of the ``__str__`` too
        try:
            return f"<its __str__ failed: {broken!r}>"
        except BaseException:  # its ``__repr__`` fails as well
            return f"<its __str__ failed: {type(broken).__name__}>"


def why(error: BaseException) -> str:
    """Return type and text of an exception."""
    return f"{type_name(error)}: {text_of(error)}"
