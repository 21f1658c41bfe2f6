"""`Packed`: a pickle stream and its buffers; as bytes, they stand one after the other, behind a header."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

__all__ = ["Packed", "Parts", "locate", "split"]

# A pickle stream and its buffers, for `nblaunch.payload.unpack`.
Parts = list[memoryview]

_MAGIC = b"NBLP"
_ALIGN = 64
_COUNT = struct.Struct("!4sI")
_LENGTH = 8
# More buffers than any object has. A header with more is damaged, and must not make the receiver use memory.
_MAX_BUFFERS = 1 << 24


class Packed:
    """A pickle stream and the buffers that belong to it.

    Attributes
    ----------
    filenames : set of str
        Names of the files (in a notebook: of the cells) that the functions inside were compiled from.
    sizes : dict of str to int
        Bytes of each object, if they were packed by name. Objects that several names share count for the first.
    size : int
        Bytes that `chunks` yields in all.
    unusual : tuple of str
        Names of objects whose own code rebuilds them, which may fail.
    notices : tuple of str
        Sentences for the user about objects that will be different in the receiver.
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
        """Return the same with copies of the buffers, for the case that the objects change."""
        stream, *buffers = self._segments
        copies = [memoryview(bytearray(buffer)) for buffer in buffers]
        return Packed(bytes(stream), copies, self.filenames, self.sizes, self.unusual, self.notices)

    def mentions(self, text: str) -> bool:
        """Tell whether the pickle stream contains an ASCII text, such as the name of a module."""
        return text.encode("ascii") in self._segments[0]

    def __bytes__(self) -> bytes:
        return b"".join(self.chunks())


def split(data: Any) -> list[Parts]:
    """Split the bytes of several `Packed`, written one after the other; each element is for `unpack`.

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
    """Return offset and length of the stream and of each buffer of the `Packed` at `start`, and where it ends.

    Parameters
    ----------
    read : callable
        ``read(offset, length)`` returns these bytes, or fewer at the end of the data.
    start, size : int
        Where the `Packed` begins, and the number of bytes in all.

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
    """Return the number of bytes to add to `length` for the next multiple of 64."""
    return -length % _ALIGN
