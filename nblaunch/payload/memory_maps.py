"""`numpy.memmap`: the receiver maps the same file again, and gets the changes of a private map.

A map of mode "c" keeps its changes in memory. The kernel tells which of its pages differ from the file
(``/proc/self/pagemap``, see Documentation/admin-guide/mm/pagemap.rst): one that was written to is anonymous memory.
"""

from __future__ import annotations

import array as _array
import mmap
import os
import pickle
from pathlib import Path
from typing import Any, NamedTuple

__all__ = ["is_memmap", "reduce_memmap"]

_PRESENT, _SWAPPED, _OF_FILE = 1 << 63, 1 << 62, 1 << 61
# Entries of pagemap that are read at once; each is 8 bytes, for a page.
_ENTRIES_AT_ONCE = 1 << 16


class _File(NamedTuple):
    """The identity of a file; another file may have its name by now."""

    device: int
    inode: int


def is_memmap(kind: type) -> bool:
    """Tell whether this is `numpy.memmap`, without importing NumPy."""
    return kind.__name__ == "memmap" and kind.__module__.partition(".")[0] == "numpy"


def reduce_memmap(array: Any) -> Any:
    """Return how to map the same file again, or None for a part of a map and a map of no file, which are copied.

    A copy of a whole map would be wrong: the file may be larger than the memory, and what is written to a writable map
    has to reach the file.

    Raises
    ------
    pickle.PicklingError
        If the file was removed or replaced since it was mapped.
    """
    if array.filename is None or not isinstance(array.base, mmap.mmap) or not array.size:
        return None
    address = array.__array_interface__["data"][0]
    name = str(array.filename)
    file = _require_same(name, address)
    changes: list[tuple[int, Any]] = []
    if array.mode == "c":
        found = _changed_pages(address, array.nbytes)
        if found is None:
            return None
        flat = _bytes_of(array)
        changes = [(first, flat[first:last]) for first, last in found]
    mode = "r+" if array.mode == "w+" else array.mode
    order = "F" if array.flags.f_contiguous and not array.flags.c_contiguous else "C"
    return _map_again, (type(array), name, file, array.dtype, mode, array.offset, array.shape, order, changes)


def _bytes_of(array: Any) -> Any:
    """Return the memory of a map as a plain array of bytes."""
    import numpy

    return array.reshape(-1, order="A").view(numpy.uint8).view(numpy.ndarray)


def _require_same(name: str, address: int) -> _File | None:
    """Return the file of a map, if it still has its name; None if the system does not tell which file is mapped."""
    mapped = _inode_at(address)
    if mapped is None:
        return None
    try:
        status = Path(name).stat()
    except OSError as error:
        why = f"the file is not there any more ({error.strerror})"
    else:
        # only the inodes are compared: the device of a map may differ from that of stat(), for example with overlayfs
        if status.st_ino == mapped:
            return _File(status.st_dev, status.st_ino)
        why = "another file has taken its place"
    raise pickle.PicklingError(f"cannot pickle the memory map of {name!r}: {why} since it was mapped")


def _inode_at(address: int) -> int | None:
    try:
        with open("/proc/self/maps", encoding="utf-8", errors="replace") as file:
            for line in file:
                span, _, _, _, inode, *_ = line.split(maxsplit=5)
                first, last = (int(end, 16) for end in span.split("-"))
                if first <= address < last:
                    return int(inode) or None
    except (OSError, ValueError):
        pass
    return None


def _changed_pages(address: int, length: int) -> list[tuple[int, int]] | None:
    """Return the parts of a private map that were written to, as offsets from `address`; None if that is unknown."""
    page = mmap.PAGESIZE
    first, last = address // page, -(-(address + length) // page)
    found: list[tuple[int, int]] = []
    try:
        with open("/proc/self/pagemap", "rb", buffering=0) as file:
            for start in range(first, last, _ENTRIES_AT_ONCE):
                count = min(_ENTRIES_AT_ONCE, last - start)
                data = os.pread(file.fileno(), count * 8, start * 8)
                if len(data) != count * 8:
                    return None
                for number, entry in enumerate(_array.array("Q", data), start):
                    if entry & (_PRESENT | _SWAPPED) and not entry & _OF_FILE:
                        low = max(0, number * page - address)
                        high = min(length, (number + 1) * page - address)
                        if found and found[-1][1] == low:
                            found[-1] = (found[-1][0], high)
                        else:
                            found.append((low, high))
    except OSError:
        return None
    return found


def _map_again(
    kind: Any,
    name: str,
    file: _File | None,
    dtype: Any,
    mode: str,
    offset: int,
    shape: Any,
    order: Any,
    changes: list[tuple[int, Any]],
) -> Any:
    made = kind(name, dtype, mode, offset, shape, order)
    status = Path(name).stat()
    if file is not None and (status.st_dev, status.st_ino) != file:
        raise FileNotFoundError(f"the file {name!r}, a map of which was sent, has been replaced since")
    flat = _bytes_of(made)
    for first, part in changes:
        flat[first : first + len(part)] = part
    return made
