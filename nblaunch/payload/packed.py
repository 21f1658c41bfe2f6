"""The form of packed objects: a header, a pickle stream, and the buffers that belong to it, one behind the other."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

__all__ = ["Packed", "Parts", "locate", "split"]

# A pickle stream and the buffers that belong to it.
Parts = list[memoryview]

_MAGIC = b"NBLP"
_ALIGN = 64
_COUNT = struct.Struct("!4sI")
_LENGTH = 8
# More buffers than any object has, so that a spoilt header takes no memory.
_MAX_BUFFERS = 1 << 24


class Packed:
    """A pickle stream and the buffers that belong to it.

    Attributes
    ----------
    filenames : set of str
        Names of the files (in a notebook: of the cells) that the functions inside were compiled from.
    sizes : dict of str to int
        Bytes that each named object takes, if the objects were packed by name; shared ones count for the first name.
    size : int
        Bytes that `chunks` yields in all.
    unusual : tuple of str
        Names of objects that say themselves how they are rebuilt, which may fail.
    notices : tuple of str
        Sentences for the user about objects that will not mean on the other side what they mean here.
    """

    def __init__(
        self,
        stream: bytes,
        buffers: list[memoryview],
        filenames: set[str],
        sizes: Mapping[str, int] = MappingProxyType({}),
        unusual: tuple[str, ...] = (),
        notices: tuple[str, ...] = (),
    ) -> None:
        self._segments: list[bytes | memoryview] = [stream, *buffers]
        self.filenames = filenames
        self.unusual = unusual
        self.notices = notices
        self.sizes: dict[str, int] = dict(sizes)
        lengths = [memoryview(segment).nbytes for segment in self._segments]
        header = _COUNT.pack(_MAGIC, len(lengths)) + struct.pack(f"!{len(lengths)}Q", *lengths)
        self._header = header + bytes(padding(len(header)))
        self.size: int = len(self._header) + sum(length + padding(length) for length in lengths)

    def chunks(self) -> Iterator[bytes | memoryview]:
        """Yield the bytes, header first, without joining them."""
        yield self._header
        for segment in self._segments:
            yield segment
            gap = padding(memoryview(segment).nbytes)
            if gap:
                yield bytes(gap)

    def frozen(self) -> Packed:
        """Return the same with copies of the buffers: what they belong to may change."""
        stream, *buffers = self._segments
        copies = [memoryview(bytearray(buffer)) for buffer in buffers]
        return Packed(bytes(stream), copies, self.filenames, self.sizes, self.unusual, self.notices)

    def mentions(self, text: str) -> bool:
        """Tell whether the pickle stream contains these ASCII letters: names of modules stand in it as they are."""
        return text.encode("ascii") in self._segments[0]

    def __bytes__(self) -> bytes:
        return b"".join(self.chunks())


def split(data: Any) -> list[Parts]:
    """Take apart what several `Packed`, written one behind the other, have become; each part is for `unpack`.

    Raises
    ------
    ValueError
        If `data` is not what `Packed` wrote.
    """
    view = memoryview(data).cast("B")
    found = []
    start = 0
    while start < len(view):
        segments, start = locate(lambda offset, length: view[offset : offset + length], start, len(view))
        found.append([view[offset : offset + length] for offset, length in segments])
    return found


def locate(read: Callable[[int, int], Any], start: int, size: int) -> tuple[list[tuple[int, int]], int]:
    """Find the stream and the buffers that begin at `start`: offset and length of each, and where they end.

    Parameters
    ----------
    read : callable
        ``read(offset, length)`` returns these bytes, or fewer where there are no more.
    start, size : int
        Where to begin, and how many bytes there are in all.

    Raises
    ------
    ValueError
        If these bytes are not what `Packed` wrote.
    """
    try:
        magic, count = _COUNT.unpack_from(read(start, _COUNT.size))
        if magic != _MAGIC or not 0 < count <= _MAX_BUFFERS:
            raise ValueError("wrong mark")
        lengths = struct.unpack_from(f"!{count}Q", read(start + _COUNT.size, count * _LENGTH))
    except (struct.error, ValueError) as error:
        raise ValueError(f"these bytes are not a payload ({error})") from None
    offset = _COUNT.size + count * _LENGTH
    offset += start + padding(offset)
    found = []
    for length in lengths:
        if offset + length > size:
            raise ValueError(f"the payload is cut short: {size} bytes of at least {offset + length}")
        found.append((offset, length))
        offset += length + padding(length)
    return found, offset


def padding(length: int) -> int:
    """Return how many bytes follow `length` of them, so that the next begin at a multiple of 64."""
    return -length % _ALIGN
