"""Exceptions and tracebacks on their way through a pickle."""

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

# Frames that are kept at each end of a traceback: a RecursionError has a thousand of them, and their pickle nests.
_FRAMES_KEPT = 60
LONGEST_REASON = 1000
"""Characters of the reason why something cannot be sent, which may quote it."""


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

    It is made without its constructor, which may take anything, and gets its parts afterwards, so that they may refer
    to it. A class that says itself how it is pickled is asked.
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
# What is none of an exception's own, and what may be as large as a module.
_NO_FIELDS = {"__dict__", "__weakref__", "obj", *_CHAIN}
# Types of C with fields, and of `__slots__`: descriptors that lead round what a class does when attributes are set.
_FIELDS = (MemberDescriptorType, GetSetDescriptorType)
_HEAP_TYPE = 1 << 9  # Py_TPFLAGS_HEAPTYPE


def _attributes(error: BaseException) -> dict[str, Any]:
    found: dict[str, Any] = _BASE["__dict__"].__get__(error)
    return found


def _is_custom(kind: type, name: str) -> bool:
    owner = next((base for base in kind.__mro__ if name in vars(base)), object)
    return bool(owner.__flags__ & _HEAP_TYPE) and owner is not _group_type(kind)


def _group_type(kind: type) -> Any:
    # before Python 3.11 there is a backport of them, whose types are made of Python
    for base in kind.__mro__:
        # by its own name: a metaclass may make anything of ``__name__``
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
        with contextlib.suppress(AttributeError):  # a slot that nothing was put into
            value = descriptor.__get__(error)
            # an OSError without a file reads otherwise than one whose file is None
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
            _attributes(error)[name] = value  # cloudpickle makes a class without its slots
            continue
        with contextlib.suppress(AttributeError, TypeError):  # some can only be read
            descriptors[name].__set__(error, value)
    if state is not None and _is_custom(type(error), "__setstate__"):
        error.__setstate__(state)
    elif isinstance(state, dict):
        _attributes(error).update(state)
    elif isinstance(state, tuple):
        # of an object with slots: the attributes, and what is in the slots
        _attributes(error).update(state[0] or {})
        for name, value in (state[1] or {}).items():
            setattr(error, name, value)
    if "__notes__" in chain:
        _attributes(error)["__notes__"] = chain.pop("__notes__")
    for name, value in chain.items():
        _BASE[name].__set__(error, value)


def stand_in(error: BaseException, refusal: BaseException) -> ExceptionStandIn:
    """Return what stands for an exception that cannot be sent; it keeps traceback, cause, context and notes."""
    made = ExceptionStandIn(type_name(error), text_of(error), shortened(why(refusal), LONGEST_REASON))
    for name in _CHAIN:
        _BASE[name].__set__(made, _BASE[name].__get__(error))
    notes = _attributes(error).get("__notes__")
    if type(notes) is list:
        made.__dict__["__notes__"] = [note for note in notes if isinstance(note, str)]
    return made


def add_notes(error: BaseException, notes: list[str]) -> None:
    """Add notes to an exception, which tracebacks show below its message.

    `BaseException.add_note` does not exist in Python 3.10, and a class may have it for something else.
    """
    attributes = _attributes(error)
    before = attributes.get("__notes__")
    attributes["__notes__"] = [*(before if type(before) is list else ()), *notes]


def relatives(error: BaseException) -> list[BaseException]:
    """Return the exception and all that it was raised from, raised beside or holds as a group, the nearest first."""
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
    """Return the name of an exception's type, whatever its metaclass makes of ``__name__``."""
    name: str = _NAME.__get__(type(error))
    return name


def traceback_of(error: BaseException) -> TracebackType | None:
    """Return the traceback of an exception, whatever its class makes of ``__traceback__``."""
    found: TracebackType | None = _BASE["__traceback__"].__get__(error)
    return found


def shortened(text: str, longest: int) -> str:
    """Return a text, or as much of its beginning and of its end as is allowed."""
    if len(text) <= longest:
        return text
    return f"{text[: longest // 2]} … {len(text) - longest} characters … {text[-(longest // 2) :]}"


def text_of(error: BaseException) -> str:
    """Return ``str(error)``, or a remark if that fails: the exception may be of anybody's making."""
    try:
        # of a text that is of a derived class, the plain one
        return str.__str__(str(error))
    except BaseException as broken:  # SystemExit too, which would take the place of what it belongs to
        try:
            return f"<its __str__ failed: {broken!r}>"
        except BaseException:  # and that may be of the same making
            return f"<its __str__ failed: {type(broken).__name__}>"


def why(error: BaseException) -> str:
    """Return type and text of an exception."""
    return f"{type_name(error)}: {text_of(error)}"
