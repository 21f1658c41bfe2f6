"""NumPy arrays that share memory still share it in the receiver.

::

    arrays of one stream ─► groups that overlap ─► one block of memory for each group ─► arrays as views of that block

NumPy pickles each array by itself. So a stream is first written as if no memory was shared. If arrays overlap, which is
rare, it is written once more.
"""

from __future__ import annotations

import array as pyarray
import bisect
import ctypes
import pickle
import sys
from typing import Any

__all__ = ["Blocks", "SeenArrays", "copies_on_write", "on_buffer", "reduce_row"]

# Bytes below which a block is copied into the stream.
_MIN_BUFFER_BYTES = 4096
_ALIGN = 64


# Attributes in which arrays of pandas' extension types have their elements.
_IN_EXTENSIONS = ("_ndarray", "_data", "_mask", "_sparse_values")


def copies_on_write(kind: type) -> bool:
    """Tell whether a class holds the values of pandas' tables, and pandas copies these before it writes to them.

    Tables then may share memory, but pandas does not pickle the information that they do. So they must not share memory
    in the receiver: a write to one would change the other.
    """
    if kind.__module__ not in ("pandas.core.internals.blocks", "pandas.core.internals.managers"):
        return False
    chosen = getattr(sys.modules.get("pandas._config"), "using_copy_on_write", None)
    return chosen is None or bool(chosen())  # from pandas 3 on there is no choice


class SeenArrays:
    """The arrays of a stream, by the object that owns their memory."""

    def __init__(self) -> None:
        # by the owner's id, the first array on its memory; and all of them if there are several
        self._first: dict[int, Any] = {}
        self._several: dict[int, list[Any]] = {}
        # by id; the arrays are kept, so that no other object gets the same id
        self._apart: dict[int, Any] = {}

    def keep_apart(self, blocks: Any) -> None:
        """Note the arrays of a pandas table, which must not share memory in the receiver; see `copies_on_write`."""
        for block in getattr(blocks, "blocks", (blocks,)):
            parts = [block.values, *(getattr(block.values, name, None) for name in _IN_EXTENSIONS)]
            self._apart.update((id(part), part) for part in parts if part is not None)

    def is_apart(self, array: Any) -> bool:
        """Tell whether an array must have its own memory in the receiver."""
        return id(array) in self._apart

    def note(self, array: Any) -> None:
        """Note an array of the stream."""
        self._note_on(id(array if array.base is None else _owner(array)), array)

    def note_owner(self, array: Any) -> None:
        """Note an array of the stream that is no view of another one, unless it must have its own memory."""
        if self._apart and id(array) in self._apart:
            return
        self._note_on(id(array), array)

    def _note_on(self, owner: int, array: Any) -> None:
        first = self._first.setdefault(owner, array)
        if first is not array:
            self._several.setdefault(owner, [first]).append(array)

    def shared(self) -> Blocks | None:
        """Return the memory that several arrays share, or None if there is none."""
        found: dict[int, list[_Block]] = {}
        of_objects: dict[int, Any] = {}
        for owner, arrays in self._several.items():
            blocks = _overlapping(arrays)
            if blocks and arrays[0].dtype.hasobject:
                of_objects[owner] = _owner(arrays[0])
            elif blocks:
                found[owner] = blocks
        return Blocks(found, of_objects) if found or of_objects else None


class Blocks:
    """Memory that arrays share, by the id of its owner: as blocks of bytes, or as an array of objects."""

    def __init__(self, by_owner: dict[int, list[_Block]], of_objects: dict[int, Any]) -> None:
        self._by_owner = by_owner
        self._of_objects = of_objects

    def reduce(self, array: Any) -> Any:
        """Return how to rebuild an array as a view of its block; None for an array without one."""
        owner = id(_owner(array))
        if owner in self._of_objects:
            return _part_of(self._of_objects[owner], array)
        blocks = self._by_owner.get(owner)
        if blocks is None:
            return None
        low, high = _bounds(array)
        # the blocks are sorted by their addresses
        block = blocks[bisect.bisect_right(blocks, low, key=lambda one: one.low) - 1]
        if not (block.low <= low and high <= block.high):
            return None
        place = array.__array_interface__["data"][0] - block.low
        shape, strides, dtype = array.shape, array.strides, array.dtype
        return _view, (block, type(array), shape, strides, dtype, place, array.flags.writeable)


