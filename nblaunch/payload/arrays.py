"""NumPy and Arrow arrays as buffers beside the stream, where their own pickling would copy them into it.

NumPy itself makes buffers only of plain contiguous arrays. It copies all others into the stream: arrays that are not
contiguous, dates and times, masked arrays, and subclasses such as `numpy.matrix`, `numpy.recarray` and parts of a
`numpy.memmap`. Arrow sends all of an array for each slice of it.
"""

from __future__ import annotations

import pickle
import sys
from typing import Any

__all__ = [
    "array_type",
    "arrow_types",
    "is_array_of_objects",
    "is_plain_array",
    "is_small_and_simple",
    "reduce_array",
    "reduce_arrow",
    "row_type",
    "with_attributes",
]

# Bytes below which a copy in the stream costs less than a buffer of its own.
_MIN_BUFFER_BYTES = 4096


def array_type() -> Any:
    """Return `numpy.ndarray`, or an empty tuple, for `isinstance`, where NumPy is not imported."""
    return getattr(sys.modules.get("numpy"), "ndarray", ())


def arrow_types() -> Any:
    """Return the types that `reduce_arrow` takes; none where Arrow is not imported."""
    arrow = sys.modules.get("pyarrow")
    names = ("Array", "ChunkedArray", "RecordBatch", "Table")
    return tuple(kind for name in names if isinstance(kind := getattr(arrow, name, None), type))


def is_plain_array(array: Any) -> bool:
    """Tell whether an array has no objects, and no code of a subclass that changes how NumPy pickles it."""
    import numpy

    kind = type(array)
    return not array.dtype.hasobject and (kind is numpy.ndarray or _reduces_as_array(kind, numpy.ndarray))


def is_small_and_simple(array: Any) -> bool:
    """Tell whether NumPy's own pickling is right for an array that is not a view of another one."""
    return bool(array.nbytes < _MIN_BUFFER_BYTES and array.flags.writeable)


def is_array_of_objects(array: Any) -> bool:
    """Tell whether an array is a plain one of Python objects."""
    import numpy

    return type(array) is numpy.ndarray and bool(array.dtype == object)


def row_type() -> Any:
    """Return `numpy.void`, the class of rows of structured arrays, or an empty tuple where NumPy is not imported."""
    return getattr(sys.modules.get("numpy"), "void", ())


def reduce_array(array: Any) -> Any:
    """Return how to rebuild a NumPy array from one buffer, or None for NumPy's own way, if it is as good."""
    import numpy

    kind = type(array)
    dtype = array.dtype
    # `numpy.ma` as an attribute would import the module, and a zygote that has not imported it would be replaced
    if kind is getattr(sys.modules.get("numpy.ma"), "MaskedArray", None) and not dtype.hasobject:
        # its parts are pickled as arrays, because they may share memory with other arrays
        return _masked, (array._data, array._mask, array._fill_value, array.hardmask)
    if kind is numpy.ndarray and not array.flags.writeable:
        repeated = [stride == 0 and length > 1 for stride, length in zip(array.strides, array.shape, strict=True)]
        if any(repeated):
            return _broadcast, (array[tuple(slice(0, 1 if again else None) for again in repeated)], array.shape)
    # NumPy itself keeps an array read-only if it sends a buffer
    read_only = not array.flags.writeable and not (kind is numpy.ndarray and array.flags.forc and _exports(array))
    if (array.nbytes < _MIN_BUFFER_BYTES and not read_only) or dtype.hasobject or dtype.kind not in "biufcmMSUV":
        return None
    if kind is numpy.ndarray:
        if array.flags.forc and _exports(array):
            return None
    elif not _reduces_as_array(kind, numpy.ndarray):
        return None
    order = "F" if array.flags.f_contiguous and not array.flags.c_contiguous else "C"
    plain = array.view(numpy.ndarray)
    if not array.flags.forc:
        plain = numpy.ascontiguousarray(plain)
    if read_only:
        plain = plain.view()
        plain.flags.writeable = False
    flat = plain.reshape(-1, order=order).view(numpy.uint8)
    return _array, (kind, array.shape, dtype, order, pickle.PickleBuffer(flat))


def with_attributes(array: Any, reduced: Any) -> Any:
    """Return how to rebuild an array of a subclass with its attributes, which NumPy does not send.

    Parameters
    ----------
    array : numpy.ndarray
        The array.
    reduced : tuple or None
        How to rebuild it without attributes; None is NumPy's own way.
    """
    attributes = getattr(array, "__dict__", None)
    if not attributes:
        return reduced
    function, args, *state = array.__reduce_ex__(5) if reduced is None else reduced
    return function, args, (state[0] if state else None, dict(attributes)), None, None, _set_attributes


def _set_attributes(array: Any, state: tuple[Any, dict[str, Any]]) -> None:
    own, attributes = state
    if own is not None:
        array.__setstate__(own)
    vars(array).update(attributes)


def _exports(array: Any) -> bool:
    """Tell whether an array has the buffer protocol; arrays of dates and times do not."""
    try:
        memoryview(array)
    except (ValueError, TypeError, BufferError):
        return False
    return True


def _reduces_as_array(kind: type, base: type) -> bool:
    return all(
        getattr(kind, name) is getattr(base, name) for name in ("__reduce__", "__reduce_ex__", "__setstate__")
    ) and getattr(kind, "__getstate__", None) is getattr(base, "__getstate__", None)


def _array(kind: Any, shape: tuple[int, ...], dtype: Any, order: Any, buffer: Any) -> Any:
    import numpy

    # NumPy's own unpickling does the same, so subclasses see the same calls
    return numpy.ndarray.__new__(kind, shape, dtype, buffer, order=order)


def _broadcast(array: Any, shape: tuple[int, ...]) -> Any:
    import numpy

    return numpy.broadcast_to(array, shape)


def _masked(data: Any, mask: Any, fill_value: Any, hard: bool) -> Any:
    import numpy

    return numpy.ma.MaskedArray(data, mask=mask, fill_value=fill_value, hard_mask=hard, copy=False)


def reduce_arrow(array: Any) -> Any:
    """Return how to rebuild a slice of an Arrow array or table without the rest of it, or None for the usual way."""
    if array.get_total_buffer_size() < 2 * array.nbytes + _MIN_BUFFER_BYTES:
        return None
    compact = _compact(array)
    return None if compact is None else compact.__reduce__()


def _compact(array: Any) -> Any:
    import pyarrow

    try:
        if isinstance(array, pyarrow.Array):
            return pyarrow.concat_arrays([array])
        if isinstance(array, pyarrow.ChunkedArray):
            chunks = [pyarrow.concat_arrays([chunk]) for chunk in array.chunks]
            return pyarrow.chunked_array(chunks, type=array.type)
        if isinstance(array, pyarrow.RecordBatch):
            columns = [pyarrow.concat_arrays([column]) for column in array.columns]
            return pyarrow.RecordBatch.from_arrays(columns, schema=array.schema)
        return pyarrow.Table.from_arrays([_compact(column) for column in array.columns], schema=array.schema)
    except (pyarrow.ArrowException, NotImplementedError):
        return None  # a type that Arrow cannot copy
