"""Messages of a rank to its gang, over a socket pair that nobody else holds.

A message is a header (mark, length of the kind, length of the body, time of sending), the kind as ASCII text and the
body. A large body is not written to the socket: it lies in a sealed memory file whose descriptor comes with the header,
and the gang maps it. The rank writes with `Channel`, blocking; the gang reads with `Inbox`, never blocking. What a rank
sends is not trusted to be well formed: whatever breaks the form raises `ProtocolError`, and the rank counts as failed.

The way back is for answers only. A question has a number (see `nblaunch.messages.questions`), and its answer begins
with the same number.
"""

from __future__ import annotations

import array
import contextlib
import itertools
import os
import queue
import signal
import socket
import struct
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

from nblaunch.messages.message import Message
from nblaunch.messages.questions import Question, QuestionTakenBack
from nblaunch.payload import MOST_FILES, Packed, Parts, Stored
from nblaunch.refusals import start_or_refuse

__all__ = ["Channel", "Inbox", "ProtocolError", "Received", "in_whole"]

_HEADER = struct.Struct("!4sBQd")
_MAGIC = b"NBLM"
_MAGIC_STORED = b"NBLS"
_BLOCK = 1 << 20
# No machine that this runs on can hold more; a longer length is garbage.
_MAX_MESSAGE_BYTES = 1 << 44
# Room for one descriptor, and for a second one, which would be one too many.
_DESCRIPTORS = socket.CMSG_SPACE(2 * array.array("i").itemsize)
_NUMBER = struct.Struct("!Q")
_ANSWER = b"answer"
_TASK = b"task"
# Seconds that are waited for an answer at once, where the time for that is limited.
_STEP = 1.0


class ProtocolError(Exception):
    """A rank sent bytes that are no message."""


