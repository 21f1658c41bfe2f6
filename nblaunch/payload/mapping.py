"""Parts of files as memory: mapped, or read where that is cheaper."""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import weakref
from collections.abc import Sequence
from typing import NamedTuple

__all__ = ["Piece", "has_room_for", "map_private", "read_aligned"]

_ALIGN = 64
_MAP_FAILED = ctypes.c_void_p(-1).value
_WRITABLE = mmap.PROT_READ | mmap.PROT_WRITE
_PROT_NONE = 0
_MAP_FIXED = 0x10  # the same on every machine that Linux runs on, but for three that CPython does not support
_MAP_NORESERVE = getattr(mmap, "MAP_NORESERVE", 0)

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = [
    ctypes.c_void_p,
    ctypes.c_size_t,
    ctypes.c_int,
    ctypes.c_int,
    ctypes.c_int,
    ctypes.c_longlong if ctypes.sizeof(ctypes.c_long) == 8 else ctypes.c_long,
]
_libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]


class Piece(NamedTuple):
    """A part of a file: its descriptor, and where in the file the part begins and how long it is, in bytes."""

    descriptor: int
    offset: int
    length: int


def _max_mappings() -> int:
    # A quarter of the system's limit, which is 65530 by default. At the limit, a process gets no more memory at all.
    try:
        with open("/proc/sys/vm/max_map_count", encoding="ascii") as file:
            return int(file.read()) // 4
    except (OSError, ValueError):
        return 16_000


_MAX_MAPPINGS = _max_mappings()
# One entry for each present mapping. A list, because finalizers may change the number at any moment.
_present: list[None] = []


def has_room_for(count: int) -> bool:
    """Tell whether this process may make so many more mappings."""
    return len(_present) + count <= _MAX_MAPPINGS


def map_private(pieces: Sequence[Piece]) -> memoryview:
    """Map parts of files one after the other, private and writable, until the last object on them is gone.

    The `mmap` module would keep a duplicate of the descriptor with every mapping.

    Parameters
    ----------
    pieces : sequence of Piece
        At least one. Only the first may begin within a page, and only the last may end within one. The files may be
        closed afterwards.

    Raises
    ------
    OSError
        If the system refuses the mapping.
    """
    length = sum(piece.length for piece in pieces)
    ahead = pieces[0].offset % mmap.PAGESIZE
    if len(pieces) == 1:
        address = _map(
            None, length + ahead, _WRITABLE, mmap.MAP_PRIVATE, pieces[0].descriptor, pieces[0].offset - ahead
        )
    else:
        # reserves addresses for all pieces, which then replace it one by one
        address = _map(None, length + ahead, _PROT_NONE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, -1, 0)
        try:
            place = address
            for descriptor, offset, part in pieces:
                within = offset % mmap.PAGESIZE
                _map(place, part + within, _WRITABLE, mmap.MAP_PRIVATE | _MAP_FIXED, descriptor, offset - within)
                place += part + within
        except BaseException:
            _libc.munmap(address, length + ahead)
            raise
    block = (ctypes.c_ubyte * length).from_address(address + ahead)
    # not at the interpreter's exit: other objects may still use the memory, and the system frees it anyway
    weakref.finalize(block, _unmap, address, length + ahead).atexit = False
    _present.append(None)
    return memoryview(block).cast("B")


def _unmap(address: int, length: int) -> None:
    _libc.munmap(address, length)
    _present.pop()


def _map(address: int | None, length: int, protection: int, flags: int, descriptor: int, offset: int) -> int:
    found = _libc.mmap(address, length, protection, flags | _MAP_NORESERVE, descriptor, offset)
    if found == _MAP_FAILED:
        number = ctypes.get_errno()
        raise OSError(number, f"cannot map {length} bytes: {os.strerror(number)}")
    return int(found)


def read_aligned(pieces: Sequence[Piece]) -> memoryview:
    """Read parts of files, one after the other, into ordinary memory that begins at a multiple of 64 bytes.

    Raises
    ------
    OSError
        If a file is too short, or cannot be read.
    """
    length = sum(piece.length for piece in pieces)
    block = bytearray(length + _ALIGN)
    ahead = -ctypes.addressof(ctypes.c_char.from_buffer(block)) % _ALIGN
    view = memoryview(block)[ahead : ahead + length]
    start = 0
    for descriptor, offset, part in pieces:
        done = 0
        while done < part:
            count = os.preadv(descriptor, [view[start + done : start + part]], offset + done)
            if count == 0:
                raise OSError(errno.EIO, f"the file ends after {offset + done} of {offset + part} bytes")
            done += count
        start += part
    return view
