"""Messages of a rank to its gang, over a socket pair that nobody else holds.

A message is a header (mark, length of the kind, length of the body, time of sending), the kind as ASCII text and the
body. The rank writes with `Channel`, blocking; the gang reads with `Inbox`, never blocking. What a rank sends is not
trusted to be well formed: whatever breaks the form raises `ProtocolError`, and the rank counts as failed.
"""

from __future__ import annotations

import os
import socket
import struct
import threading
import time
from collections.abc import Iterable
from typing import NamedTuple

__all__ = ["Channel", "Inbox", "Message", "ProtocolError"]

_HEADER = struct.Struct("!4sBQd")
_MAGIC = b"NBLM"
_BLOCK = 1 << 20
# No machine that this runs on can hold more; a longer length is garbage.
_LONGEST = 1 << 44


class ProtocolError(Exception):
    """A rank sent bytes that are no message."""


class Message(NamedTuple):
    """One message: its kind, its body and the `time.monotonic` at which it was sent."""

    kind: str
    body: bytearray
    at: float


class Channel:
    """The rank's end."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._lock = threading.Lock()
        self._owner = os.getpid()

    def send(self, kind: str, chunks: Iterable[bytes | memoryview] = (), size: int = 0) -> None:
        """Send one message; return when the last byte is in the kernel's buffer.

        A process that the rank has forked is not the rank: for it, this does nothing.

        Parameters
        ----------
        kind : str
            At most 255 ASCII letters.
        chunks : iterable of buffers
            The body.
        size : int
            Bytes in all chunks together.

        Raises
        ------
        OSError
            If the gang is gone.
        """
        if os.getpid() != self._owner:
            return
        name = kind.encode("ascii")
        with self._lock:
            self._connection.sendall(_HEADER.pack(_MAGIC, len(name), size, time.monotonic()) + name)
            for chunk in chunks:
                self._connection.sendall(chunk)

    def close(self) -> None:
        """Close the socket: nothing more will be sent."""
        self._connection.close()


class Inbox:
    """The gang's end: collects messages from a non-blocking socket."""

    def __init__(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        self._connection = connection
        self._head = bytearray()
        self._body: bytearray | None = None
        self._size = 0
        self._filled = 0
        self._kind = ""
        self._at = 0.0
        self.closed = False

    def fileno(self) -> int:
        """Return the descriptor to wait for."""
        return self._connection.fileno()

    def receive(self) -> list[Message]:
        """Take what has arrived, without waiting; `closed` is true after the last byte.

        Raises
        ------
        ProtocolError
            If the bytes are no message.
        """
        messages: list[Message] = []
        while not self.closed:
            try:
                if self._body is None:
                    self._receive_head()
                elif self._filled < self._size:
                    self._make_room(self._body)
                    with memoryview(self._body) as view:
                        count = self._connection.recv_into(view[self._filled : self._filled + _BLOCK])
                    self._filled += count
                    self.closed = count == 0
            except BlockingIOError:
                break
            except ConnectionResetError:
                self.closed = True
            if self._body is not None and self._filled == self._size:
                messages.append(Message(self._kind, self._body, self._at))
                self._body, self._filled = None, 0
        return messages

    def close(self) -> None:
        """Close the socket."""
        self._connection.close()

    def _make_room(self, body: bytearray) -> None:
        # Grows with what has come, because the length in a header is only a claim. The kernel moves pages of a large
        # block without copying them.
        if self._filled == len(body):
            try:
                body.extend(bytes(min(self._size - self._filled, max(_BLOCK, self._filled))))
            except MemoryError:
                raise ProtocolError(f"no memory for a message of {self._size} bytes") from None

    def _receive_head(self) -> None:
        missing = _HEADER.size - len(self._head)
        if missing > 0:
            got = self._connection.recv(missing)
        else:
            got = self._connection.recv(_HEADER.size + self._head[4] - len(self._head))
        self.closed = not got
        self._head += got
        if len(self._head) < _HEADER.size:
            return
        mark, kind_length, size, at = _HEADER.unpack_from(self._head)
        if mark != _MAGIC or not kind_length > 0 or size > _LONGEST:
            raise ProtocolError(f"bytes that are no message: {bytes(self._head)!r}")
        if len(self._head) < _HEADER.size + kind_length:
            return
        try:
            self._kind = self._head[_HEADER.size :].decode("ascii")
        except UnicodeDecodeError as error:
            raise ProtocolError(f"bytes that are no message: {error}") from None
        self._body = bytearray()
        self._size = size
        self._at = at
        self._head.clear()