class Received(NamedTuple):
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
        # questions that wait for their answers; None tells that there will be none any more
        # from anywhere on: a late answer to a rank that was started again must fit no question of its successor
        self._numbers = itertools.count(int.from_bytes(os.urandom(6), "big"))
        self._waiting: dict[int, queue.SimpleQueue[bytes | None]] = {}
        # what the rank is to do next; None tells that there will be nothing any more
        self._tasks: queue.SimpleQueue[tuple[bytes, list[int]] | None] = queue.SimpleQueue()
        self._listener: threading.Thread | None = None
        self._over = False

    def send(self, kind: str, body: bytes | Packed | Stored = b"") -> None:
        """Send a body under the name of its kind; return when the last byte is in the kernel's buffer.

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

    def tell(self, message: Message) -> None:
        """Send a message of a rank, as `send` does."""
        self.send(message.KIND, message.pack())

    def ask(self, question: Question, timeout: float | None = None) -> bytes:
        """Send a question and wait for its answer; several threads may do so at a time.

        A question that is given up, because of an interrupt for example, is taken back.

        Parameters
        ----------
        question : Question
            The question; what it has as its number does not matter.
        timeout : float, optional
            Longest time in seconds.

        Raises
        ------
        ChildProcessError
            In a process that the rank has forked.
        TimeoutError
            If there is no answer in time.
        EOFError
            If there will be no answer: the rank has said its last word, or the gang is gone.
        OSError
            If the gang is gone.
        """
        if os.getpid() != self._owner:
            raise ChildProcessError("a process that the rank has forked cannot ask on its behalf")
        number = next(self._numbers)
        answers: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._waiting[number] = answers
        answered = False
        try:
            self._listen()
            body = replace(question, number=number).pack()
            in_whole(lambda: self.send(Question.KIND, body))
            answer = None if self._over else _wait(answers, timeout)
            answered = True
        except queue.Empty:
            raise TimeoutError(f"nobody has answered within {timeout:g} s") from None
        finally:
            del self._waiting[number]
            if not answered:
                with contextlib.suppress(OSError):
                    in_whole(lambda: self.tell(QuestionTakenBack(number)))
        if answer is None:
            raise EOFError("nobody answers this rank any more")
        return answer

    def next_task(self) -> tuple[bytes, list[int]] | None:
        """Wait for what the rank is to do next.

        Returns
        -------
        (bytes, list of int) or None
            What describes the task, and descriptors that belong to it; None if the gang has nothing more to do.

        Raises
        ------
        OSError
            If the system refuses a thread.
        """
        self._listen()
        return None if self._over else self._tasks.get()

    def _listen(self) -> None:
        # A thread, so that one question does not keep the answer of another one; only for ranks that ask or stay.
        with self._lock:
            if self._listener is None:
                listener = threading.Thread(target=self._hear, name="nblaunch-answers", daemon=True)
                start_or_refuse(listener)
                self._listener = listener

    def _hear(self) -> None:
        # signals are for the main thread, which has to wake up for them
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        with contextlib.suppress(OSError, EOFError):
            while True:
                descriptors: list[int] = []
                _, kind_length, size, _ = _HEADER.unpack(self._receive(_HEADER.size, descriptors))
                message = self._receive(kind_length + size, descriptors)
                kind, body = message[:kind_length], message[kind_length:]
                if kind == _TASK:
                    self._tasks.put((body, descriptors))
                    continue
                waiting = self._waiting.get(_NUMBER.unpack_from(body)[0])
                if waiting is not None:  # and the question was not taken back
                    waiting.put(body[_NUMBER.size :])
        self._over = True
        self._tasks.put(None)
        for waiting in list(self._waiting.values()):
            waiting.put(None)

    def _receive(self, size: int, descriptors: list[int]) -> bytes:
        received = bytearray()
        while len(received) < size:
            some, passed, _, _ = socket.recv_fds(
                self._connection, size - len(received), MOST_FILES, socket.MSG_CMSG_CLOEXEC
            )
            if not some:
                raise EOFError
            received += some
            descriptors += passed
        return bytes(received)

    def close(self) -> None:
        """Close the socket: nothing more will be sent, and nobody waits for an answer any more."""
        if self._listener is not None and os.getpid() == self._owner:
            # closing a socket wakes nobody who reads from it
            with contextlib.suppress(OSError):
                self._connection.shutdown(socket.SHUT_RD)
            self._listener.join()
        self._connection.close()


def in_whole(send: Callable[[], None]) -> None:
    """Call `send` where no signal handler of Python's can end it halfway: interrupts raise in the main thread only.

    Half a message would make nonsense of all that follow, the rank's result or exception included.

    Raises
    ------
    OSError
        What `send` raises.
    """
    if threading.current_thread() is not threading.main_thread():
        send()
        return
    failed: list[OSError] = []

    def attempt() -> None:
        try:
            send()
        except OSError as error:
            failed.append(error)

    thread = threading.Thread(target=attempt, name="nblaunch-send")
    try:
        thread.start()
    except RuntimeError:  # the system gives no more threads
        send()
    else:
        thread.join()
    if failed:
        raise failed[0]


def _wait(answers: queue.SimpleQueue[bytes | None], timeout: float | None) -> bytes | None:
    """Wait for an answer.

    A step is counted as what it should have taken: the time that this process was stopped, as by Ctrl-Z, is none in
    which anybody could have answered.
    """
    left = timeout or 0.0
    while left > _STEP:
        with contextlib.suppress(queue.Empty):
            return answers.get(timeout=_STEP)
        left -= _STEP
    return answers.get(timeout=None if timeout is None else left)


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
        self.closed: bool = False

    def fileno(self) -> int:
        """Return the descriptor to wait for."""
        return self._connection.fileno()

    def receive(self) -> list[Received]:
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
            If the rank does not take what it has asked for, so that there is no more room on the way to it.
        OSError
            If the rank is gone.
        """
        head = _HEADER.pack(_MAGIC, len(_ANSWER), _NUMBER.size + len(body), time.monotonic())
        message = head + _ANSWER + _NUMBER.pack(number) + body
        try:
            sent = self._connection.send(message)
        except BlockingIOError:
            sent = 0
        if sent < len(message):
            raise ProtocolError("it does not take the answers to what it asks")

    def give(self, task: bytes, descriptors: Sequence[int]) -> None:
        """Give a rank that stays something more to do, without waiting.

        Parameters
        ----------
        task : bytes
            What describes it.
        descriptors : sequence of int
            Passed along; at most `nblaunch.payload.MOST_FILES`.

        Raises
        ------
        ProtocolError
            If the rank takes nothing any more.
        OSError
            If the rank is gone.
        """
        message = _HEADER.pack(_MAGIC, len(_TASK), len(task), time.monotonic()) + _TASK + task
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
        # Grows with what has come, because the length in a header is only a claim. The kernel moves pages of a large
        # block without copying them.
        if self._filled == len(body):
            try:
                body.extend(bytes(min(self._size - self._filled, max(_BLOCK, self._filled))))
            except MemoryError:
                raise ProtocolError(f"no memory for a message of {self._size} bytes") from None

    def _receive_head(self) -> Received | None:
        """Take some of the next message's head; return the message if it is complete and its body was stored."""
        missing = _HEADER.size - len(self._head)
        self._head += self._take(missing if missing > 0 else _HEADER.size + self._head[4] - len(self._head))
        if len(self._head) < _HEADER.size:
            return None
        mark, kind_length, size, at = _HEADER.unpack_from(self._head)
        if mark not in (_MAGIC, _MAGIC_STORED) or not kind_length > 0 or size > _MAX_MESSAGE_BYTES:
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
