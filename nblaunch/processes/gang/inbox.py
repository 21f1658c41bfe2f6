"""`Inbox`: the gang's end of the connection to a rank; see `nblaunch.processes.wire`.

What a rank sends is not trusted to be well-formed: anything else raises `ProtocolError`, and the rank counts as failed.
"""

from __future__ import annotations

import array
import contextlib
import os
import socket
import time
from collections.abc import Sequence
from typing import NamedTuple

from nblaunch.payload import Parts, Stored
from nblaunch.processes.wire import ANSWER, HEADER, MAGIC, MAGIC_STORED, NUMBER, TASK

__all__ = ["Inbox", "ProtocolError", "Received"]

# Bytes that are received at a time.
_BLOCK = 1 << 20
# No machine has this much memory: a larger length in a header is garbage.
_MAX_MESSAGE_BYTES = 1 << 44
# Bytes for two descriptors: a message has one at most, and the second shows that there are too many.
_DESCRIPTORS = socket.CMSG_SPACE(2 * array.array("i").itemsize)


class ProtocolError(Exception):
    """A rank sent bytes that are no message."""


class Received(NamedTuple):
    """One message: its kind, its body (mapped, if it was stored) and the `time.monotonic` at which it was sent."""

    kind: str
    body: bytearray | Parts
    at: float


class Inbox:
    """Collects messages from a non-blocking socket, and sends answers and tasks."""

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
        self.closed: bool = False

    def fileno(self) -> int:
        """Return the descriptor to wait for."""
        return self._connection.fileno()

    def receive(self) -> list[Received]:
        """Take what has arrived, without waiting; `closed` is true after the last byte.

        Raises
        ------
        ProtocolError
            If the bytes are no message, or descriptors came that the message does not announce.
        """
        try:
            return self._receive()
        except BaseException:
            self._drop_descriptors()
            raise

    def _receive(self) -> list[Received]:
        messages: list[Received] = []
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
                messages.append(Received(self._kind, self._body, self._at))
                self._body, self._filled = None, 0
        return messages

    def answer(self, number: int, body: bytes) -> None:
        """Answer a question, without waiting.

        Raises
        ------
        ProtocolError
            If the socket's buffer is full, because the rank does not read its answers.
        OSError
            If the rank is gone.
        """
        head = HEADER.pack(MAGIC, len(ANSWER), NUMBER.size + len(body), time.monotonic())
        message = head + ANSWER + NUMBER.pack(number) + body
        try:
            sent = self._connection.send(message)
        except BlockingIOError:
            sent = 0
        if sent < len(message):
            raise ProtocolError("it does not take the answers to what it asks")

    def give(self, task: bytes, descriptors: Sequence[int]) -> None:
        """Give a rank that stays its next task, without waiting.

        Parameters
        ----------
        task : bytes
            The description of the task.
        descriptors : sequence of int
            The files of its payload; at most `nblaunch.payload.MOST_FILES`.

        Raises
        ------
        ProtocolError
            If the socket's buffer is full, because the rank does not read.
        OSError
            If the rank is gone.
        """
        message = HEADER.pack(MAGIC, len(TASK), len(task), time.monotonic()) + TASK + task
        try:
            sent = socket.send_fds(self._connection, [message], list(descriptors))
        except BlockingIOError:
            sent = 0
        if sent < len(message):
            raise ProtocolError("it does not take what it is to do next")

    def end_of_tasks(self) -> None:
        """Tell a rank that stays that there is nothing more to do; it may still report."""
        with contextlib.suppress(OSError):  # it is gone
            self._connection.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Close the socket."""
        self._drop_descriptors()
        self._connection.close()

    def _drop_descriptors(self) -> None:
        while self._descriptors:
            os.close(self._descriptors.pop())

    def _make_room(self, body: bytearray) -> None:
        # The buffer grows with what has arrived, because the length in a header may be false. Growing a large buffer
        # costs little: the kernel moves its pages without copying them.
        if self._filled == len(body):
            try:
                body.extend(bytes(min(self._size - self._filled, max(_BLOCK, self._filled))))
            except MemoryError:
                raise ProtocolError(f"no memory for a message of {self._size} bytes") from None

    def _receive_head(self) -> Received | None:
        """Take some of the next message's head; return the message if it is complete and its body was stored."""
        missing = HEADER.size - len(self._head)
        self._head += self._take(missing if missing > 0 else HEADER.size + self._head[4] - len(self._head))
        if len(self._head) < HEADER.size:
            return None
        mark, kind_length, size, at = HEADER.unpack_from(self._head)
        if mark not in (MAGIC, MAGIC_STORED) or not kind_length > 0 or size > _MAX_MESSAGE_BYTES:
            raise ProtocolError(f"bytes that are no message: {bytes(self._head)!r}")
        if len(self._head) < HEADER.size + kind_length:
            return None
        try:
            self._kind = self._head[HEADER.size :].decode("ascii")
        except UnicodeDecodeError as error:
            raise ProtocolError(f"bytes that are no message: {error}") from None
        self._head.clear()
        announced = mark == MAGIC_STORED
        if len(self._descriptors) != announced:
            raise ProtocolError(f"{len(self._descriptors)} descriptors came with a message that has {int(announced)}")
        if announced:
            return Received(self._kind, self._map(size), at)
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
        """Map the file of a message at once, so that no descriptor stays open for each of many ranks."""
        with Stored(self._descriptors.pop()) as stored:
            # reading a mapped file that the rank has shortened would crash this process
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
