"""NumPy arrays that lie on the same memory, so that they still do on the other side.

::

    arrays of one stream ─► which of them overlap ─► one block of memory for each such group ─► arrays on that block

NumPy pickles every array for itself. So a stream is written as if nothing were shared, and once more if arrays overlap,
which is rare.
"""

from __future__ import annotations

import ctypes
import pickle
import sys
from typing import Any

__all__ = ["Blocks", "SeenArrays", "copies_on_write"]

# Bytes: below this a block lies in the stream.
_WORTH_IT = 4096
_ALIGN = 64


# Where arrays of pandas' own types have their elements.
_IN_EXTENSIONS = ("_ndarray", "_data", "_mask", "_sparse_values")


def copies_on_write(kind: type) -> bool:
    """Tell whether a class holds the values of pandas' tables, which are copied before they are written to.

    Then tables share memory that nobody sees to be shared. Which of them do so pandas forgets when they are pickled.
    """
    if kind.__module__ not in ("pandas.core.internals.blocks", "pandas.core.internals.managers"):
        return False
    chosen = getattr(sys.modules.get("pandas._config"), "using_copy_on_write", None)
    return chosen is None or bool(chosen())  # from pandas 3 on there is no choice


class SeenArrays:
    """The arrays of a stream, by the object that owns their memory."""

    def __init__(self) -> None:
        self._by_owner: dict[int, list[Any]] = {}
        # by id; kept, so that no other one gets it
        self._apart: dict[int, Any] = {}

    def keep_apart(self, blocks: Any) -> None:
        """Take what a table holds its values in: whoever writes to it there must not write to another table."""
        for block in getattr(blocks, "blocks", (blocks,)):
            parts = [block.values, *(getattr(block.values, name, None) for name in _IN_EXTENSIONS)]
            self._apart.update((id(part), part) for part in parts if part is not None)

    def is_apart(self, array: Any) -> bool:
        """Tell whether an array is to have memory of its own."""
        return id(array) in self._apart

    def note(self, array: Any) -> None:
        """Take an array; each is pickled once."""
        self._by_owner.setdefault(id(_owner(array)), []).append(array)

    def shared(self) -> Blocks | None:
        """Return the memory that several of them lie on, or None."""
        found: dict[int, list[_Block]] = {}
        for owner, arrays in self._by_owner.items():
            blocks = _overlapping(arrays) if len(arrays) > 1 else []
            if blocks:
                found[owner] = blocks
        return Blocks(found) if found else None


class Blocks:
    """Blocks of memory that several arrays lie on, by the object that owns it."""

    def __init__(self, by_owner: dict[int, list[_Block]]) -> None:
        self._by_owner = by_owner

    def reduce(self, array: Any) -> Any:
        """Return how to rebuild an array on its block; None for one that lies on none."""
        blocks = self._by_owner.get(id(_owner(array)))
        if blocks is None:
            return None
        low, high = _bounds(array)
        for block in blocks:
            if block.low <= low and high <= block.high:
                place = array.__array_interface__["data"][0] - block.low
                shape, strides, dtype = array.shape, array.strides, array.dtype
                return _view, (block, type(array), shape, strides, dtype, place, array.flags.writeable)
        return None


class _Block:
    """Bytes in memory from `low` up to `high`; pickles to a writable array of them."""

    def __init__(self, low: int, high: int, keeps: list[Any]) -> None:
        self.low = low
        self.high = high
        self._keeps = keeps

    def __reduce__(self) -> Any:
        block: Any = (ctypes.c_ubyte * (self.high - self.low)).from_address(self.low)
        block.keeps = self._keeps  # the memory lives as long as somebody looks at it
        return _bytes, (pickle.PickleBuffer(block) if self.high - self.low >= _WORTH_IT else bytearray(block),)


def _owner(array: Any) -> Any:
    """Return the array, or other object, whose memory an array lies on."""
    import numpy

    owner = array
    while isinstance(owner, numpy.ndarray) and owner.base is not None:
        owner = owner.base
    return owner


def _bounds(array: Any) -> tuple[int, int]:
    """Return the address of the first byte of an array, and the one behind its last byte."""
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
            groups[-1] = (first, max(last, high), [*group, array])
        else:
            groups.append((low, high, [array]))
    owner = _owner(arrays[0])
    begin = owner.__array_interface__["data"][0] if isinstance(owner, numpy.ndarray) else None
    found = []
    for low, high, group in groups:
        if len(group) > 1:
            # what is aligned here must be aligned there
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
