"""`Stored`: packed objects in files in memory, for other processes.

The sender writes once, whatever the number of receivers. A receiver reads small objects. It maps large ones privately,
so that a page is copied only when it is written to.

Usually there is one file. Very large objects are cut into a few files, because the Linux kernel lets only one thread at
a time write to a file, and two threads need half the time. A receiver maps the files one after the other.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import itertools
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence

from nblaunch.payload.mapping import Piece, has_room_for, map_private, read_aligned
from nblaunch.payload.memory import memory_file, require_memory, shortage
from nblaunch.payload.packed import Packed, Parts, locate

__all__ = ["MOST_FILES", "Stored", "require_memory_for", "store", "store_if_large"]

# see fcntl(2); Python 3.10 has these names only with some C libraries
_F_ADD_SEALS, _F_GET_SEALS = 1033, 1034
_SEALS = 2 | 4 | 8  # F_SEAL_SHRINK, F_SEAL_GROW, F_SEAL_WRITE
# Bytes from which on mapping a buffer costs no more than reading it; ranks share mapped memory.
MAPPED_FROM = 64 << 10
# Bytes of small buffers that are read together. Each of them keeps the memory of all.
_MAX_GROUP_BYTES = 256 << 10
# Bytes below which a socket is as fast as a memory file.
_MIN_STORED_BYTES = 256 << 10
# Bytes of a file that are worth a thread: to write 16 MiB takes some 5 ms, to start a thread less than 1 ms.
_MIN_FILE_BYTES = 16 << 20
# The length of each file but the last is a multiple of this, the size of a huge page.
_FILE_ALIGN = 2 << 20
# More threads than these would wait for the memory.
MOST_FILES = 4
# Pieces in one system call (IOV_MAX is 1024); a piece of more bytes than the second number is written without waiting.
_MAX_PIECES = 512
_LARGE_PIECE = 1 << 20


class Stored:
    """Memory files with one or several `Packed`, one after the other. Owns the descriptors.

    Parameters
    ----------
    *descriptors : int
        Descriptors of the files that `store` has made, in order.
    """

    def __init__(self, *descriptors: int) -> None:
        self.descriptors: tuple[int, ...] = descriptors

    def size(self) -> int:
        """Return the length of the files in bytes."""
        return sum(os.fstat(descriptor).st_size for descriptor in self.descriptors)

    def is_sealed(self) -> bool:
        """Tell whether these files cannot be changed or shortened any more."""
        try:
            return all(fcntl.fcntl(descriptor, _F_GET_SEALS) & _SEALS == _SEALS for descriptor in self.descriptors)
        except OSError:
            return False  # these are not memory files

    def parts(self) -> list[Parts]:
        """Return each `Packed` for `unpack`, mapped or read; the descriptors may be closed afterwards.

        Raises
        ------
        ValueError
            If the files hold something else.
        OSError
            If the system refuses memory.
        """
        ends = list(itertools.accumulate(os.fstat(descriptor).st_size for descriptor in self.descriptors))
        size = ends[-1]

        def pieces(offset: int, length: int) -> list[Piece]:
            found = []
            start = 0
            for descriptor, end in zip(self.descriptors, ends, strict=True):
                if offset < end and start < offset + length:
                    first, last = max(offset, start), min(offset + length, end)
                    found.append(Piece(descriptor, first - start, last - first))
                start = end
            return found or [Piece(self.descriptors[0], 0, 0)]

        def read(offset: int, length: int) -> memoryview:
            return read_aligned(pieces(offset, max(0, min(length, size - offset))))

        found = []
        start = 0
        while start < size:
            segments, start = locate(read, start, size)
            found.append(list(_read(segments, pieces)))
        return found

    def close(self) -> None:
        """Close the descriptors; the results of `parts` stay valid."""
        descriptors, self.descriptors = self.descriptors, ()
        for descriptor in descriptors:
            os.close(descriptor)

    def __enter__(self) -> Stored:  # noqa: PYI034  (Self is newer than Python 3.10)
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


_Pieces = Callable[[int, int], list[Piece]]


def _read(segments: list[tuple[int, int]], pieces: _Pieces) -> Iterator[memoryview]:
    large = sum(length >= MAPPED_FROM for _, length in segments)
    if large > 1 and not has_room_for(large):
        yield from _map_together(segments, pieces)
        return
    small: list[tuple[int, int]] = []
    for offset, length in segments:
        if length >= MAPPED_FROM or (small and offset + length - small[0][0] > _MAX_GROUP_BYTES):
            yield from _read_together(small, pieces)
            small = []
        if length >= MAPPED_FROM:
            yield map_private(pieces(offset, length))
        else:
            small.append((offset, length))
    yield from _read_together(small, pieces)


def _read_together(small: list[tuple[int, int]], pieces: _Pieces) -> Iterator[memoryview]:
    if small:
        start = small[0][0]
        block = read_aligned(pieces(start, sum(small[-1]) - start))
        for offset, length in small:
            yield block[offset - start : offset - start + length]


def _map_together(segments: list[tuple[int, int]], pieces: _Pieces) -> Iterator[memoryview]:
    """Map everything in one mapping, for lack of mappings; its memory is freed with the last part."""
    start = segments[0][0]
    block = map_private(pieces(start, sum(segments[-1]) - start))
    for offset, length in segments:
        yield block[offset - start : offset - start + length]


def store(*packed: Packed, most_files: int = 1) -> Stored:
    """Write packed objects into memory files and seal them.

    Parameters
    ----------
    *packed : Packed
        What to write, one after the other.
    most_files : int
        How many files there may be, up to `MOST_FILES`; each is written by its own thread. Fewer are used if that is as
        fast.

    Raises
    ------
    NotEnoughMemory
        If they do not fit into the memory that is available.
    OSError
        If the system has no memory files or gives no more descriptors.
    """
    size, sizes = require_memory_for(packed)
    # all files but the last have the same length
    length = max(_MIN_FILE_BYTES, -(-size // min(most_files, MOST_FILES)))
    length += -length % _FILE_ALIGN
    stored = Stored()
    try:
        for _ in range(max(1, -(-size // length))):
            stored.descriptors += (memory_file("nblaunch-objects", sealable=True),)
        chunks = itertools.chain.from_iterable(each.chunks() for each in packed)
        _write_at_once(stored.descriptors, _cut(chunks, length))
        for descriptor in stored.descriptors:
            fcntl.fcntl(descriptor, _F_ADD_SEALS, _SEALS)
    except BaseException as error:
        stored.close()
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.ENOMEM, errno.EFBIG, errno.EDQUOT):
            raise shortage(size, sizes, f"the system gave no more ({error.strerror})") from None
        raise
    return stored


def require_memory_for(packed: Sequence[Packed]) -> tuple[int, dict[str, int]]:
    """Return the bytes that `store` will need, in all and by name.

    Raises
    ------
    NotEnoughMemory
        If they do not fit into the memory that is available.
    """
    size = sum(each.size for each in packed)
    sizes = dict(itertools.chain.from_iterable(each.sizes.items() for each in packed))
    require_memory(size, sizes)
    return size, sizes


def _cut(chunks: Iterable[bytes | memoryview], length: int) -> list[list[memoryview]]:
    """Cut the bytes into lists of `length` bytes each; the last may be shorter."""
    lists: list[list[memoryview]] = [[]]
    left = length
    for chunk in chunks:
        view = memoryview(chunk).cast("B")
        while view.nbytes > left:
            lists[-1].append(view[:left])
            view, left = view[left:], length
            lists.append([])
        lists[-1].append(view)
        left -= view.nbytes
    return lists


def _write_at_once(descriptors: tuple[int, ...], lists: list[list[memoryview]]) -> None:
    """Write each list to the file of the same number, in a thread for each."""
    errors: list[BaseException] = []

    def write(number: int) -> None:
        try:
            _write(descriptors[number], lists[number])
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=write, args=(number,), name="nblaunch-store") for number in range(1, len(lists))]
    with contextlib.ExitStack() as stack:
        alone = [0]
        for number, thread in enumerate(threads, 1):
            try:
                thread.start()
                stack.callback(thread.join)
            except RuntimeError:  # no more threads
                alone.append(number)
        for number in alone:
            write(number)
    if errors:
        raise errors[0]


def _write(descriptor: int, views: list[memoryview]) -> None:
    waiting: list[memoryview] = []
    for view in views:
        waiting.append(view)
        if len(waiting) == _MAX_PIECES or view.nbytes > _LARGE_PIECE:
            _write_all(descriptor, waiting)
    _write_all(descriptor, waiting)


def _write_all(descriptor: int, waiting: list[memoryview]) -> None:
    while waiting:
        written = os.writev(descriptor, waiting)
        while waiting and written >= waiting[0].nbytes:
            written -= waiting.pop(0).nbytes
        if waiting:
            waiting[0] = waiting[0][written:]


def store_if_large(packed: Packed) -> Packed | Stored:
    """Store packed objects if they are large, and return them as they are otherwise.

    Raises
    ------
    NotEnoughMemory, OSError
        See `store`.
    """
    return store(packed) if packed.size >= _MIN_STORED_BYTES else packed
