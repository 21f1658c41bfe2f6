"""`Stored`: packed objects in files that live in memory, on their way to another process.

The sender writes once, whatever the number of receivers. A receiver maps what is large, privately, so that nothing is
copied until it is written to, and reads what is small.

Usually there is one file. What is very large is cut into a few, because the kernel lets only one thread at a time write
to a file, and a second core halves the time. A receiver maps them one behind the other.
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

# fcntl(2); Python 3.10 has the names only where its C library had them
_F_ADD_SEALS, _F_GET_SEALS = 1033, 1034
_SEALS = 2 | 4 | 8  # F_SEAL_SHRINK, F_SEAL_GROW, F_SEAL_WRITE
# From about here on, mapping and touching pages costs no more than reading them, and memory is shared among the ranks.
MAPPED_FROM = 64 << 10
# Small neighbours are read together; each keeps the others' memory.
_GROUP = 256 << 10
# Below this a socket is as fast as a memory file.
_LARGE = 256 << 10
# From here on a file gets a thread of its own: to write 16 MiB takes some 5 ms, a thread less than one.
_FILE = 16 << 20
# Files end with a huge page, but for the last.
_CUT = 2 << 20
# More threads than these find the memory busy.
MOST_FILES = 4
# How many pieces one system call writes (IOV_MAX is 1024), and from what length on a piece is written at once.
_PIECES = 512
_AT_ONCE = 1 << 20


class Stored:
    """Memory files with one or several `Packed`, one behind the other. Owns the descriptors.

    Parameters
    ----------
    *descriptors : int
        Of the files that `store` has made, in their order.
    """

    def __init__(self, *descriptors: int) -> None:
        self.descriptors: tuple[int, ...] = descriptors

    def size(self) -> int:
        """Return the length of the files in bytes."""
        return sum(os.fstat(descriptor).st_size for descriptor in self.descriptors)

    def is_sealed(self) -> bool:
        """Tell whether nobody can change or shorten these files any more."""
        try:
            return all(fcntl.fcntl(descriptor, _F_GET_SEALS) & _SEALS == _SEALS for descriptor in self.descriptors)
        except OSError:
            return False  # they do not live in memory

    def parts(self) -> list[Parts]:
        """Return each of the `Packed`, for `unpack`: mapped or read, independent of the descriptor.

        Raises
        ------
        ValueError
            If the file holds something else.
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
        """Close the descriptors; what `parts` has returned stays."""
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
        if length >= MAPPED_FROM or (small and offset + length - small[0][0] > _GROUP):
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
    """Map everything at once: its memory goes when the last part of it does."""
    start = segments[0][0]
    block = map_private(pieces(start, sum(segments[-1]) - start))
    for offset, length in segments:
        yield block[offset - start : offset - start + length]


def store(*packed: Packed, most_files: int = 1) -> Stored:
    """Write packed objects into memory files and seal them.

    Parameters
    ----------
    *packed : Packed
        What to write, one behind the other.
    most_files : int
        How many files there may be, each written by a thread of its own; at most `MOST_FILES`. Less than all of them
        are used where that is as fast.

    Raises
    ------
    NotEnoughMemory
        If they do not fit into the memory that is available.
    OSError
        If the system has no memory files or gives no more descriptors.
    """
    size, sizes = require_memory_for(packed)
    # of equal length, and no more of them than there are full ones
    length = max(_FILE, -(-size // min(most_files, MOST_FILES)))
    length += -length % _CUT
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
    """Return the bytes in lists of `length` of them each, but for the last, which may be shorter."""
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
    """Write each list to the file of the same number, in as many threads."""
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
        if len(waiting) == _PIECES or view.nbytes > _AT_ONCE:
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
    """Return the packed objects in the form in which they are sent: stored if they are large, else as they are.

    Raises
    ------
    NotEnoughMemory, OSError
        See `store`.
    """
    return store(packed) if packed.size >= _LARGE else packed
