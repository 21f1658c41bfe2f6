"""Messages of a rank to its gang, over a socket pair that nobody else holds.

A message is a header (mark, length of the kind, length of the body, time of sending), the kind as ASCII text and the
body. A large body is not written to the socket: it lies in a sealed memory file whose descriptor comes with the header,
and the gang maps it. The rank writes with `Channel`, blocking; the gang reads with `Inbox`, never blocking. What a rank
sends is not trusted to be well formed: whatever breaks the form raises `ProtocolError`, and the rank counts as failed.
"""

from __future__ import annotations

import array
import os
import socket
import struct
import threading
import time
from typing import NamedTuple

from nblaunch.payload import Packed, Parts, Stored

__all__ = ["Channel", "Inbox", "Message", "ProtocolError"]

_HEADER = struct.Struct("!4sBQd")
_MAGIC = b"NBLM"
_MAGIC_STORED = b"NBLS"
_BLOCK = 1 << 20
# No machine that this runs on can hold more; a longer length is garbage.
_LONGEST = 1 << 44
# Room for one descriptor, and for a second one, which would be one too many.
_DESCRIPTORS = socket.CMSG_SPACE(2 * array.array("i").itemsize)


class ProtocolError(Exception):
    """A rank sent bytes that are no message."""


class Message(NamedTuple):
    """One message: its kind, its body (mapped, if it was stored) and the `time.monotonic` at which it was sent."""

    kind: str
    body: bytearray | Parts
    at: float


class Channel:
    """The rank's end."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._lock = threading.Lock()
        self._owner = os.getpid()

    def send(self, kind: str, body: bytes | Packed | Stored = b"") -> None:
        """Send one message; return when the last byte is in the kernel's buffer.

        A process that the rank has forked is not the rank: for it, this does nothing.

        Parameters
        ----------
        kind : str
            At most 255 ASCII letters.
        body : bytes, Packed or Stored
            The body; of a `Stored` one, which must be in one file, the descriptor is passed on and closed here.

        Raises
        ------
        OSError
            If the gang is gone.
        """
        if os.getpid() != self._owner:
            return
        name = kind.encode("ascii")
        with self._lock:
            if isinstance(body, Stored):
                with body:
                    head = _HEADER.pack(_MAGIC_STORED, len(name), body.size(), time.monotonic()) + name
                    sent = socket.send_fds(self._connection, [head], list(body.descriptors))
                    self._connection.sendall(head[sent:])
                return
            size = body.size if isinstance(body, Packed) else len(body)
            self._connection.sendall(_HEADER.pack(_MAGIC, len(name), size, time.monotonic()) + name)
            for chunk in body.chunks() if isinstance(body, Packed) else [body]:
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
        self._descriptors: list[int] = []
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
            If the bytes are no message, or what was passed along is not what was announced.
        """
        try:
            return self._receive()
        except BaseException:
            self._drop_descriptors()
            raise

    def _receive(self) -> list[Message]:
        messages: list[Message] = []
        while not self.closed:
            try:
                if self._body is None:
                    stored = self._receive_head()
                    if stored is not None:
                        messages.append(stored)
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
        self._drop_descriptors()
        self._connection.close()

    def _drop_descriptors(self) -> None:
        while self._descriptors:
            os.close(self._descriptors.pop())

    def _make_room(self, body: bytearray) -> None:
        # Grows with what has come, because the length in a header is only a claim. The kernel moves pages of a large
        # block without copying them.
        if self._filled == len(body):
            try:
                body.extend(bytes(min(self._size - self._filled, max(_BLOCK, self._filled))))
            except MemoryError:
                raise ProtocolError(f"no memory for a message of {self._size} bytes") from None

    def _receive_head(self) -> Message | None:
        """Take some of the next message's head; return the message if it is complete and its body was stored."""
        missing = _HEADER.size - len(self._head)
        self._head += self._take(missing if missing > 0 else _HEADER.size + self._head[4] - len(self._head))
        if len(self._head) < _HEADER.size:
            return None
        mark, kind_length, size, at = _HEADER.unpack_from(self._head)
        if mark not in (_MAGIC, _MAGIC_STORED) or not kind_length > 0 or size > _LONGEST:
            raise ProtocolError(f"bytes that are no message: {bytes(self._head)!r}")
        if len(self._head) < _HEADER.size + kind_length:
            return None
        try:
            self._kind = self._head[_HEADER.size :].decode("ascii")
        except UnicodeDecodeError as error:
            raise ProtocolError(f"bytes that are no message: {error}") from None
        self._head.clear()
        announced = mark == _MAGIC_STORED
        if len(self._descriptors) != announced:
            raise ProtocolError(f"{len(self._descriptors)} descriptors came with a message that has {int(announced)}")
        if announced:
            return Message(self._kind, self._map(size), at)
        self._body = bytearray()
        self._size = size
        self._at = at
        return None

    def _take(self, count: int) -> bytes:
        got, ancillary, flags, _ = self._connection.recvmsg(count, _DESCRIPTORS, socket.MSG_CMSG_CLOEXEC)
        for level, kind, data in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                found = array.array("i")
                found.frombytes(data[: len(data) - len(data) % found.itemsize])
                self._descriptors += found
        if flags & socket.MSG_CTRUNC:
            raise ProtocolError("more descriptors came with a message than it has, or than this process may open")
        self.closed = not got
        return got

    def _map(self, size: int) -> Parts:
        """Map what is stored at once: a descriptor for each of many ranks would be more than a process may have."""
        with Stored(self._descriptors.pop()) as stored:
            # a file that the rank could still shorten would take this process down when it is looked at
            if not stored.is_sealed():
                raise ProtocolError("the file of a message is not sealed")
            try:
                if stored.size() != size:
                    raise ProtocolError(f"the file of a message has {stored.size()} bytes and not {size}")
                parts = stored.parts()
            except (ValueError, OSError, MemoryError) as error:
                raise ProtocolError(f"the file of a message cannot be mapped: {error}") from None
        if len(parts) != 1:
            raise ProtocolError(f"the file of a message has {len(parts)} payloads")
        return parts[0]
