"""Objects to bytes and back: the only form in which anything crosses the border of a process.

`pack` cloudpickles an object into a pickle stream plus the large buffers in it (pickle protocol 5, PEP 574), which are
referred to rather than copied. `Packed` writes them one behind the other, so that `unpack` can be given a mapped file
or one received block and build arrays on top of it without a further copy.

Three things differ from plain cloudpickle:

* *Shared globals*: functions of the notebook arrive with the receiver's own namespace as their globals instead of a
  private copy, so that ``lr = 0.5; step()`` in a cell is seen by ``step``.
* *Home classes*: an instance of a class that came from the notebook returns as an instance of that very class, and its
  return does not write over the class.
* *Exceptions* travel with their traceback, cause, context and notes (through tblib), whatever their constructor takes.
"""

from __future__ import annotations

import builtins
import io
import os
import pickle
import struct
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import FunctionType, MappingProxyType, TracebackType
from typing import Any

import cloudpickle
from cloudpickle import cloudpickle as _tracker
from tblib import pickling_support

__all__ = ["ExceptionStandIn", "Packed", "pack", "pack_exception", "received_classes", "split", "text_of", "unpack"]

_MAGIC = b"NBLP"
_ALIGN = 64
_COUNT = struct.Struct("!4sI")
_LENGTH = struct.Struct("!Q")
# Frames that are kept at each end of a traceback: a RecursionError has a thousand of them, and their pickle nests.
_FRAMES_KEPT = 60


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


class Packed:
    """A pickle stream and the buffers that belong to it.

    Attributes
    ----------
    filenames : set of str
        Names of the files (in a notebook: of the cells) that the functions inside were compiled from.
    size : int
        Bytes that `chunks` yields in all.
    """

    def __init__(self, stream: bytes, buffers: list[memoryview], filenames: set[str]) -> None:
        self._segments: list[bytes | memoryview] = [stream, *buffers]
        self.filenames = filenames
        lengths = [memoryview(segment).nbytes for segment in self._segments]
        header = _COUNT.pack(_MAGIC, len(lengths)) + b"".join(map(_LENGTH.pack, lengths))
        self._header = header + bytes(_padding(len(header)))
        self.size = len(self._header) + sum(length + _padding(length) for length in lengths)

    def chunks(self) -> Iterator[bytes | memoryview]:
        """Yield the bytes, header first, without joining them."""
        yield self._header
        for segment in self._segments:
            yield segment
            gap = _padding(memoryview(segment).nbytes)
            if gap:
                yield bytes(gap)

    def write_to(self, descriptor: int) -> None:
        """Write everything to an open file descriptor."""
        for chunk in self.chunks():
            view = memoryview(chunk).cast("B")
            while view:
                view = view[os.write(descriptor, view) :]

    def __bytes__(self) -> bytes:
        return b"".join(self.chunks())


