"""The form of packed objects: a header, a pickle stream, and the buffers that belong to it, one behind the other."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from typing import Any

__all__ = ["Packed", "segments", "split"]

_MAGIC = b"NBLP"
_ALIGN = 64
_COUNT = struct.Struct("!4sI")
_LENGTH = struct.Struct("!Q")


class Packed:
    """A pickle stream and the buffers that belong to it.

    Attributes
    ----------
    filenames : set of str
        Names of the files (in a notebook: of the cells) that the functions inside were compiled from.
    size : int
        Bytes that `chunks` yields in all.
    """

    def __init__(self, stream: bytes, buffers: list[memoryview], filenames: set[str]) -> None:
        self._segments: list[bytes | memoryview] = [stream, *buffers]
        self.filenames = filenames
        lengths = [memoryview(segment).nbytes for segment in self._segments]
        header = _COUNT.pack(_MAGIC, len(lengths)) + b"".join(map(_LENGTH.pack, lengths))
        self._header = header + bytes(_padding(len(header)))
        self.size = len(self._header) + sum(length + _padding(length) for length in lengths)

    def chunks(self) -> Iterator[bytes | memoryview]:
        """Yield the bytes, header first, without joining them."""
        yield self._header
        for segment in self._segments:
            yield segment
            gap = _padding(memoryview(segment).nbytes)
            if gap:
                yield bytes(gap)

    def mentions(self, text: str) -> bool:
        """Tell whether the pickle stream contains these ASCII letters: names of modules stand in it as they are."""
        return text.encode("ascii") in self._segments[0]

    def write_to(self, descriptor: int) -> None:
        """Write everything to an open file descriptor."""
        for chunk in self.chunks():
            view = memoryview(chunk).cast("B")
            while view:
                view = view[os.write(descriptor, view) :]

    def __bytes__(self) -> bytes:
        return b"".join(self.chunks())


def split(data: Any) -> list[memoryview]:
    """Take apart what several `Packed`, written one behind the other, have become; each part is for `unpack`.

    Raises
    ------
    ValueError
        If `data` is not what `Packed` wrote.
    """
    view = memoryview(data).cast("B")
    parts = []
    start = 0
    while start < len(view):
        _, end = segments(view, start)
        parts.append(view[start:end])
        start = end
    return parts


def segments(view: memoryview, start: int) -> tuple[list[memoryview], int]:
    """Return the stream and the buffers that begin at `start`, and where they end.

    Raises
    ------
    ValueError
        If these bytes are not what `Packed` wrote.
    """
    try:
        magic, count = _COUNT.unpack_from(view, start)
        if magic != _MAGIC or count == 0:
            raise ValueError("wrong mark")
        table = start + _COUNT.size
        lengths = [_LENGTH.unpack_from(view, table + i * _LENGTH.size)[0] for i in range(count)]
    except (struct.error, ValueError) as error:
        raise ValueError(f"these bytes are not a payload ({error})") from None
    offset = table + count * _LENGTH.size
    offset += _padding(offset - start)
    found: list[memoryview] = []
    for length in lengths:
        if offset + length > len(view):
            raise ValueError(f"the payload is cut short: {len(view)} bytes of at least {offset + length}")
        found.append(view[offset : offset + length])
        offset += length + _padding(length)
    return found, offset


def _padding(length: int) -> int:
    return -length % _ALIGN