class _Block:
    """The bytes at addresses `low` up to `high`; it is pickled as a writable array of them."""

    def __init__(self, low: int, high: int, keeps: list[Any]) -> None:
        self.low = low
        self.high = high
        self._keeps = keeps

    def __reduce__(self) -> Any:
        block: Any = (ctypes.c_ubyte * (self.high - self.low)).from_address(self.low)
        block.keeps = self._keeps  # keeps the memory as long as the block is used
        return _bytes, (pickle.PickleBuffer(block) if self.high - self.low >= _MIN_BUFFER_BYTES else bytearray(block),)


def _owner(array: Any) -> Any:
    """Return the array, or other object, that owns the memory of an array."""
    import numpy

    owner = array
    while True:
        # `as_strided` puts a DummyArray between an array and its base
        kind = type(owner)
        if issubclass(kind, memoryview):
            owner = owner.obj
        elif issubclass(kind, (numpy.ndarray, numpy.void)) or kind.__name__ in ("DummyArray", "_Place"):
            if owner.base is None:
                return owner
            owner = owner.base
        else:
            return owner


def on_buffer(array: Any) -> Any:
    """Return how to rebuild an array that is a view of a `bytearray` or an `array.array`; None for any other array."""
    owner: Any = None if array.base is None else _owner(array)
    if type(owner) not in (bytearray, pyarray.array) or not len(owner):
        return None
    begin = ctypes.addressof(ctypes.c_char.from_buffer(owner))
    place = array.__array_interface__["data"][0] - begin
    return _view, (owner, type(array), array.shape, array.strides, array.dtype, place, array.flags.writeable)


def reduce_row(row: Any) -> Any:
    """Return how to rebuild a row of a structured array as a view of that array; None for a row of no array."""
    import numpy

    if not isinstance(row.base, numpy.ndarray) or row.dtype.hasobject:
        return None
    return _row, (numpy.asarray(_Place(row)).view(row.dtype),)


class _Place:
    """The memory of a row for `numpy.asarray`, writable if its array is; NumPy itself offers it read-only."""

    def __init__(self, row: Any) -> None:
        self.base = row.base
        self.__array_interface__ = {
            "data": (row.__array_interface__["data"][0], not row.base.flags.writeable),
            "shape": (),
            "typestr": f"|V{row.itemsize}",
            "version": 3,
        }


def _row(array: Any) -> Any:
    return array[()]


def _part_of(owner: Any, array: Any) -> Any:
    """Return how to rebuild a view of an array of objects; None for the array itself."""
    import numpy

    if array is owner or not isinstance(owner, numpy.ndarray) or owner.dtype != array.dtype:
        return None
    if not owner.flags.forc:
        return None  # NumPy pickles its elements in another order than that in memory
    offset = array.__array_interface__["data"][0] - owner.__array_interface__["data"][0]
    return _part, (owner, offset // array.itemsize, array.shape, array.strides, array.flags.writeable)


def _part(owner: Any, first: int, shape: tuple[int, ...], strides: tuple[int, ...], writable: bool) -> Any:
    from numpy.lib.stride_tricks import as_strided

    return as_strided(owner.ravel(order="K")[first:], shape, strides, writeable=writable)


def _bounds(array: Any) -> tuple[int, int]:
    """Return the address of the first byte of an array, and that after its last byte."""
    low = high = array.__array_interface__["data"][0]
    for length, stride in zip(array.shape, array.strides, strict=True):
        if stride < 0:
            low += (length - 1) * stride
        else:
            high += (length - 1) * stride
    return low, high + array.itemsize


def _overlapping(arrays: list[Any]) -> list[_Block]:
    import numpy

    ordered = sorted(((*_bounds(array), array) for array in arrays if array.size), key=lambda found: found[:2])
    groups: list[tuple[int, int, list[Any]]] = []
    for low, high, array in ordered:
        if groups and low < groups[-1][1]:
            first, last, group = groups[-1]
            group.append(array)
            groups[-1] = (first, max(last, high), group)
        else:
            groups.append((low, high, [array]))
    owner = _owner(arrays[0])
    begin = owner.__array_interface__["data"][0] if isinstance(owner, numpy.ndarray) else None
    found = []
    for low, high, group in groups:
        if len(group) > 1:
            # addresses have the same alignment in the receiver
            ahead = 0 if begin is None or begin > low else (low - begin) % _ALIGN
            found.append(_Block(low - ahead, high, group))
    return found


def _bytes(data: Any) -> Any:
    import numpy

    return numpy.frombuffer(data, numpy.uint8)


def _view(
    block: Any, kind: Any, shape: tuple[int, ...], strides: tuple[int, ...], dtype: Any, place: int, writable: bool
) -> Any:
    import numpy

    array = numpy.ndarray.__new__(kind, shape, dtype, block, place, strides)
    if not writable:
        array.flags.writeable = False
    return array
