"""Parts of a file as memory: mapped, or read where that is cheaper."""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import weakref

__all__ = ["map_private", "read_aligned"]

_ALIGN = 64
_MAP_FAILED = ctypes.c_void_p(-1).value
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


def map_private(descriptor: int, offset: int, length: int) -> memoryview:
    """Map a part of a file, private and writable, until the last object on it is gone.

    The `mmap` module would keep a duplicate of the descriptor with every mapping.

    Parameters
    ----------
    descriptor : int
        The file; it may be closed afterwards.
    offset, length : int
        Bytes; they need not begin or end with a page.

    Raises
    ------
    OSError
        If the system refuses the mapping.
    """
    ahead = offset % mmap.PAGESIZE
    address = _libc.mmap(
        None,
        length + ahead,
        mmap.PROT_READ | mmap.PROT_WRITE,
        mmap.MAP_PRIVATE | _MAP_NORESERVE,
        descriptor,
        offset - ahead,
    )
    if address == _MAP_FAILED:
        number = ctypes.get_errno()
        raise OSError(number, f"cannot map {length} bytes: {os.strerror(number)}")
    block = (ctypes.c_ubyte * length).from_address(address + ahead)
    # at the end of the interpreter others may still look at the memory, and the system takes it anyway
    weakref.finalize(block, _libc.munmap, address, length + ahead).atexit = False
    return memoryview(block).cast("B")


def read_aligned(descriptor: int, offset: int, length: int) -> memoryview:
    """Read a part of a file into ordinary memory that begins at a multiple of 64 bytes.

    Raises
    ------
    OSError
        If the file is shorter, or cannot be read.
    """
    block = bytearray(length + _ALIGN)
    ahead = -ctypes.addressof(ctypes.c_char.from_buffer(block)) % _ALIGN
    view = memoryview(block)[ahead : ahead + length]
    done = 0
    while done < length:
        count = os.preadv(descriptor, [view[done:]], offset + done)
        if count == 0:
            raise OSError(errno.EIO, f"the file ends after {offset + done} of {offset + length} bytes")
        done += count
    return view