def pack(
    value: object,
    *,
    shared_globals: dict[str, Any] | None = None,
    provided: Mapping[str, object] = MappingProxyType({}),
    main_by_reference: bool = False,
    home_classes: frozenset[str] = frozenset(),
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

    Raises
    ------
    Exception
        Whatever the object's own pickling raises; mostly `pickle.PicklingError` or `TypeError`.
    """
    stream = io.BytesIO()
    buffers: list[memoryview] = []

    def keep_out_of_band(buffer: pickle.PickleBuffer) -> None:
        buffers.append(buffer.raw())

    pickler = _Pickler(stream, keep_out_of_band, shared_globals, provided, main_by_reference, home_classes)
    pickler.dump(value)
    return Packed(stream.getvalue(), buffers, pickler.filenames)


def pack_exception(error: BaseException, *, home_classes: frozenset[str] = frozenset()) -> Packed:
    """Pack an exception, or an `ExceptionStandIn` with its type's name and its text if it cannot be packed."""
    try:
        packed = pack(error, home_classes=home_classes)
        # Many exceptions pickle but cannot be built again; this is the only place where that can still be told.
        unpack(bytearray(bytes(packed)))
    except BaseException as refusal:  # SystemExit too: __reduce__ may be anybody's
        stand_in = ExceptionStandIn(type(error).__name__, text_of(error), _why(refusal))
        stand_in.__traceback__ = error.__traceback__
        try:
            return pack(stand_in)
        except Exception:
            return pack(stand_in.with_traceback(None))
    return packed


def unpack(data: Any, *, shared_globals: dict[str, Any] | None = None) -> Any:
    """Build the object again.

    Parameters
    ----------
    data : buffer
        What `Packed` wrote. Arrays are built on top of it, so it must be writable if they shall be.
    shared_globals : dict, optional
        Becomes the globals of the functions that were packed with shared globals.

    Raises
    ------
    ValueError
        If `data` is not what `Packed` wrote.
    Exception
        Whatever building the object raises.
    """
    segments, _ = _segments(memoryview(data).cast("B"), 0)
    with _receiving(shared_globals):
        return pickle.loads(segments[0], buffers=segments[1:])


def split(data: Any) -> list[memoryview]:
    """Take apart what several `Packed`, written one behind the other, have become; each part is for `unpack`.

    Raises
    ------
    ValueError
        If `data` is not what `Packed` wrote.
    """
    view = memoryview(data).cast("B")
    parts = []
    start = 0
    while start < len(view):
        _, end = _segments(view, start)
        parts.append(view[start:end])
        start = end
    return parts


def _segments(view: memoryview, start: int) -> tuple[list[memoryview], int]:
    try:
        magic, count = _COUNT.unpack_from(view, start)
        if magic != _MAGIC or count == 0:
            raise ValueError("wrong mark")
        table = start + _COUNT.size
        lengths = [_LENGTH.unpack_from(view, table + i * _LENGTH.size)[0] for i in range(count)]
    except (struct.error, ValueError) as error:
        raise ValueError(f"these bytes are not a payload ({error})") from None
    offset = table + count * _LENGTH.size
    offset += _padding(offset - start)
    segments: list[memoryview] = []
    for length in lengths:
        if offset + length > len(view):
            raise ValueError(f"the payload is cut short: {len(view)} bytes of at least {offset + length}")
        segments.append(view[offset : offset + length])
        offset += length + _padding(length)
    return segments, offset


def received_classes() -> frozenset[str]:
    """Tell which classes have come from elsewhere by value, as tokens for `pack`'s `home_classes`."""
    with _tracker._DYNAMIC_CLASS_TRACKER_LOCK:
        return frozenset(_tracker._DYNAMIC_CLASS_TRACKER_BY_CLASS.values())


class _Pickler(cloudpickle.Pickler):
    def __init__(
        self,
        stream: io.BytesIO,
        buffer_callback: Callable[[pickle.PickleBuffer], None],
        shared_globals: dict[str, Any] | None,
        provided: Mapping[str, object],
        main_by_reference: bool,
        home_classes: frozenset[str],
    ) -> None:
        super().__init__(stream, protocol=5, buffer_callback=buffer_callback)
        if shared_globals is not None:
            # cloudpickle asks this table which dictionary stands for a function's globals
            self.globals_ref[id(shared_globals)] = _SHARED_GLOBALS
        self._provided = {id(thing): name for name, thing in provided.items()}
        self._main_by_reference = main_by_reference
        self._home_classes = home_classes
        self.filenames: set[str] = set()

    def reducer_override(self, obj: Any) -> Any:
        kind = type(obj)
        if id(obj) in self._provided:
            return _provided_here, (self._provided[id(obj)],)
        if kind is FunctionType:
            if self._is_named_in_main(obj):
                return NotImplemented
            self.filenames.add(obj.__code__.co_filename)
        elif issubclass(kind, type):
            if self._is_named_in_main(obj):
                return NotImplemented
            token = _tracker._DYNAMIC_CLASS_TRACKER_BY_CLASS.get(obj) if self._home_classes else None
            if token in self._home_classes:
                return _class_at_home, (token,)
        elif issubclass(kind, BaseException):
            return _reduce_exception(obj)
        elif kind is TracebackType:
            return _reduce_traceback(obj)
        elif issubclass(kind, io.IOBase):
            return self._reduce_stream(obj)
        elif _is_widget(kind):
            raise pickle.PicklingError(f"cannot pickle the widget '{kind.__name__}': it lives in the notebook")
        return super().reducer_override(obj)

    def _is_named_in_main(self, obj: Any) -> bool:
        if not self._main_by_reference or obj.__module__ != "__main__":
            return False
        found: Any = sys.modules["__main__"]
        for name in obj.__qualname__.split("."):
            found = getattr(found, name, None)
        return found is obj

    def _reduce_stream(self, stream: io.IOBase) -> Any:
        for name in ("stdin", "stdout", "stderr"):
            if stream in (getattr(sys, name), getattr(sys, f"__{name}__")):
                return getattr, (sys, name)
        if isinstance(stream, (io.StringIO, io.BytesIO)):
            return super().reducer_override(stream)
        # cloudpickle would silently send a copy of the file's contents
        raise pickle.PicklingError(f"cannot pickle the open file '{getattr(stream, 'name', type(stream).__name__)}'")


class _SharedGlobals:
    """Pickles to a call of `_globals_here`."""

    def __reduce__(self) -> Any:
        return _globals_here, ()


_SHARED_GLOBALS = _SharedGlobals()
_receiver = threading.local()


@contextmanager
def _receiving(shared_globals: dict[str, Any] | None) -> Iterator[None]:
    before = getattr(_receiver, "shared_globals", None)
    _receiver.shared_globals = shared_globals
    try:
        yield
    finally:
        _receiver.shared_globals = before


def _globals_here() -> dict[str, Any]:
    here: dict[str, Any] | None = _receiver.shared_globals
    # a receiver without a namespace of its own still gets one dictionary for all functions of the payload
    if here is None:
        here = _receiver.shared_globals = {"__builtins__": builtins}
    return here


def _provided_here(name: str) -> Any:
    return _globals_here()[name]


def _class_at_home(token: str) -> type:
    try:
        home: type = _tracker._DYNAMIC_CLASS_TRACKER_BY_ID[token]
    except KeyError:
        raise pickle.UnpicklingError(
            "the class of this object was removed from the notebook while the ranks ran"
        ) from None
    return home


# Exceptions of Python itself: their constructors take `args`, and some keep parts of them in places of their own
# (SystemExit.code, StopIteration.value), so they are rebuilt by calling them. tblib knows two of them.
_BUILTIN_INITS = tuple(
    {kind.__init__ for kind in vars(builtins).values() if isinstance(kind, type) and issubclass(kind, BaseException)}
)


def _reduce_exception(error: BaseException) -> Any:
    reduced = pickling_support.pickle_exception(error, builtin_inits=_BUILTIN_INITS)
    if isinstance(error, (AttributeError, NameError)) and error.name is not None:
        # left out by Python 3.11
        function, args, *state = reduced
        return function, args, {**((state and state[0]) or {}), "name": error.name}
    return reduced


def _reduce_traceback(tb: TracebackType) -> Any:
    steps: list[tuple[str, str, str, int, int]] = []
    step: TracebackType | None = tb
    while step is not None:
        code = step.tb_frame.f_code
        module = str(step.tb_frame.f_globals.get("__name__", ""))
        steps.append((code.co_filename, code.co_name, module, code.co_firstlineno, step.tb_lineno))
        step = step.tb_next
    if len(steps) > 2 * _FRAMES_KEPT:
        steps[_FRAMES_KEPT:-_FRAMES_KEPT] = []
    return _traceback_from, (steps,)


def _traceback_from(steps: list[tuple[str, str, str, int, int]]) -> TracebackType | None:
    # tblib could rebuild these too, but lets the code of each frame begin at the line that raised, and IPython counts
    # the lines that it shows of a cell from where the frame's code begins
    rebuilt: TracebackType | None = None
    for filename, name, module, first_line, line in reversed(steps):
        code = compile("\n" * (line - first_line) + "raise StopIteration", filename, "exec")
        code = code.replace(co_name=name, co_firstlineno=first_line)
        try:
            exec(code, {"__name__": module, "__file__": filename, "__builtins__": builtins})
        except StopIteration as stop:
            assert stop.__traceback__ is not None
            made = stop.__traceback__.tb_next
            assert made is not None
            rebuilt = TracebackType(rebuilt, made.tb_frame, made.tb_lasti, line)
    return rebuilt


def _is_widget(kind: type) -> bool:
    # by name, so that nothing of ipywidgets is imported to tell that there is none
    return any(
        base.__name__ in {"Widget", "AnyWidget"} and base.__module__.startswith(("ipywidgets.", "anywidget."))
        for base in kind.__mro__
    )


def _padding(length: int) -> int:
    return -length % _ALIGN


def text_of(error: BaseException) -> str:
    """Return ``str(error)``, or a remark if that fails: the exception may be of anybody's making."""
    try:
        return str(error)
    except Exception as broken:
        return f"<its __str__ failed: {broken!r}>"


def _why(error: BaseException) -> str:
    return f"{type(error).__name__}: {text_of(error)}"
