"""`Stored`: packed objects in a file that lives in memory, on their way to another process.

The sender writes once, whatever the number of receivers. A receiver maps what is large, privately, so that nothing is
copied until it is written to, and reads what is small.
"""

from __future__ import annotations

import errno
import fcntl
import itertools
import os
from collections.abc import Iterator

from nblaunch.payload.mapping import map_private, read_aligned
from nblaunch.payload.memory import memory_file, require_memory, shortage
from nblaunch.payload.packed import Packed, Parts, locate

__all__ = ["Stored", "store", "store_if_large"]

# fcntl(2); Python 3.10 has the names only where its C library had them
_F_ADD_SEALS, _F_GET_SEALS = 1033, 1034
_SEALS = 2 | 4 | 8  # F_SEAL_SHRINK, F_SEAL_GROW, F_SEAL_WRITE
# From about here on, mapping and touching pages costs no more than reading them, and memory is shared among the ranks.
MAPPED_FROM = 64 << 10
# Small neighbours are read together; each keeps the others' memory.
_GROUP = 256 << 10
# Below this a socket is as fast as a memory file.
_LARGE = 256 << 10


class Stored:
    """A memory file with one or several `Packed`, one behind the other. Owns its descriptor.

    Parameters
    ----------
    descriptor : int
        Of a file that `store` has made.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._descriptor

    def size(self) -> int:
        """Return the length of the file in bytes."""
        return os.fstat(self._descriptor).st_size

    def is_sealed(self) -> bool:
        """Tell whether nobody can change or shorten this file any more."""
        try:
            return fcntl.fcntl(self._descriptor, _F_GET_SEALS) & _SEALS == _SEALS
        except OSError:
            return False  # it does not live in memory

    def parts(self) -> list[Parts]:
        """Return each of the `Packed`, for `unpack`: mapped or read, independent of the descriptor.

        Raises
        ------
        ValueError
            If the file holds something else.
        OSError
            If the system refuses memory.
        """
        size = self.size()

        def read(offset: int, length: int) -> memoryview:
            return read_aligned(self._descriptor, offset, max(0, min(length, size - offset)))

        found = []
        start = 0
        while start < size:
            segments, start = locate(read, start, size)
            found.append(list(self._read(segments)))
        return found

    def close(self) -> None:
        """Close the descriptor; what `parts` has returned stays."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> Stored:  # noqa: PYI034  (Self is newer than Python 3.10)
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _read(self, segments: list[tuple[int, int]]) -> Iterator[memoryview]:
        small: list[tuple[int, int]] = []
        for offset, length in segments:
            if length >= MAPPED_FROM or (small and offset + length - small[0][0] > _GROUP):
                yield from self._read_together(small)
                small = []
            if length >= MAPPED_FROM:
                yield self._map(offset, length)
            else:
                small.append((offset, length))
        yield from self._read_together(small)

    def _read_together(self, small: list[tuple[int, int]]) -> Iterator[memoryview]:
        if small:
            start = small[0][0]
            block = read_aligned(self._descriptor, start, sum(small[-1]) - start)
            for offset, length in small:
                yield block[offset - start : offset - start + length]

    def _map(self, offset: int, length: int) -> memoryview:
        try:
            return map_private(self._descriptor, offset, length)
        except OSError as refusal:
            # a process may have 65530 mappings (vm.max_map_count)
            if refusal.errno != errno.ENOMEM or length > _GROUP:
                raise
            return read_aligned(self._descriptor, offset, length)


def store(*packed: Packed) -> Stored:
    """Write packed objects into a memory file and seal it.

    Raises
    ------
    NotEnoughMemory
        If they do not fit into the memory that is available.
    OSError
        If the system has no memory files or gives no more descriptors.
    """
    size = sum(each.size for each in packed)
    sizes = dict(itertools.chain.from_iterable(each.sizes.items() for each in packed))
    require_memory(size, sizes)
    stored = Stored(memory_file("nblaunch-objects", sealable=True))
    try:
        for each in packed:
            each.write_to(stored.fileno())
        fcntl.fcntl(stored.fileno(), _F_ADD_SEALS, _SEALS)
    except BaseException as error:
        stored.close()
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.ENOMEM, errno.EFBIG, errno.EDQUOT):
            raise shortage(size, sizes, f"the system gave no more ({error.strerror})") from None
        raise
    return stored


def store_if_large(packed: Packed) -> Packed | Stored:
    """Return the packed objects in the form in which they are sent: stored if they are large, else as they are.

    Raises
    ------
    NotEnoughMemory, OSError
        See `store`.
    """
    return store(packed) if packed.size >= _LARGE else packed
